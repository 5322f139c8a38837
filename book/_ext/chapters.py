"""What every chapter gets by itself: a line on the cover, glossary links, its own references.

Nothing about a chapter is typed twice. Its number comes from ``_toc.yml``; its line and its minutes
are the ones at its head; terms come from ``book/glossary.md``.
"""

import hashlib
import json
import re
from html import escape
from pathlib import Path

import reader
from docutils import nodes
from pybtex.plugin import find_plugin
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode
from sphinx_external_toc.parsing import parse_toc_yaml

GLOSSARY = "book/glossary"
MINUTES = re.compile(r" (\d+) minutes?\b")  # of running, behind "Time:"
SENTENCE = re.compile(r".+?[.?](?=\s|$)", re.S)
# Where a term is no link: names, code, what is a link already, and the boxes that only list.
CLOSED = (
    nodes.title,
    nodes.literal,
    nodes.FixedTextElement,  # code and what it prints
    nodes.raw,
    nodes.math,
    nodes.reference,
    nodes.caption,
    nodes.term,
)
docutils_backend = find_plugin("pybtex.backends", "docutils")()


class contents(nodes.General, nodes.Element):
    """Stands for the list of chapters until all of them are read."""


class Contents(SphinxDirective):
    """``{contents-by-part}``: the chapters, a line each, with their minutes."""

    def run(self):
        """Leave a place to fill."""
        return [contents()]


def number_of(env, docname):
    """Return the number of a chapter, or None for another page."""
    number = env.toc_secnumbers.get(docname, {}).get("")
    return number[0] if number else None


def read_head(app, doctree):
    """Note the line and the minutes at the head of a page."""
    env = app.env
    paragraphs = [
        p for p in doctree.findall(nodes.paragraph) if isinstance(p.parent, nodes.section)
    ]
    if not paragraphs:
        return
    first = paragraphs[0]
    line = first.astext()
    if not (len(first) == 1 and isinstance(first[0], nodes.emphasis)):
        line = SENTENCE.match(line).group() if SENTENCE.match(line) else line
    env.metadata[env.docname]["line"] = " ".join(line.split())
    env.metadata[env.docname]["minutes"] = tell_minutes(Path(env.doc2path(env.docname)), paragraphs)


def tell_minutes(path, paragraphs):
    """Write the minutes that reading takes before those of running; return both in words."""
    strong = next((s for p in paragraphs[:4] for s in p.findall(nodes.strong)), None)
    if strong is None or strong.astext() != "Time:":
        return None
    behind = strong.next_node(nodes.Text, descend=False, siblings=True)
    running = MINUTES.match(behind)
    reading = reader.reading_minutes(json.loads(path.read_text(encoding="utf-8"))["cells"])
    words = f"reading {reading} min · running {running[1]} min"
    behind.parent.replace(behind, nodes.Text(f" {words}{behind[running.end() :]}"))
    return words


def fill_contents(app, doctree, docname):
    """Replace each place by the list of chapters."""
    for place in list(doctree.findall(contents)):
        toc = parse_toc_yaml(Path(app.srcdir) / app.config.external_toc_path)
        parts = []
        for part in toc.root.subtrees:
            parts += [nodes.rubric("", part.caption), list_part(app, docname, part.files())]
        place.replace_self(nodes.container("", *parts, classes=["book-contents"]))


def list_part(app, docname, files):
    """Return a list of pages."""
    env, items = app.env, nodes.bullet_list()
    for file in files:
        page = str(file)
        title = env.titles[page].astext()
        number = number_of(env, page)
        name = nodes.inline("", title if number is None else f"{number}. {title}")
        link = make_refnode(app.builder, docname, page, "", name)
        heading = nodes.paragraph("", "", link)
        head = env.metadata[page]
        if head.get("minutes"):
            minutes = nodes.inline("", head["minutes"], classes=["book-minutes"])
            heading += [nodes.Text(" "), minutes]
        item = nodes.list_item("", heading)
        if number is not None:
            item += nodes.paragraph("", head["line"])
        items += item
    return items


def outdated(app, env, added, changed, removed):
    """Write the cover again if any page changed, and the chapters if the glossary did."""
    if not added | changed | removed:
        return []
    pages = {app.config.root_doc}
    if GLOSSARY in added | changed:
        pages |= {page for page in env.found_docs if number_of(env, page)}
    return pages & env.found_docs


# --- Glossary ---------------------------------------------------------------------------------


