"""The panel on which a reader writes, at the place of a comment ``<!-- write-here -->``.

Where there is no script, a still picture with a sentence stands there; where there is no site, as
in JupyterLab, the comment shows nothing, and the text around it says what is missing.
"""

from pathlib import Path

from sphinx.errors import ExtensionError

MARK = "<!-- write-here -->"
PANEL = (Path(__file__).parent / "write_here.html").read_text(encoding="utf-8")
NETWORKS, WRITER = "data/results/pen.json", "data/results/writer.json"


def put_panel(app, pagename, templatename, context, doctree):
    """Put the panel, its script and its style on a page that asks for it."""
    body = context.get("body", "")
    if MARK not in body:
        return
    if not (Path(app.srcdir) / NETWORKS).exists():
        raise ExtensionError(f"{pagename}: found {MARK} and no {NETWORKS}; expected both")
    picture = f'src="{context["pathto"]("_static/write_here.png", 1)}"'
    context["body"] = body.replace(MARK, PANEL.replace('src="write_here.png"', picture))
    app.add_css_file("write_here.css")
    for script in ("pen.js", "write_here.js"):
        app.add_js_file(script)


def write_networks(app, exception):
    """Write the networks as scripts, since a page opened from a disk may not fetch a file."""
    source, writer = (Path(app.srcdir) / name for name in (NETWORKS, WRITER))
    if exception is not None or app.builder.format != "html" or not source.exists():
        return
    writes = str(writer.exists()).lower()  # the panel does without
    begin = f"const WRITES = {writes};\nlet WRITER = null;\nconst PEN = "
    for name, start, path in (("pen.js", begin, source), ("writer.js", "WRITER = ", writer)):
        if path.exists():
            text = start + path.read_text(encoding="utf-8").strip() + ";\n"
            (Path(app.outdir) / "_static" / name).write_text(text, encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", put_panel, priority=100)
    app.connect("build-finished", write_networks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
