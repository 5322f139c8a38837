"""Set all mathematics while the site is built, so that a page needs no script to show it.

MathJax comes from its wheel and runs in the V8 engine of ``mini_racer``. Each formula becomes an
SVG for the eye and MathML for a screen reader. What MathJax does not understand is a warning, and
with ``-W`` it ends the build.
"""

import json
import re
from html import escape
from pathlib import Path

import mathjax
from docutils import nodes
from py_mini_racer import MiniRacer
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

ES5 = Path(mathjax.__file__).parent / "static/mathjax/es5"
PARTS = (
    "startup.js",
    "core.js",
    "adaptors/liteDOM.js",
    "input/tex-full.js",
    "output/svg.js",
    "output/svg/fonts/tex.js",
)
# Not among them: `noerrors` and `noundefined`, which hide mistakes.
PACKAGES = ["base", "ams", "boldsymbol", "configmacros", "newcommand", "textmacros"]
SETUP = """
const _ = MathJax._;
const adaptor = _.adaptors.liteAdaptor.liteAdaptor();
_.handlers.html_ts.RegisterHTMLHandler(adaptor);
const TeX = new _.input.tex_ts.TeX({
  packages: PACKAGES, macros: MACROS, formatError: (_, error) => { throw error; },
});
const SVG = new _.output.svg_ts.SVG({
  fontCache: "global", font: new _.output.svg.fonts.tex_ts.TeXFont(),
});
const page = _.mathjax.mathjax.document("", {InputJax: TeX, OutputJax: SVG});
const mathml = new _.core.MmlTree.SerializedMmlVisitor.SerializedMmlVisitor();
const end = _.core.MathItem.STATE.CONVERT;
function typeset(source, display) {
  try {
    return JSON.stringify({
      svg: adaptor.innerHTML(page.convert(source, {display, em: 16, ex: 8})),
      mathml: mathml.visitTree(page.convert(source, {display, end})),
    });
  } catch (error) { return JSON.stringify({error: error.message}); }
}
"""
# Marks that only MathJax' own scripts in a browser would use.
NEEDLESS = re.compile(
    r' (?:data-c|data-mjx-texclass|xmlns(?::xlink)?|role|focusable)="[^"]*"'
    r'| data-mml-node="(?!mtable)[^"]*"'
)
logger = logging.getLogger(__name__)


class Typesetter:
    """MathJax in an engine of its own, setting one page after the other."""

    def __init__(self, macros):
        self.engine = MiniRacer()
        self.run("globalThis.window = globalThis; MathJax = {startup: {ready() {}}}; 0")
        for part in PARTS:
            self.run((ES5 / part).read_text(encoding="utf-8") + "; 0")
        setup = SETUP.replace("PACKAGES", json.dumps(PACKAGES))
        self.run(setup.replace("MACROS", json.dumps(macros)))
        self.page = None

    def run(self, script):
        """Run a script and return its value."""
        return self.engine.eval(script, timeout_sec=60)

    def typeset(self, source, display, page):
        """Return the HTML of a formula; it draws on the :meth:`glyphs` of its page."""
        if page != self.page:
            self.run("SVG.clearFontCache()")
            self.page = page
        result = json.loads(self.run(f"typeset({json.dumps(source)}, {json.dumps(display)})"))
        if "error" in result:
            raise ValueError(result["error"])
        svg = NEEDLESS.sub("", result["svg"]).replace("<svg", '<svg aria-hidden="true"', 1)
        spoken = re.sub(r">\s+<", "><", result["mathml"])
        block = ' display="true"' if display else ""
        return (
            f'<mjx-container jax="SVG"{block}>{svg}'
            f"<mjx-assistive-mml>{spoken}</mjx-assistive-mml></mjx-container>"
        )

    def glyphs(self):
        """Return the HTML of the shapes that the page's formulas share."""
        shapes = self.run("adaptor.outerHTML(SVG.fontCache.getCache())")
        return f'<svg aria-hidden="true" style="display:none">{NEEDLESS.sub("", shapes)}</svg>'

    def styles(self):
        """Return the rules that MathJax wants in a style sheet."""
        return self.run("adaptor.textContent(SVG.styleSheet(page))")


def set_formula(translator, node, source, display):
    """Add a formula to the page, or warn and show its source."""
    typesetter = translator.builder.app.typesetter
    try:
        html = typesetter.typeset(source, display, translator.builder.current_docname)
    except ValueError as error:
        logger.warning("mathematics: %s in %s", error, source, location=node)
        html = f'<code class="math-error">{escape(source)}</code>'
    translator.body.append(html)


def visit_inline(translator, node):
    """Write a formula in a line of text."""
    translator.body.append(translator.starttag(node, "span", "", CLASS="math notranslate"))
    set_formula(translator, node, node.astext(), display=False)
    translator.body.append("</span>")
    raise nodes.SkipNode


def visit_block(translator, node):
    """Write a displayed formula and its number."""
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate"))
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    source = node.astext()
    if not node.get("nowrap") and r"\\" in source:
        source = rf"\begin{{split}}{source}\end{{split}}"
    set_formula(translator, node, source, display=True)
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def start(app):
    """Start MathJax with the macros of ``_config.yml``."""
    macros = (app.config.mathjax3_config or {}).get("tex", {}).get("macros", {})
    app.typesetter = Typesetter(macros)
    styles = Path(app.outdir) / "_static/mathjax.css"
    styles.parent.mkdir(parents=True, exist_ok=True)
    styles.write_text(app.typesetter.styles(), encoding="utf-8")


def add_glyphs(app, pagename, templatename, context, doctree):
    """Put the shapes that a page's formulas share at its beginning."""
    if "<mjx-container" in context.get("body", ""):
        context["body"] = app.typesetter.glyphs() + context["body"]


def setup(app):
    """Register with Sphinx."""
    app.add_html_math_renderer("at_build", (visit_inline, None), (visit_block, None))
    app.add_css_file("mathjax.css")
    app.connect("builder-inited", start)
    app.connect("html-page-context", add_glyphs)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
