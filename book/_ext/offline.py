"""Make the built site need no other host: MathJax comes along, and Thebe stays away."""

import shutil
from pathlib import Path

import mathjax


def copy_mathjax(app, exception):
    """Copy the one file that holds MathJax with its fonts out of its wheel."""
    if exception is None and app.builder.format == "html":
        source = Path(mathjax.__file__).parent / "static/mathjax/es5/tex-svg-full.js"
        target = Path(app.outdir) / "_static" / source.name
        if not target.exists():
            shutil.copyfile(source, target)


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of Thebe, which Jupyter Book adds to every page whether used or not."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{script.filename} {script.attributes.get('body', '')}".lower()
    ]


def setup(app):
    """Register with Sphinx."""
    app.connect("build-finished", copy_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
