"""Make the slides of six lectures from the chapters' own figures and equations: `make slides`.

A lecture is a Markdown file in ``slides``: slides between lines of ``---``, on them text, and lines
``{figure} name`` and ``{equation} label``, which stand for what a chapter has under that name. What
follows ``Note:`` is for the speaker (press S). Nothing is drawn or written twice.
"""

import html
import json
import re
import shutil
import sys
from pathlib import Path

import mathjax
import sphinx_revealjs
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE.parent / "notebooks"
TARGET = HERE.parent / "_build" / "slides"
REVEAL = Path(sphinx_revealjs.__file__).parent / "_static" / "revealjs"
MATHJAX = Path(mathjax.__file__).parent / "static" / "mathjax" / "es5" / "tex-svg-full.js"
ASSETS = ("dist/reset.css", "dist/reveal.css", "dist/reveal.js", "dist/theme/white.css")
EQUATIONS = (
    re.compile(r"```\{math\}\n(?P<head>(?::[^\n]*\n)+)(?P<tex>.*?)```", re.S),
    re.compile(r"\$\$(?P<tex>[^$]+)\$\$ *(?P<head>\([\w-]+\))"),
)
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<link rel="stylesheet" href="dist/reset.css"><link rel="stylesheet" href="dist/reveal.css">
<link rel="stylesheet" href="dist/theme/white.css"><style>
.reveal {{ font-size: 30px }} .reveal h1 {{ font-size: 2em }} .reveal h2 {{ font-size: 1.4em }}
.reveal h1, .reveal h2 {{ text-transform: none }} .reveal section {{ text-align: left }}
.reveal img {{ max-height: 58vh; display: block; margin: 0 auto }}
.reveal figcaption {{ font-size: .55em; line-height: 1.3 }} .reveal figure {{ margin: 0 }}
</style></head><body><div class="reveal"><div class="slides">
{slides}</div></div>
<script>MathJax = {macros}</script><script src="tex-svg-full.js"></script>
<script src="dist/reveal.js"></script><script src="plugin/notes/notes.js"></script>
<script>Reveal.initialize({{hash: true, slideNumber: "c/t", plugins: [RevealNotes]}})</script>
</body></html>
"""
MACROS = {"tex": {"macros": {"vec": ["\\boldsymbol{#1}", 1]}}}  # as in _config.yml


def chapters():
    """Return all figures and equations of the chapters, by name.

    Returns
    -------
    figures : dict
        Name → ``(png in base64, caption, alt, chapter)``.
    equations : dict
        Label → TeX.
    """
    figures, equations = {}, {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            about = cell["metadata"].get("mystnb", {})
            figure, alt = about.get("figure", {}), about.get("image", {}).get("alt", "")
            pictures = [
                output["data"]["image/png"]
                for output in cell.get("outputs", [])
                if "image/png" in output.get("data", {})
            ]
            if figure.get("name") and pictures:
                picture = "".join(pictures[0]).replace("\n", "")
                figures[figure["name"]] = (picture, figure["caption"], alt, int(path.name[:2]))
            if cell["cell_type"] == "markdown":
                for found in (f for e in EQUATIONS for f in e.finditer("".join(cell["source"]))):
                    for label in re.findall(r"[\w-]*eq-[\w-]+", found["head"]):
                        equations[label] = found["tex"].strip()
    return figures, equations


def lecture(path, figures, equations):
    """Return one lecture as HTML.

    Raises
    ------
    SystemExit
        If no chapter has a figure or an equation of that name.
    """
    parser = MarkdownIt("commonmark").enable("table")
    block = lambda tex, options: (  # noqa: E731
        f"\\[{html.escape(tex)}\\]" if options["display_mode"] else f"\\({html.escape(tex)}\\)"
    )
    parser.use(dollarmath_plugin, renderer=block, allow_labels=False, double_inline=True)

    def put(match):
        kind, name = match.groups()
        known = figures if kind == "figure" else equations
        if name not in known:
            raise SystemExit(f"{path.name}: found {name!r}; expected a {kind} of a chapter")
        if kind == "equation":
            return f"$$\n{known[name]}\n$$"
        picture, caption, alt, chapter = known[name]
        caption = parser.renderInline(re.sub(r"\{[\w:]+\}`([^`<]*)[^`]*`", r"\1", caption))
        return (
            f'<figure><img alt="{html.escape(alt)}" src="data:image/png;base64,{picture}">'
            f"<figcaption>Chapter {chapter}: {caption}</figcaption></figure>"
        )

    slides = ""
    for text in re.split(r"(?m)^---$", path.read_text(encoding="utf-8")):
        shown, _, note = text.partition("\nNote:")
        shown = parser.render(re.sub(r"(?m)^\{(figure|equation)\} ([\w-]+)$", put, shown))
        slides += (
            f'<section>\n{shown}<aside class="notes">{parser.render(note)}</aside></section>\n'
        )
    title = html.escape(path.read_text(encoding="utf-8").splitlines()[0].lstrip("# "))
    return PAGE.format(title=title, slides=slides, macros=json.dumps(MACROS))


def main():
    """Write all lectures into ``_build/slides``."""
    figures, equations = chapters()
    for name in ASSETS:
        (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REVEAL / name, TARGET / name)
    shutil.copytree(REVEAL / "plugin" / "notes", TARGET / "plugin" / "notes", dirs_exist_ok=True)
    shutil.copytree(
        REVEAL / "dist" / "theme" / "fonts", TARGET / "dist" / "theme" / "fonts", dirs_exist_ok=True
    )
    shutil.copyfile(MATHJAX, TARGET / MATHJAX.name)
    for path in sorted((HERE / "slides").glob("*.md")):
        page = lecture(path, figures, equations)
        (TARGET / f"{path.stem}.html").write_text(page, encoding="utf-8")
        print(f"_build/slides/{path.stem}.html: {page.count('<section>')} slides")


if __name__ == "__main__":
    sys.exit(main())
