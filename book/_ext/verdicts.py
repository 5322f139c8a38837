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


def depend_on_ledger(env):
    """Let the page that is being read be read again when the ledger or its functions change."""
    for file in (LEDGER, FUNCTIONS):
        env.note_dependency(str(Path(env.srcdir) / file))


def anchor(name):
    """Return the id of a function's section."""
    return f"verdict-{name.replace('_', '-')}"


class VerdictFunctions(SphinxDirective):
    """``{verdict-functions}``: each with its source."""

    def run(self):
        """Return a section for each function."""
        depend_on_ledger(self.env)
        sections = []
        for name, source in functions(self.env.app).items():
            section = nodes.section(ids=[anchor(name)])
            section += nodes.title(name, name)
            section += nodes.literal_block(source, source, language="python")
            sections.append(section)
        return sections


def evidence_of(entry):
    """Return the HTML that says how the evidence of one source was computed."""
    arguments = [f"{key}={value!r}" for key, value in entry.get("with", {}).items()]
    call = f"{entry['by']}({', '.join(['material', *arguments])})"
    return f"{code(call)}<!--{anchor(entry['by'])}-->"


def link_verdicts(app, doctree):
    """Let each verdict of a page with the ledger lead to the function behind it."""
    tables = [raw for raw in doctree.findall(nodes.raw) if ROW.search(raw.astext())]
    if not tables:
        return
    depend_on_ledger(app.env)
    claims = ledger(app)
    previews = app.env.metadata[app.env.docname].setdefault("previews", {})
    # Each function once; previews name it where it goes.
    previews.update({anchor(name): code(source) for name, source in functions(app).items()})

    def link(match):
        key, place = f"verdict-of-{match[2]}", f"#claim-{match[2]}"
        previews[key] = "<p>Nothing is computed: the verdict rests on what stands beside it.</p>"
        computed = [entry for entry in claims[match[2]] if "by" in entry]
        if computed:
            place = f"../{PAGE}.html#{anchor(computed[-1]['by'])}"
            previews[key] = "".join(map(evidence_of, computed))
        verdict = f'<a class="book-number" id="{key}" href="{escape(place)}">{match[3]}</a>'
        return f"{match[1]}<b>{verdict}</b>"

    for raw in tables:
        linked = ROW.sub(link, raw.astext())
        raw.clear()
        raw += nodes.Text(linked)


def setup(app):
    """Register with Sphinx."""
    app.add_directive("verdict-functions", VerdictFunctions)
    app.connect("doctree-read", link_verdicts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
