"""Make the built site need no other host."""


def drop_thebe(app, pagename, templatename, context, doctree):
    """Leave out the scripts of Thebe, which Jupyter Book adds to every page whether used or not."""
    context["script_files"] = [
        script
        for script in context.get("script_files", [])
        if "thebe" not in f"{script.filename} {script.attributes.get('body', '')}".lower()
    ]


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", drop_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
