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
# Maps for debuggers and the theme's translations: a third of the site, and never asked for.
NEEDLESS = ("**/*.map", "locales/**/*.[mp]o", "locales/**/*.js", "searchtools.js")


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


def finish(app, exception):
    """Complete a site that was built."""
    if exception is None and app.builder.format == "html":
        finish_pages(app)
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
