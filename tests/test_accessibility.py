"""axe on every page, in light and dark, and every caption shown."""

import sys
from pathlib import Path

import axe_playwright_python
import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import ROOT, SITE, name_of, some
from matplotlib.colors import rgb_to_hsv, to_rgb

from helpers import GREYS

sys.path.insert(0, str(ROOT / "book" / "_ext"))

import figures

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

HIDDEN = """() => [...document.querySelectorAll("figcaption, table caption")]
  .filter(caption => getComputedStyle(caption).display === "none")
  .map(caption => caption.parentElement.id)"""


def problems(tab, structure=True):
    """Return what is wrong with the colours of a page, and with its structure."""
    tab.evaluate(THIN_OUT)
    tab.evaluate(AXE)
    found = []
    if structure:
        found += tab.evaluate(RUN, {"rules": {rule: {"enabled": False} for rule in COLOURS}})
    tab.evaluate(TWO_OF_A_KIND)
    return found + tab.evaluate(RUN, {"runOnly": COLOURS})


@pytest.mark.parametrize("scheme", some(["light", "dark"], ["light"]))
def test_axe_finds_nothing_serious(visit, page, scheme):
    tab = visit(page, scheme=scheme)
    assert tab.evaluate(HIDDEN) == [], name_of(page)
    # The structure is the same in both schemes.
    assert problems(tab, structure=scheme == "light") == [], name_of(page)


@pytest.mark.parametrize("name", ["search.html", "search.html?q=gate", "genindex.html"])
def test_axe_finds_nothing_serious_beside_the_chapters(visit, name):
    assert problems(visit(f"{SITE.as_uri()}/{name}")) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_a_preview(visit, scheme):
    page = next(page for page in SITE.glob("notebooks/11_*.html"))
    tab = visit(page, scheme=scheme)
    for selector in ("a.book-number", "a.glossary-link", "a.internal[href^='#fig']"):
        link = tab.locator(f"article {selector}").first
        link.evaluate("e => e.focus({focusVisible: true})")
        tab.locator(".book-preview").wait_for()
        tab.evaluate(AXE)
        assert tab.evaluate(RUN.replace("axe.run(document", "axe.run('.book-preview'"), {}) == []


def luminance(colour):
    """Return the relative luminance of an sRGB colour, as WCAG defines it."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))


def test_the_figures_colours_keep_their_names_and_their_contrast_on_a_dark_page():
    page = np.array([0x14, 0x18, 0x1E]) / 255  # the theme's dark ground
    with plt.style.context("helpers.book"):
        colours = {name: to_rgb(name) for name in [*(f"C{k}" for k in range(6)), *GREYS]}
    for name, colour in colours.items():
        turned = figures.inverted(np.rint(255 * np.array(colour))) / 255
        shown = 1 - (1 - turned) * (1 - page)  # mix-blend-mode: screen
        on_white = 1.05 / (luminance(colour) + 0.05)
        on_dark = (luminance(shown) + 0.05) / (luminance(page) + 0.05)
        assert on_dark >= min(on_white, 11), name
        if name[0] == "C":
            before, after = (rgb_to_hsv(np.clip(c, 0, 1))[0] for c in (colour, turned))
            assert abs(before - after) < 10 / 360, name


def test_a_colour_map_keeps_its_direction_in_the_dark():
    values = np.tile(np.linspace(0, 1, 200), (40, 1))
    heat = (plt.get_cmap("cividis")(values)[..., :3] * 255).astype(np.uint8)
    picture = np.full((80, 240, 3), 255, dtype=np.uint8)
    picture[20:60, 20:220] = heat
    dark = figures.for_the_dark(picture)
    assert (dark[:10] == 0).all()  # the paper
    assert np.abs(dark[40, 20:220].astype(int) - heat[0]).max() < 40
    assert luminance(dark[40, 30] / 255) < luminance(dark[40, 210] / 255)
    assert figures.for_the_dark(np.full((80, 240, 3), 255, dtype=np.uint8)) is None
