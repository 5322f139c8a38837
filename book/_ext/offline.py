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
# Maps for debuggers and the theme's translations: a third of the site, and never asked for.
NEEDLESS = ("**/*.map", "locales/**/*.[mp]o", "locales/**/*.js")


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of Thebe, which Jupyter Book adds to every page whether used or not."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{script.filename} {script.attributes.get('body', '')}".lower()
    ]


def reserve_space(app, pagename, templatename, context, doctree):
    """Tell the browser the size of each picture, so that no text moves when it arrives."""
    files = {name: file for file, name in app.builder.images.items()}

    def with_size(match):
        with Image.open(Path(app.srcdir) / files[match[2]]) as picture:
            width, height = picture.size
        return f'<img width="{width}" height="{height}" {match[1]}'

    context["body"] = IMAGE.sub(with_size, context.get("body", ""))


def write_font(app):
    """Cut the letters that the pages use out of a font that has all of Devanagari."""
    pages = Path(app.outdir).glob("*/*.html")
    letters = set(DEVANAGARI.findall("".join(page.read_text() for page in pages)))
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
        write_font(app)
        for pattern in NEEDLESS:
            for file in (Path(app.outdir) / "_static").glob(pattern):
                file.unlink()
        # GitHub would otherwise leave out folders whose names begin with an underscore.
        (Path(app.outdir) / ".nojekyll").touch()


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", reserve_space)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
