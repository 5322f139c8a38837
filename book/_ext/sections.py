"""The search: the text of every section in a script, which works from a disk too."""

import json
import unicodedata
from pathlib import Path

SILENT = {"script", "style", "svg", "button"}
# Permanent links, numbers of equations, and what is found word by word.
MARKS = {"headerlink", "eqno", "glossary"}
LINES = {"p", "li", "dd", "dt", "tr", "pre", "div", "figcaption"}
HEADINGS = ("h1", "h2", "h3", "h4")
SCRIPTS = ("language_data.js", "sections.js", "search.js")


def is_part(element):
    """Whether an element is found by itself: a section, or a word of the glossary."""
    return element.tag in ("section", "dt") and "id" in element.attrib


def pieces(element):
    """Yield the text inside an element and its ends of lines, but not what is found by itself."""
    yield from spaced(element, element.text)
    for child in element:
        kinds = set(child.get("class", "").split())
        if not isinstance(child.tag, str) or child.tag in {*SILENT, *HEADINGS} or kinds & MARKS:
            pass
        elif "cell_output" in kinds:  # only what is said about it
            for caption in child.iter("figcaption"):
                yield from [*pieces(caption), "\n"]
        elif child.tag == "mjx-container" and child.get("display"):
            yield "…"
        elif not is_part(child):
            yield from pieces(child)
            yield "\n" if child.tag in LINES else ""
        yield from spaced(element, child.tail)


def spaced(element, text):
    """Yield a text, whose own lines mean something in code only."""
    if text:
        yield text if element.xpath("ancestor-or-self::pre") else " ".join(text.split("\n"))


def tidy(text):
    """Return text with the letters of formulas as ordinary letters, and no empty lines."""
    lines = unicodedata.normalize("NFKC", "".join(text)).split("\n")
    return "\n".join(line for line in (" ".join(line.split()) for line in lines) if line)


def sections(page, name):
    """Yield the address, the page's title, the title and the text of each section of a page."""
    title = tidy(pieces(page.tree.find(".//article//h1")))
    for element in page.tree.xpath("//article//*[@id]"):
        if element.tag == "section" and is_part(element):
            heading, text = next(element.iter(*HEADINGS)), element
        elif is_part(element):
            heading, text = element, next(element.itersiblings("dd"))
        else:
            continue
        yield f"{name}#{element.get('id')}", title, tidy(pieces(heading)), tidy(pieces(text))


def write(app, exception):
    """Write the sections of a site that was built."""
    if exception is None and app.builder.format == "html":
        found = [s for name, page in app.built_pages.items() for s in sections(page, name)]
        stored = json.dumps(found, ensure_ascii=False)
        path = Path(app.outdir) / "_static/sections.js"
        path.write_text(f"const SECTIONS = {stored};\n", encoding="utf-8")


def add_scripts(app, pagename, templatename, context, doctree):
    """Let the page that searches load the sections, and what brings words to their stems."""
    if pagename == "search":
        for script in SCRIPTS:
            app.add_js_file(script)


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write, priority=600)  # once the pages have been read
    return {"parallel_read_safe": True, "parallel_write_safe": True}