def glossary(env):
    """Return ``{term in small letters: label}``."""
    if GLOSSARY not in env.found_docs:
        raise ExtensionError(f"found no {GLOSSARY}.md; expected the glossary there")
    terms = {}
    for item in env.get_doctree(GLOSSARY).findall(nodes.definition_list_item):
        names = list(item.findall(nodes.term))
        for name in names:
            terms[name.astext().lower()] = names[0]["ids"][0]
    return terms


def is_open(text):
    """Whether a text may hold links to the glossary."""
    node = text.parent
    if isinstance(node, nodes.emphasis) and len(node.parent) == 1:
        return False  # the line under a title
    while node is not None:
        if isinstance(node, CLOSED) or {"tip", "book-quiz"} & {*node.get("classes", [])}:
            return False
        node = node.parent
    return True


def link_terms(app, doctree, docname):
    """Link each term of the glossary at its first use in a chapter."""
    if number_of(app.env, docname) is None:
        return
    terms = glossary(app.env)
    names = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({names})(e?s)?(?![\w-])", re.I)
    done = set()
    for text in [t for t in doctree.findall(nodes.Text) if is_open(t)]:
        pieces, at = [], 0
        for match in pattern.finditer(text):
            label = terms[match[1].lower()]
            if label in done:
                continue
            done.add(label)
            pieces.append(nodes.Text(text[at : match.start()]))
            word = nodes.inline("", match[0])
            link = make_refnode(app.builder, docname, GLOSSARY, label, word)
            link["classes"].append("glossary-link")
            pieces.append(link)
            at = match.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(text[at:])])


# --- References -------------------------------------------------------------------------------


def list_references(app, doctree, docname):
    """End a chapter with the works it cites, and let its citations lead there."""
    if number_of(app.env, docname) is None:
        return
    works = {c.citation_id: c for c in app.env.get_domain("cite").citations}
    cited = {}
    for cluster in doctree.findall(nodes.inline):
        if "bibtex-citation" not in cluster["classes"]:
            continue
        for link in cluster.findall(nodes.reference):
            work = works[link["refuri"].rpartition("#")[2]]
            cited[work.key] = work
            del link["refuri"]
            link["refid"] = f"work-{work.key}"
    if not cited:
        return
    listed = nodes.bullet_list(classes=["book-references"])
    for work in sorted(cited.values(), key=lambda w: w.formatted_entry.text.render_as("text")):
        entry = docutils_backend.paragraph(work.formatted_entry)
        listed += nodes.list_item("", entry, ids=[f"work-{work.key}"])
    chapter = next(doctree.findall(nodes.section))
    last = [node for node in chapter if isinstance(node, nodes.section)][-1]
    last += [nodes.rubric("", "Cited in this chapter"), listed]


def resolve(app, doctree, docname):
    """Finish a page once all pages are read."""
    fill_contents(app, doctree, docname)
    list_references(app, doctree, docname)
    link_terms(app, doctree, docname)


def note_extensions(app, config):
    """Let a change of these extensions count as a change of the configuration."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.read_bytes())
    config.book_extensions = digest.hexdigest()


def describe(app, pagename, templatename, context, doctree):
    """Tell other sites what a link to a page leads to."""
    site = reader.site_of(app.config.html_theme_options.get("repository_url"))
    line = app.env.metadata.get(pagename, {}).get("line") or app.config.html_title
    tags = {
        "og:title": re.sub("<[^>]*>", "", context.get("title") or app.config.html_title),
        "og:description": line,
        "og:type": "website",
    }
    if site:
        tags |= {
            "og:url": f"{site}/{pagename}.html",
            "og:image": f"{site}/_static/card.png",
            "twitter:card": "summary_large_image",
        }
    lines = [f'<meta property="{key}" content="{escape(value)}">' for key, value in tags.items()]
    lines.append(f'<meta name="description" content="{escape(line)}">')
    context["metatags"] = context.get("metatags", "") + "\n".join(lines)
    # Entries of a list are items of it; the theme says otherwise, and screen readers stumble.
    body = context.get("body", "").replace('role="doc-biblioentry"', 'role="listitem"')
    # All exercises of a page come with the same id, and all solutions.
    context["body"] = re.sub(' id="(exercise|solution)-content"', "", body)


def setup(app):
    """Register with Sphinx."""
    app.add_config_value("book_extensions", "", "env")
    app.connect("config-inited", note_extensions)
    app.add_node(contents)
    app.add_directive("contents-by-part", Contents)
    app.connect("doctree-read", read_head)
    app.connect("env-get-outdated", outdated)
    app.connect("doctree-resolved", resolve)
    app.connect("html-page-context", describe)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
