"""The ledger of the report's claims: evidence from several sources, and the verdict it leads to.

The claims stand in ``data/ledger.yaml``; what is computed about them, in
:mod:`experiments.evidence`.
"""

import html
import inspect
import re
from collections.abc import Callable
from string import Formatter
from typing import NamedTuple

import pandas as pd
import yaml
from IPython.display import HTML

from experiments import evidence
from experiments.findings import LEVEL, Found, decide, holm
from helpers.data import DATA, DataFormatError

LEDGER = DATA / "ledger.yaml"
HOLDS, CONTRADICTED = "holds", "contradicted"
DOES_NOT_FOLLOW, CANNOT_BE_TOLD = "does not follow", "cannot be told"
VERDICTS = (HOLDS, DOES_NOT_FOLLOW, CONTRADICTED, CANNOT_BE_TOLD)
FINDINGS = ("for", "against", "open", "none")
SOURCES = {"report": "Report", "ours": "Here", "code": "Its code"}


def verdict(report, *others):
    """Return the verdict that follows from findings.

    Parameters
    ----------
    report : str
        What the text's own evidence says: one of :data:`FINDINGS`.
    *others : str
        What other sources say.

    Returns
    -------
    str
        One of :data:`VERDICTS`.
    """
    found = {report, *others}
    if {"for", "against"} <= found:
        return CANNOT_BE_TOLD
    if "for" in found:
        return HOLDS
    if "against" in found:
        return CONTRADICTED
    return DOES_NOT_FOLLOW if report == "open" else CANNOT_BE_TOLD


class Evidence(NamedTuple):
    """What one source says about a claim.

    Attributes
    ----------
    kind : str
        Such as ``table``, ``runs``, ``argument``.
    text : str
        A sentence, its numbers filled in.
    found : Found
    made : str
        The verdict function and its arguments; empty if nothing was computed.
    """

    kind: str
    text: str
    found: Found
    made: str = ""


class Claim(NamedTuple):
    """A sentence of the report and what the sources say about it.

    Attributes
    ----------
    id, place, quote, reading, instruction : str
        As in ``data/ledger.yaml``; the last two may be empty.
    evidence : dict
        Of :class:`Evidence`, by source: those of :data:`SOURCES` that say something.
    """

    id: str
    place: str
    quote: str
    reading: str
    instruction: str
    evidence: dict

    def number(self, name, source="ours"):
        """Return a number that a source's sentence can quote."""
        return self.evidence[source].found.numbers[name]

    def finding(self, source, level=LEVEL, correct=lambda p: p):
        """Return what a source says, its tests decided at some level, their p corrected somehow."""
        if source not in self.evidence:
            return "none"
        found = self.evidence[source].found
        if not found.tests:
            return found.finding
        return decide([(effect, correct(p)) for effect, p in found.tests], level, found.every)

    def decided(self, sources=tuple(SOURCES), **options):
        """Return the verdict by some of the sources; options as for :meth:`finding`."""
        return verdict(*(self.finding(s, **options) if s in sources else "none" for s in SOURCES))

    @property
    def verdict(self):
        """What follows from all sources: computed, never entered."""
        return self.decided()

    @property
    def basis(self):
        """What decides, if nothing that was computed does: ``argument``, ``code`` or ``text``."""
        spoken = [e for e in self.evidence.values() if e.found.finding in ("for", "against")]
        spoken = spoken or list(self.evidence.values())
        return "" if any(e.made for e in spoken) else ", ".join(sorted({e.kind for e in spoken}))


# --- Reading ----------------------------------------------------------------------------------


def quote(dataset, *ids):
    """Return some claims, for a chapter that answers them, as the whole ledger judges them.

    Parameters
    ----------
    dataset : helpers.data.SequenceDataset
    *ids : str

    Returns
    -------
    dict
        Of :class:`Claim`, by id.
    """
    return read(evidence.Material.recorded(dataset), only=ids)


