"""Each verdict of the ledger leads to the code that computed its evidence.

``{verdict-functions}`` lists the functions that ``data/ledger.yaml`` names, a section each.
"""

import ast
import re
from html import escape
from pathlib import Path

import yaml
from docutils import nodes
from expressions import code
from sphinx.util.docutils import SphinxDirective

LEDGER, FUNCTIONS, PAGE = "data/ledger.yaml", "experiments/evidence.py", "book/verdict_functions"
SOURCES = ("report", "ours", "code")
ROW = re.compile(r'(<tr id="claim-([^"]+)".*?)<b>([^<]+)</b>', re.S)


def functions(app):
    """Return the functions that compute evidence: ``{name: source}``, in the file's order."""
    text = (Path(app.srcdir) / FUNCTIONS).read_text(encoding="utf-8")
    defined = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    named = {entry["by"] for claim in ledger(app).values() for entry in claim if "by" in entry}
    return {n.name: ast.get_source_segment(text, n) for n in defined if n.name in named}


def ledger(app):
    """Return the entries of evidence on each claim, by its id."""
    claims = yaml.safe_load((Path(app.srcdir) / LEDGER).read_text(encoding="utf-8"))
    return {claim["id"]: [claim[s] for s in SOURCES if s in claim] for claim in claims}


def anchor(name):
    """Return the id of a function's section."""
    return f"verdict-{name.replace('_', '-')}"


class VerdictFunctions(SphinxDirective):
    """``{verdict-functions}``: each with its source."""

    def run(self):
        """Return a section for each function."""
        self.env.note_dependency(str(Path(self.env.srcdir) / LEDGER))
        self.env.note_dependency(str(Path(self.env.srcdir) / FUNCTIONS))
        sections = []
        for name, source in functions(self.env.app).items():
            section = nodes.section(ids=[anchor(name)])
            section += nodes.title("", "", nodes.literal("", name))
            section += nodes.literal_block(source, source, language="python")
            sections.append(section)
        return sections


def evidence_of(entry, sources):
    """Return the HTML that says how the evidence of one source was computed."""
    arguments = [f"{key}={value!r}" for key, value in entry.get("with", {}).items()]
    call = f"{entry['by']}({', '.join(['material', *arguments])})"
    return f"{code(call)}{code(sources[entry['by']])}"


def link_verdicts(app, pagename, templatename, context, doctree):
    """Let each verdict of a page with the ledger lead to the function behind it."""
    if '<tr id="claim-' not in context.get("body", ""):
        return
    claims, sources = ledger(app), functions(app)
    previews = app.env.metadata[pagename].setdefault("previews", {})

    def link(match):
        key = f"verdict-of-{match[2]}"
        computed = [entry for entry in claims[match[2]] if "by" in entry]
        place = f"#claim-{match[2]}"
        previews[key] = (
            "<p>Nothing is computed here: the verdict rests on what stands beside it.</p>"
        )
        if computed:
            place = f"../{PAGE}.html#{anchor(computed[-1]['by'])}"
            previews[key] = "".join(evidence_of(entry, sources) for entry in computed)
        link = f'<a class="book-number" id="{key}" href="{escape(place)}">{match[3]}</a>'
        return f"{match[1]}<b>{link}</b>"

    context["body"] = ROW.sub(link, context["body"])


def setup(app):
    """Register with Sphinx."""
    app.add_directive("verdict-functions", VerdictFunctions)
    app.connect("html-page-context", link_verdicts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
