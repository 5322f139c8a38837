"""Remove what an earlier build left in the site's folder: Sphinx only adds."""

import re
from pathlib import Path
from urllib.parse import unquote

PICTURE = re.compile(r"""_images/([^"'#?\s)&]+)""")
FOLDERS = "book", "notebooks"  # of pages; other pages are Sphinx' own


def finish(app, exception):
    """Remove pages that are no longer in the book, and pictures that no page shows."""
    if exception is not None or app.builder.format != "html":
        return
    site = Path(app.outdir)
    for folder in FOLDERS:
        for page in (site / folder).rglob("*.html"):
            if page.relative_to(site).with_suffix("").as_posix() not in app.env.found_docs:
                page.unlink()
    shown = {
        unquote(name)
        for page in site.rglob("*.html")
        for name in PICTURE.findall(page.read_text(encoding="utf-8"))
    }
    for picture in (site / "_images").glob("*"):
        if picture.name not in shown:
            picture.unlink()


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
