"""axe on every page, in light and dark."""

from pathlib import Path

import axe_playwright_python
import pytest
from conftest import SITE, name_of

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
# Axe has no rules for the strokes inside a formula. One token of each kind is enough for the code.
THIN_OUT = """() => {
  document.querySelectorAll("mjx-container svg").forEach(svg => svg.replaceChildren());
  const seen = new Set();
  for (const token of document.querySelectorAll(".highlight span")) {
    if (seen.has(token.className)) token.replaceWith(token.textContent);
    else seen.add(token.className);
  }
}"""
# Colours follow from tags, classes and styles: of elements that agree in all of these, all the way
# up, two are enough. To look at every one would take ten minutes.
TWO_OF_A_KIND = """() => {
  const kind = element => element.matches("body") ? "" : kind(element.parentElement)
    + ` ${element.tagName}.${element.className}[${element.getAttribute("style")}]`;
  const counts = {};
  for (const element of document.querySelectorAll("article :is(p, li, td, th)")) {
    if (!element.isConnected) continue;
    const inside = [...element.querySelectorAll("*")].map(e => e.tagName + e.className).join();
    const key = kind(element) + inside;
    counts[key] = (counts[key] || 0) + 1;
    if (counts[key] > 2) element.remove();
  }
}"""
COLOURS = ["color-contrast", "link-in-text-block"]
RUN = """rules => axe.run(document, {resultTypes: ["violations"], ...rules}).then(found =>
  found.violations.filter(v => ["serious", "critical"].includes(v.impact)).flatMap(v =>
    v.nodes.map(node => `${v.id}: ${node.html.slice(0, 150)}: ${node.failureSummary}`)))"""


def problems(tab, structure=True):
    """Return what is wrong with the colours of a page, and with its structure."""
    tab.evaluate(THIN_OUT)
    tab.evaluate(AXE)
    found = []
    if structure:
        found += tab.evaluate(RUN, {"rules": {rule: {"enabled": False} for rule in COLOURS}})
    tab.evaluate(TWO_OF_A_KIND)
    return found + tab.evaluate(RUN, {"runOnly": COLOURS})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, page, scheme):
    # The structure is the same in both schemes.
    assert problems(visit(page, scheme=scheme), structure=scheme == "light") == [], name_of(page)


@pytest.mark.parametrize("name", ["search.html", "genindex.html"])
def test_axe_finds_nothing_serious_beside_the_chapters(visit, name):
    assert problems(visit(SITE / name)) == []