def read(material, path=LEDGER, functions=evidence, only=None):
    """Read the ledger and compute its evidence.

    Parameters
    ----------
    material : experiments.evidence.Material
    path : str or Path
    functions : module
        Where verdict functions are looked up.
    only : collection of str, optional
        Ids; all entries if not given. Nothing is computed for others.

    Returns
    -------
    dict
        Of :class:`Claim`, by id, in the order of the file.

    Raises
    ------
    helpers.data.DataFormatError
        If an entry lacks a field, has one too many, or names a function, an argument or a number
        that is not there.
    KeyError
        If there is no entry of an id that is asked for.
    """
    with open(path, encoding="utf-8") as file:
        entries = yaml.safe_load(file)
    if only is not None:
        here = {entry["id"]: entry for entry in entries}
        entries = [here[name] for name in only]
    claims, computed = {}, {}
    for number, entry in enumerate(entries, 1):
        where = f"{path}, entry {number} ({entry.get('id')})"
        _check(where, entry, {"id", "place", "quote"}, {"reading", "instruction", *SOURCES})
        if entry["id"] in claims:
            raise DataFormatError(where, "an id that is taken", "one of its own")
        claims[entry["id"]] = Claim(
            **{
                key: entry.get(key, "")
                for key in ("id", "place", "quote", "reading", "instruction")
            },
            evidence={
                source: _evidence(
                    f"{where}, {source}", entry[source], material, functions, computed
                )
                for source in SOURCES
                if source in entry
            },
        )
    return claims


def _check(where, entry, needed, allowed=frozenset()):
    if (needed - set(entry)) | (set(entry) - needed - allowed):
        expected = ", ".join(sorted(needed))
        expected += f" and perhaps {', '.join(sorted(allowed))}" if allowed else ""
        raise DataFormatError(where, f"the fields {', '.join(map(str, entry))}", expected)
    for name in needed:  # YAML reads 1.1 as a number and no as a truth value
        if not isinstance(entry[name], str):
            raise DataFormatError(where, f"{name}: {entry[name]}", "text; put it in quotes")


def _evidence(where, entry, material, functions, computed):
    if "by" not in entry:
        _check(where, entry, {"kind", "finding", "text"})
        if entry["finding"] not in FINDINGS[:3]:
            raise DataFormatError(where, f"finding {entry['finding']!r}", ", ".join(FINDINGS[:3]))
        return Evidence(entry["kind"], entry["text"], Found(entry["finding"], {}))
    _check(where, entry, {"kind", "by", "text"}, {"with"})
    arguments = entry.get("with", {})
    function = getattr(functions, entry["by"], None)
    if not isinstance(function, Callable):
        raise DataFormatError(where, f"by {entry['by']!r}", f"a function of {functions.__name__}")
    try:
        inspect.signature(function).bind(material, **arguments)
    except TypeError as error:
        signature = inspect.signature(function)
        raise DataFormatError(
            where, f"arguments {arguments}", f"{entry['by']}{signature}"
        ) from error
    made = f"{entry['by']}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})"
    if made not in computed:  # some evidence serves several claims
        computed[made] = function(material, **arguments)
    found = computed[made]
    if not isinstance(found, Found):
        raise DataFormatError(where, f"by {entry['by']!r}", "a function that says what it Found")
    quoted = {name for _, name, _, _ in Formatter().parse(entry["text"]) if name}
    if quoted - set(found.numbers):
        raise DataFormatError(
            where, f"a sentence with {sorted(quoted)}", f"numbers of {sorted(found.numbers)}"
        )
    text = re.sub(r"(?<![\w-])-(?=\d)", "−", entry["text"].format_map(found.numbers))
    return Evidence(entry["kind"], text, found, made)


# --- Counting ---------------------------------------------------------------------------------


def tally(claims):
    """Count verdicts by chapter of the report: a row a verdict, a column a chapter."""
    rows = pd.DataFrame(
        [(c.verdict, c.place[0]) for c in claims.values()], columns=["v", "chapter"]
    )
    return pd.crosstab(rows["v"], rows["chapter"]).reindex(list(VERDICTS), fill_value=0)


def tests_of(claims):
    """Return the p of each different test that decides somewhere in the ledger, by what made it."""
    made = {e.made: e.found for c in claims.values() for e in c.evidence.values() if e.found.tests}
    return {(name, k): p for name, found in made.items() for k, (_, p) in enumerate(found.tests)}


def recount(claims, levels=(0.001, 0.01, 0.05, 0.1)):
    """Return all verdicts as they are and as they would be, were they decided otherwise.

    Parameters
    ----------
    claims : dict
    levels : sequence of float

    Returns
    -------
    pandas.DataFrame
        A row a claim (its id), a column a way: the tests at other levels, all p of the ledger as
        one family by Holm's method, one source alone, and without the code.
    """
    # The family has as many members as there are tests, equal p included.
    every = sorted(tests_of(claims).values())
    family = dict(zip(every, holm(every), strict=True)) if every else {}
    ways = {
        "as it stands": {},
        **{f"level {level:g}": {"level": level} for level in levels},
        f"level {LEVEL:g}, Holm": {"correct": family.get},
        "the report alone": {"sources": ("report",)},
        "ours alone": {"sources": ("ours",)},
        "without the code": {"sources": ("report", "ours")},
    }
    return pd.DataFrame(
        {name: [c.decided(**way) for c in claims.values()] for name, way in ways.items()},
        index=list(claims),
    )


