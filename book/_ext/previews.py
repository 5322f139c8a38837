"""What a link leads to, shown beside the link: a script with the previews of each page.

A page shows by itself what stands on it. What it links to on other pages comes in a script that
assigns, since a page opened from a disk may read scripts and nothing else.
"""

import json
import posixpath
from pathlib import Path
from urllib.parse import unquote

from lxml import html

FOLDER = "_static/previews"
# Also in previews.js. A list's item is a cited work of a chapter, a term a word of the glossary.
CLASSES = ("math", "citation", "exercise", "proof")
KINDS = "self::figure or self::table or self::li or self::dt or " + " or ".join(
    f"contains(concat(@class, ' '), '{kind} ')" for kind in CLASSES
)
GLYPHS = "//svg/defs//*[starts-with(@id, 'MJX')]"


def as_html(element):
    """Return an element as HTML, without the text behind it."""
    return html.tostring(element, encoding="unicode", with_tail=False)


def preview(target):
    """Return the HTML of what a link leads to; of a word of the glossary, with its meaning."""
    if target.tag != "dt":
        return as_html(target)
    terms = [target]
    while terms[-1].tag == "dt":
        terms.append(terms[-1].getnext())
    return f"<dl>{''.join(map(as_html, terms))}</dl>"


class Page:
    """A built page: its targets, by id, and the glyphs that its formulas draw on."""

    def __init__(self, path):
        self.tree = html.parse(path, html.HTMLParser(encoding="utf-8"))
        self.targets = {e.get("id"): e for e in self.tree.xpath(f"//article//*[@id][{KINDS}]")}
        self.glyphs = {e.get("id"): as_html(e) for e in self.tree.xpath(GLYPHS)}

    def links(self):
        """Return the addresses that lead to a place on another page."""
        links = self.tree.xpath("//article//a[contains(@class, 'internal')]/@href")
        return {link for link in links if "#" in link and not link.startswith(("#", "http"))}


def formulas(markup):
    """Return the ids of the glyphs that some HTML uses."""
    return {
        use.get("{http://www.w3.org/1999/xlink}href", use.get("xlink:href", ""))[1:]
        for use in html.fragment_fromstring(markup, create_parent=True).iter("use")
    }


def write(outdir, pages, added):
    """Write the script of each page.

    Parameters
    ----------
    outdir : Path
    pages : dict
        :class:`Page` by name.
    added : dict
        ``{name: {id of a link: HTML}}``: what numbers show.
    """
    for name, page in pages.items():
        shown, needed = dict(added[name]), {}
        for link in sorted(page.links()):
            path, _, place = unquote(link).partition("#")
            other = pages.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), path)))
            if other is not None and place in other.targets:
                shown[link] = preview(other.targets[place])
                for glyph in formulas(shown[link]) - page.glyphs.keys():
                    needed[glyph] = other.glyphs[glyph]
        glyphs = "".join(needed[glyph] for glyph in sorted(needed))
        stored = json.dumps([shown, glyphs], ensure_ascii=False)
        file = outdir / FOLDER / f"{name.removesuffix('.html')}.js"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"const PREVIEWS = {stored};\n", encoding="utf-8")


def add_script(app, pagename, templatename, context, doctree):
    """Let a page show previews, and say where it finds them."""
    if doctree is not None:
        app.add_js_file("previews.js", **{"data-page": pagename})


def finish(app, exception):
    """Write the scripts of a site that was built."""
    if exception is None and app.builder.format == "html":
        outdir = Path(app.outdir)
        names = [f"{name}.html" for name in sorted(app.env.found_docs)]
        pages = app.built_pages = {name: Page(outdir / name) for name in names}
        added = {
            f"{name}.html": app.env.metadata[name].get("previews") or {}
            for name in app.env.found_docs
        }
        write(outdir, pages, added)


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", add_script)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
