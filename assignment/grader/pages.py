"""Feedback as pages without script: what a student wrote is cleaned and framed."""

import html
import re
import secrets
from xml.etree import ElementTree

import nh3
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

TAGS = {
    *("p", "br", "hr", "em", "strong", "b", "i", "u", "s", "sub", "sup", "code", "pre"),
    *("ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td"),
    *("h4", "h5", "h6"),
}
MATH = "{http://www.w3.org/1998/Math/MathML}"
# A style sheet of ours is the only thing that a page may use; images are part of it.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'"
)
STYLE = """
:root { color-scheme: light dark; font-family: system-ui, sans-serif; line-height: 1.5 }
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } td, th { padding: 1px 10px; text-align: left }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 } img { max-width: 100% }
.number { text-align: right }
.student, .given { border-left: 4px solid #888; padding: .2rem .8rem; margin: .6rem 0;
  overflow: auto; contain: content }
.student { border-color: #3572b0 } .given { border-color: #bbb }
.label { font-size: .8rem; opacity: .8 }
.grader { border: 2px solid #2e7d32; padding: .4rem .8rem; margin: .6rem 0 1.6rem }
.lost { border-color: #b3541e }
"""
MAX_MARKDOWN = 20_000  # characters: what is longer is shown as it is, since parsing takes n² time
HIDDEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f]")


def formula(tex, block):
    """Return a formula as MathML, or as code if it cannot be read."""
    try:
        if len(tex) > 2000:
            raise ValueError("too long")
        tree = ElementTree.fromstring(convert(tex, display="block" if block else "inline"))
        for element in tree.iter():
            if not element.tag.startswith(MATH) or element.tag in (f"{MATH}annotation-xml",):
                raise ValueError(element.tag)
            for name in [*element.attrib]:
                if name not in ("display", "mathvariant", "stretchy", "columnalign", "fence"):
                    del element.attrib[name]
        ElementTree.register_namespace("", MATH[1:-1])
        return ElementTree.tostring(tree, encoding="unicode")
    except Exception:  # whatever a formula makes the converter raise
        return f"<code>{html.escape(tex)}</code>"


def text(source):
    """Return Markdown as HTML with an allowed list of tags, no attribute, no link."""
    source, formulas, sign = HIDDEN.sub("", source), [], f"formula{secrets.token_hex(8)}n"

    def keep(tex, options):
        formulas.append(formula(tex, options.get("display_mode")))
        return f"{sign}{len(formulas) - 1}e"

    parser = MarkdownIt("commonmark", {"maxNesting": 20}).enable("table")
    parser.use(dollarmath_plugin, renderer=keep, allow_labels=False, double_inline=True)
    page = parser.render(source)
    # The page's own headings are larger than any of a student's.
    page = re.sub(r"(</?)h[1-6]\b", lambda m: f"{m.group(1)}h5", page, flags=re.I)
    page = nh3.clean(page, tags=TAGS, attributes={}, generic_attribute_prefixes=set())
    return re.sub(rf"{sign}(\d+)e", lambda m: formulas[int(m.group(1))], page)


def code(source):
    """Return text as it is, in a block."""
    return f"<pre>{html.escape(HIDDEN.sub('', source))}</pre>" if source.strip() else ""


def cell(kind, source, role, shown):
    """Return one cell and what it showed as HTML; never raises.

    Parameters
    ----------
    kind, source, role : str
        As in :class:`assignment.grader.handin.Cell`.
    shown : list of dict
        As in :class:`assignment.grader.run.Result`.

    Returns
    -------
    str
    """
    try:
        body = code(source)
        if kind == "markdown" and len(source) < MAX_MARKDOWN:
            body = text(source)
    except Exception:  # a text that no parser was made for
        body = code(source)
    ours = role in ("given", "check")
    label = "" if ours else '<div class="label">your text</div>'
    if kind == "code":
        label = f'<div class="label">{"given" if ours else "your code"}</div>'
    for output in shown:
        if "png" in output:
            picture = f"data:image/png;base64,{output['png']}"
            body += f'<img alt="a picture that the cell drew" src="{picture}">'
        else:
            what = "from the grader" if "note" in output else "what it printed"
            words = output.get("note") or output.get("text", "")
            body += f'<div class="label">{what}</div>{code(words)}'
    return f'<section class="{"given" if ours else "student"}">{label}{body}</section>'


def verdict(title, points, most, lines):
    """Return what the grader says of one part.

    Parameters
    ----------
    title : str
    points : float or None
        None if it waits for a person.
    most : float
    lines : list of str
    """
    said = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    reached = "waits for a person, of" if points is None else f"{points:g} of"
    lost = "" if points == most else " lost"
    return (
        f'<section class="grader{lost}"><strong>{html.escape(title)}: {reached} {most:g} points'
        f"</strong><ul>{said}</ul></section>"
    )


def page(student, title, rows, total, most, body, messages):
    """Return a whole page.

    Parameters
    ----------
    student, title : str
    rows : list of (str, float or None, float)
        Part, points, most.
    total, most : float
    body : str
        HTML of the cells and verdicts.
    messages : list of str
    """
    table = "".join(
        f'<tr><td>{html.escape(part)}</td><td class="number">{"…" if p is None else f"{p:g}"}</td>'
        f'<td class="number">{m:g}</td></tr>'
        for part, p, m in rows
    )
    notes = "".join(f"<li>{html.escape(message)}</li>" for message in messages)
    name = f"{html.escape(title)}: {html.escape(student)}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f"<title>{name}</title><style>{STYLE}</style></head>"
        f'<body data-total="{total:g}"><h1>{name}</h1>'
        f"<p>All parts together: <strong>{total:g} of {most:g} points</strong>. Points stand in "
        f"this table and in frames that are closed on all sides; what you handed in has a line on "
        f"its left.</p>"
        f"<table><tr><th>part</th><th>points</th><th>of</th></tr>{table}</table>"
        f"<ul>{notes}</ul>{body}</body></html>\n"
    )