# --- Showing ----------------------------------------------------------------------------------

_STYLE = """
#ledger [hidden] { display: none !important; }
#ledger fieldset { border: 0; margin: 0 0 .5rem; padding: 0; }
#ledger legend { font-size: 1rem; margin: 0; }
#ledger label { display: inline-block; margin-right: 1rem; padding: .25rem 0; white-space: nowrap; }
#ledger .rows { max-height: 75vh; overflow: auto; }
#ledger table { width: 100%; }
#ledger th, #ledger td { text-align: left; vertical-align: top; white-space: normal; }
#ledger tbody tr { border-top: 1px solid currentColor; }
#ledger td > * { display: block; margin: 0 0 .3rem; }
#ledger small { font-size: 100%; opacity: .8; }
@media (max-width: 600px) {
  #ledger thead { display: none; }
  #ledger tr, #ledger td { display: block; border: 0; }
}
@media print { #ledger .rows { max-height: none; } #ledger fieldset { display: none; } }
"""
# JupyterLab takes the arrow keys from whatever has the focus in an output, unless asked not to.
_OWN_KEYS = 'data-lm-suppress-shortcuts="true"'
_SCRIPT = """
(function () {
  var root = document.getElementById("ledger"), rows = root.querySelectorAll("tbody tr"),
    fields = root.querySelector("fieldset"), said = root.querySelector("output");
  fields.hidden = false;
  fields.addEventListener("change", function (event) {
    var shown = 0;
    rows.forEach(function (row) {
      row.hidden = event.target.value && row.dataset.verdict !== event.target.value;
      shown += !row.hidden;
    });
    said.textContent = shown + " of " + rows.length + " claims";
    root.querySelector(".rows").scrollTop = 0;
  });
})();
"""


def show(claims):
    """Show the ledger as a table that can be reduced to one verdict.

    Works by mouse, touch and keyboard, in a notebook and in the built book. Without its script
    every claim is shown, and no filter.

    Parameters
    ----------
    claims : dict

    Returns
    -------
    IPython.display.HTML
    """
    count = tally(claims).sum(axis=1)
    choices = {"": ("all", len(claims)), **{v: (v, count[v]) for v in VERDICTS}}
    labels = "".join(
        f'<label><input {_OWN_KEYS} type="radio" name="ledger-verdict" value="{value}"'
        f"{' checked' * (not value)}> {words} ({n})</label>"
        for value, (words, n) in choices.items()
    )
    rows = "".join(map(_row, claims.values()))
    return HTML(
        f'<div id="ledger"><style>{_STYLE}</style>'
        f"<fieldset hidden><legend>Show the claims whose verdict is</legend>{labels}"
        f"<output>{len(claims)} of {len(claims)} claims</output></fieldset>"
        f'<div class="rows" {_OWN_KEYS} tabindex="0" role="region" aria-label="The ledger">'
        '<table class="dataframe"><caption>The ledger: what the report says, the verdict, and why'
        "</caption><thead><tr><th>claim and verdict</th><th>evidence</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div><script>{_SCRIPT}</script></div>"
    )


def _row(claim):
    """Return a claim as a row of the table, its text escaped."""
    basis = f", by {claim.basis}" * bool(claim.basis and claim.verdict in (HOLDS, CONTRADICTED))
    aside = [("Read as: ", claim.reading), ("The course had asked: ", claim.instruction)]
    said = [f"<span>{html.escape(claim.place)} “{html.escape(claim.quote)}”</span>"]
    said += [f"<small>{words}{html.escape(text)}</small>" for words, text in aside if text]
    said.append(f"<span><b>{claim.verdict}</b>{basis}</span>")
    found = [
        f"<span><i>{SOURCES[source]}:</i> {html.escape(e.text)}.</span>"
        for source, e in claim.evidence.items()
    ] or ["<span>None, in either place.</span>"]
    return (
        f'<tr id="claim-{html.escape(claim.id)}" data-verdict="{claim.verdict}">'
        f"<td>{''.join(said)}</td><td>{''.join(found)}</td></tr>"
    )
