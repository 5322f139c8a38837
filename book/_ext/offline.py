"""Make the built site need no other host, and nothing that no page uses."""

import re
from io import BytesIO
from pathlib import Path

import fontpkg_noto_sans_devanagari
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from PIL import Image

FONT = "NotoSansDevanagari[wdth,wght].ttf"
DEVANAGARI = re.compile(r"[\u0900-\u097f]")
IMAGE = re.compile(r'<img (?![^>]*\bheight=)([^>]*\bsrc="(?:\.\./)*_images/([^"]+\.png)")')
# The theme loads Sphinx's search, which knows pages only; the book's own finds sections.
SEARCH = re.compile(
    r'<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>'
)
# Maps for debuggers, the theme's translations, fonts for browsers of long ago: never asked for.
NEEDLESS = ("**/*.map", "locales/**/*.[mp]o", "locales/**/*.js", "searchtools.js", "**/*.ttf")
# In a script of 1.5 MB, which every page loads, two thousand: name, size, other names, drawing.
ICON = re.compile(
    r'"?([\w-]+)"?:\[\d+,\d+,\[([^\]]*)\],"\w+",(?:"[^"]*"|\["[^"]*","[^"]*"\])\](?:,|(?=\}))'
)
USED = re.compile(r"\bfa-([a-z][a-z-]*)")


def deferred(script):
    """Return a script that waits until the page is there."""
    # Later lines in the page itself need the options at once.
    if not script.filename or "documentation_options" in script.filename:
        return script
    attributes = script.attributes | {"defer": "defer"}
    return type(script)(script.filename, priority=script.priority, **attributes)


def order_scripts(app, pagename, templatename, context, doctree):
    """Leave out Thebe, which Jupyter Book adds to every page, and let no script delay a page."""
    scripts = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{script.filename} {script.attributes.get('body', '')}".lower()
    ]
    context["script_files"] = [*map(deferred, scripts)]


def reserve_space(app, pagename, templatename, context, doctree):
    """Tell the browser the size of each picture, so that no text moves when it arrives."""
    files = {name: file for file, name in app.builder.images.items()}

    def with_size(match):
        with Image.open(Path(app.srcdir) / files[match[2]]) as picture:
            width, height = picture.size
        return f'<img width="{width}" height="{height}" {match[1]}'

    context["body"] = IMAGE.sub(with_size, context.get("body", ""))


def finish_pages(app):
    """Take the theme's search out of the pages, and write the font for all of them."""
    letters = set()
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        letters.update(DEVANAGARI.findall(text))
        page.write_text(SEARCH.sub("", text), encoding="utf-8")
    write_font(app, letters)


def write_font(app, letters):
    """Cut the letters that the pages use out of a font that has all of Devanagari."""
    source = Path(fontpkg_noto_sans_devanagari.__file__).parent / "files" / FONT
    font = TTFont(source)
    subsetter = Subsetter(Options(flavor="woff", notdef_outline=True))
    subsetter.populate(text="".join(letters))
    subsetter.subset(font)
    font.flavor = "woff"
    buffer = BytesIO()
    font.save(buffer)
    (Path(app.outdir) / "_static/devanagari.woff").write_bytes(buffer.getvalue())


def keep_icons(site):
    """Leave out of the theme's script the icons that no page and no other script names."""
    script = site / "_static/scripts/fontawesome.js"
    others = {*site.rglob("*.html"), *(site / "_static/scripts").glob("*.js")} - {script}
    used = {name for file in others for name in USED.findall(file.read_text(encoding="utf-8"))}

    def kept(match):
        names = {match[1], *re.findall(r'"([^"]+)"', match[2])}
        return match[0] if names & used else ""

    script.write_text(ICON.sub(kept, script.read_text(encoding="utf-8")), encoding="utf-8")


def finish(app, exception):
    """Complete a site that was built."""
    if exception is None and app.builder.format == "html":
        finish_pages(app)
        keep_icons(Path(app.outdir))
        for pattern in NEEDLESS:
            for file in (Path(app.outdir) / "_static").glob(pattern):
                file.unlink()
        # GitHub would otherwise leave out folders whose names begin with an underscore.
        (Path(app.outdir) / ".nojekyll").touch()


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", order_scripts, priority=900)
    app.connect("html-page-context", reserve_space)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
