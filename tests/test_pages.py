"""The built pages in a real browser: what they load, how they look, how they are operated."""

import pytest
from conftest import PAGES, ROOT, SITE, name_of

ARTEFACTS = ROOT / "test-artefacts"
SHIFT = """() => new Promise(done => {
  let sum = 0;
  const add = list => list.getEntries().forEach(e => { if (!e.hadRecentInput) sum += e.value; });
  new PerformanceObserver(add).observe({type: "layout-shift", buffered: true});
  requestAnimationFrame(() => setTimeout(() => done(sum), 50));
})"""
# Formulas whose glyphs are not on the page, or that take no room.
UNSEEN = """() => [...document.querySelectorAll("article mjx-container")].filter(formula => {
  const shapes = [...formula.querySelectorAll("use")];
  return shapes.some(use => !document.querySelector(use.getAttribute("xlink:href")))
    || !shapes.length || !formula.querySelector("svg").hasAttribute("viewBox")
    || !formula.querySelector("math");
}).map(formula => formula.textContent)"""


def chapter(start):
    """Return the page of the chapter whose file name begins so."""
    return next(page for page in PAGES if page.name.startswith(start))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_stands_alone_and_fits_a_phone(visit, page, scheme):
    tab = visit(page, width=390, scheme=scheme)
    assert not [url for url in tab.asked if not url.startswith(("file:", "data:"))]
    assert not tab.complaints
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate(UNSEEN) == []
    assert tab.evaluate(SHIFT) < 0.1
    ARTEFACTS.mkdir(exist_ok=True)
    tab.screenshot(path=ARTEFACTS / f"{page.stem}_390_{scheme}.png")


def test_a_page_needs_no_other_host_when_it_is_served(visit, server, page):
    tab = visit(f"{server}/{name_of(page)}.html")
    assert not [url for url in tab.asked if not url.startswith((server, "data:"))]
    assert not tab.complaints
    tab.screenshot(path=ARTEFACTS / f"{page.stem}_1280.png")


def test_sliders_work_by_keyboard(visit):
    seen = 0
    for page in PAGES:
        if "book-slider" not in page.read_text(encoding="utf-8"):
            continue
        tab = visit(page)
        for slider in tab.locator(".book-slider").all():
            picture, words = slider.locator("[role=img]"), slider.locator("output")
            for field in slider.locator("input").all():
                before, said = picture.inner_html(), words.inner_text()
                key = "ArrowLeft" if field.input_value() == field.get_attribute("max") else "End"
                field.focus()
                tab.keyboard.press(key)
                assert picture.inner_html() != before
                assert words.inner_text() != said
                assert picture.get_attribute("aria-label") == words.inner_text()
                seen += 1
    assert seen


def test_the_tab_key_reaches_everything(visit):
    tab = visit(next(page for page in PAGES if "book-slider" in page.read_text(encoding="utf-8")))
    # What can be operated: visible, and not taken out of the order on purpose.
    wanted = tab.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, summary")]
          .filter(e => e.tabIndex >= 0 && !e.disabled)
          .filter(e => e.checkVisibility({visibilityProperty: true}))
          .map((e, i) => { e.dataset.stop = i; return i; })"""
    )
    reached, pressed = set(), 0
    while pressed < 2 * len(wanted) and len(reached) < len(wanted):
        tab.keyboard.press("Tab")
        pressed += 1
        stop = tab.evaluate("document.activeElement.dataset.stop")
        if stop is not None:
            reached.add(int(stop))
    missed = [
        tab.evaluate(f"document.querySelector('[data-stop=\"{n}\"]').outerHTML.slice(0, 120)")
        for n in set(wanted) - reached
    ]
    assert not missed
    assert tab.locator(".book-slider input").count() > 0


def test_what_has_the_focus_is_marked(visit):
    tab = visit(chapter("01"))
    for _ in range(12):
        tab.keyboard.press("Tab")
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", tab.evaluate("document.activeElement.outerHTML.slice(0, 120)")


def test_solutions_fold(visit):
    tab = visit(chapter("10"))
    solution = tab.locator(".solution.dropdown").first
    body = solution.locator(".section, section").first
    assert not body.is_visible()
    solution.locator("button, summary").first.click()
    assert body.is_visible()


def test_the_search_finds_a_chapter_without_a_server(visit):
    tab = visit(f"{(SITE / 'search.html').as_uri()}?q=carousel")
    results = tab.locator("#search-results li")
    results.first.wait_for()
    assert any("LSTM" in text for text in results.all_inner_texts())
    assert not tab.complaints


def test_devanagari_comes_with_the_site(visit):
    used = [
        page
        for page in PAGES
        if any("\u0900" <= sign <= "\u097f" for sign in page.read_text(encoding="utf-8"))
    ]
    assert used
    for page in used:
        tab = visit(page)
        tab.evaluate("document.fonts.ready.then(() => 0)")
        loaded = "[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family).join()"
        assert "Book Devanagari" in tab.evaluate(loaded)


def test_a_printed_chapter_is_the_chapter_alone(visit):
    tab = visit(chapter("05"))
    tab.emulate_media(media="print")
    for part in (
        ".bd-sidebar-primary",
        ".bd-header-article",
        ".bd-sidebar-secondary",
        ".prev-next-area",
    ):
        assert not tab.locator(part).first.is_visible(), part
    assert tab.locator("article h1").is_visible()
    tab.pdf(path=ARTEFACTS / "chapter_05.pdf", format="A4")
    tab.emulate_media(media="screen")
