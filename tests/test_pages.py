"""The built pages in a real browser: what they load, how they look, how they are operated."""

import re

import matplotlib.pyplot as plt
import pytest
from conftest import PAGES, ROOT, SITE, name_of

from helpers import plotting

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

# For an icon that it does not know the script draws a picture of several parts, which moves.
DRAWN = """() => [...document.querySelectorAll("svg[data-icon]")]
  .map(icon => icon.querySelectorAll("path").length === 1 && !icon.querySelector("animate"))"""


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
    icons = tab.evaluate(DRAWN)
    assert len(icons) > 4 and all(icons)
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
          // Of radio buttons the tab key reaches one; the arrow keys reach the others.
          .filter(e => e.type !== "radio" || e === e.form.elements[e.name][0])
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


# What one asks for, and a section that must be among the first three.
QUERIES = {
    "carousel": "notebooks/05_lstm.html#",
    "Devanagari": "notebooks/12_speech_data.html#",
    "Kannada": "notebooks/10_handwriting_data.html#",
    "Telugu": "notebooks/10_handwriting_data.html#",
    "forget gate": "book/glossary.html#term-forget-gate",
    "gradient clipping": "notebooks/04_vanishing_and_exploding_gradients.html#",
    "central_differences": "notebooks/03_backpropagation_through_time.html#",
}


@pytest.mark.parametrize("query", QUERIES)
def test_the_search_leads_to_the_section_and_shows_the_sentence(visit, query):
    tab = visit(f"{(SITE / 'search.html').as_uri()}?q={query}")
    results = tab.locator("#search-results li")
    results.first.wait_for()
    links = [link.get_attribute("href") for link in results.locator("a").all()[:3]]
    places = [re.sub(r"\?[^#]*", "", link) for link in links]
    assert any(place.startswith(QUERIES[query]) for place in places), places
    assert tab.locator(".bd-search-container input").input_value() == query
    for result in results.all()[:3]:
        marked = " ".join(result.locator("mark").all_inner_texts()).lower()
        assert (
            query.lower().split("_")[0][:5] in marked
            or query.lower() in result.inner_text().lower()
        )
    results.locator("a").first.click()
    tab.wait_for_load_state()
    target = tab.locator(f"[id='{tab.url.rpartition('#')[2]}']")
    assert target.evaluate("e => Math.abs(e.getBoundingClientRect().top) < innerHeight / 2")
    assert not tab.complaints


def test_the_search_says_if_it_finds_nothing(visit):
    tab = visit(f"{(SITE / 'search.html').as_uri()}?q=xylophone")
    assert tab.locator("#search-results p").inner_text() == "Nothing on “xylophone”."
    assert tab.locator("#search-results li").count() == 0


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


# --- Previews and evidence --------------------------------------------------------------------

LINKS = {
    "an equation of the page": ("05", "a.internal[href^='#equation']"),
    "an equation of another page": ("11", "a[href*='.html#equation']"),
    "a figure": ("11", "a.internal[href^='#fig']"),
    "a cited work": ("05", ".bibtex-citation a"),
    "a word of the glossary": ("05", "a.glossary-link"),
    "an exercise": ("05", "a.internal[href^='#ex-']"),
    "a number": ("11", "a.book-number"),
    "a verdict in a sentence": ("15", "p a.book-number[href^='#claim']"),
    "a verdict of the ledger": ("15", "#ledger a.book-number"),
}
IN_THE_BOX = """box => ({
  seen: box.getBoundingClientRect().width > 20 && box.innerText.trim().length > 3,
  lost: [...box.querySelectorAll("use")].filter(u =>
    !document.querySelector(u.getAttribute("xlink:href"))).length,
  operable: box.querySelectorAll("[id], [href], button, input, [tabindex]").length,
  inside: (r => r.left >= 0 && r.right <= innerWidth && r.top >= 0 && r.bottom <= innerHeight)(
    box.getBoundingClientRect()),
})"""


@pytest.mark.parametrize("kind", LINKS)
def test_hover_and_focus_show_a_preview_and_escape_closes_it(visit, kind):
    start, selector = LINKS[kind]
    tab = visit(chapter(start))
    link, box = tab.locator(f"article {selector}").first, tab.locator(".book-preview")
    link.scroll_into_view_if_needed()
    assert not box.is_visible()
    link.hover()
    box.wait_for()
    shown = box.evaluate(IN_THE_BOX)
    assert shown == {"seen": True, "lost": 0, "operable": 0, "inside": True}
    assert link.get_attribute("aria-describedby") == box.get_attribute("id")
    box.hover()  # to read it, or to scroll in it
    tab.wait_for_timeout(500)
    assert box.is_visible()
    tab.keyboard.press("Escape")
    assert not box.is_visible()
    tab.mouse.move(0, 0)
    link.evaluate("e => e.focus({focusVisible: true})")
    box.wait_for()
    tab.keyboard.press("Escape")
    assert not box.is_visible() and link.get_attribute("aria-describedby") is None
    assert not tab.complaints


def test_a_long_preview_moves_under_the_arrow_keys(visit):
    tab = visit(chapter("11"))
    link, box = tab.locator("article a.internal[href^='#fig']").first, tab.locator(".book-preview")
    tab.set_viewport_size({"width": 1280, "height": 400})
    link.scroll_into_view_if_needed()
    link.evaluate("e => e.focus({focusVisible: true})")
    box.wait_for()
    tab.keyboard.press("ArrowDown")
    tab.wait_for_function("document.querySelector('.book-preview').scrollTop > 0")
    tab.set_viewport_size({"width": 1280, "height": 844})


def test_a_number_looks_like_its_sentence_and_leads_to_its_cell(visit):
    tab = visit(chapter("11"))
    number = tab.locator("article p a.book-number").first
    style = "e => [getComputedStyle(e).color, getComputedStyle(e).textDecorationLine]"
    colour, line = number.evaluate(style)
    assert line == "none" and colour == number.evaluate(
        "e => getComputedStyle(e.parentElement).color"
    )
    number.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_url("**#cell-*")
    place = tab.url.rpartition("#")[2]
    tab.locator(f"#{place} .cell_input").wait_for()  # a folded cell opens a moment later


def test_a_number_opens_the_folded_cell_that_it_comes_from(visit):
    tab = visit(chapter("08"))
    for number in tab.locator("article a.book-number").all():
        place = number.get_attribute("href")
        if tab.locator(f"{place} > details").count():
            assert not tab.locator(f"{place} .cell_input").is_visible()
            number.click()
            tab.locator(f"{place} .cell_input").wait_for()
            return
    pytest.fail("no number comes from a folded cell")


def test_a_verdict_leads_to_its_function_and_a_filtered_claim_is_shown(visit):
    tab = visit(chapter("15"))
    tab.locator("#ledger input[value='cannot be told']").check()
    link = next(
        each
        for each in tab.locator("article p a.book-number[href^='#claim']").all()
        if each.inner_text() == "holds"
    )
    row = tab.locator(link.get_attribute("href"))
    assert not row.is_visible()
    link.click()
    row.wait_for()
    tab.locator("#ledger input[value='']").check()
    verdict = tab.locator("#ledger a.book-number[href*='verdict_functions']").first
    verdict.click()
    tab.wait_for_load_state()
    assert "def " in tab.locator(f"[id='{tab.url.rpartition('#')[2]}']").inner_text()


# --- Sliders that play, phones, dark pages ----------------------------------------------------


@pytest.fixture
def slider_page(tmp_path):
    """A page with one slider over rows of charts, as a notebook shows it."""
    with plt.style.context("helpers.book"):
        chart = plotting.svg_chart([([0, 1], [0, 1], "rises")], (0, 1), (0, 1), "step", "loss")
        rows = [plotting.svg_row(chart, chart.replace("rises", word)) for word in ("a", "b", "c")]
        names = {"Setting": ["one", "two", "three"]}
        shown = plotting.slider(rows, ["1", "2", "3"], names, 0, 40, "Where it <ends>.").data
    page = tmp_path / "slider.html"
    page.write_text(f"<!doctype html><body><article>{shown}</article></body>", encoding="utf-8")
    return page


def test_a_slider_plays_to_its_end(visit, slider_page):
    tab = visit(slider_page)
    button, field = tab.get_by_role("button", name="Play: Setting"), tab.locator("input")
    button.focus()
    tab.keyboard.press("Enter")
    assert button.get_attribute("aria-pressed") == "true" and field.input_value() == "1"
    tab.wait_for_function("document.querySelector('input').value === '2'")
    tab.wait_for_function("document.querySelector('button').ariaPressed === 'false'")
    assert tab.locator("output").inner_text() == "3" and tab.locator("b").inner_text() == "three"
    assert tab.locator("figcaption").inner_text() == "Where it <ends>."
    tab.emulate_media(reduced_motion="reduce")
    tab.reload()
    assert tab.get_by_role("button").count() == 0 and field.is_visible()
    tab.emulate_media(reduced_motion="no-preference")


SMALLEST = """() => Math.min(...[...document.querySelectorAll("svg text")].map(
  text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a))"""


def test_words_in_a_slider_can_be_read_on_a_phone(visit, slider_page):
    tab = visit(slider_page, width=390)
    tab.evaluate("document.head.innerHTML = '<meta name=viewport content=\"width=device-width\">'")
    # The turned label has no width of its own in this measure.
    sizes = tab.evaluate(SMALLEST.replace("svg text", "svg text:not([transform])"))
    assert sizes >= 8.9


def test_a_figure_opens_at_its_own_size_on_a_phone(visit):
    tab = visit(chapter("11"), width=390)
    figure, dialog = tab.locator(".cell_output figure").first, tab.locator("dialog.book-figure")
    picture = figure.locator("img").first
    drawn = int(picture.get_attribute("width"))
    assert picture.bounding_box()["width"] < drawn
    button = figure.get_by_role("button")
    assert button.get_attribute("aria-label").startswith("Open Fig.")
    button.focus()
    tab.keyboard.press("Enter")
    assert dialog.locator("img").first.bounding_box()["width"] == drawn  # 10 points at 100 dpi
    room = dialog.locator("div")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("document.querySelector('dialog.book-figure > div').scrollLeft > 0")
    assert room.evaluate("e => e.scrollWidth > e.clientWidth")
    tab.keyboard.press("Escape")
    assert not dialog.is_visible()
    picture.click()
    assert dialog.is_visible()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    wide = visit(chapter("11"))
    assert not wide.locator(".cell_output figure").first.get_by_role("button").is_visible()


@pytest.mark.parametrize("width", [390, 1280])
def test_code_stays_within_its_column(visit, width):
    for start in ("03", "15"):
        tab = visit(chapter(start), width=width)
        cut = """() => [...document.querySelectorAll(".cell_input pre, .solution pre")]
          .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1).length"""
        assert tab.evaluate(cut) == 0


def test_figures_have_no_light_ground_on_a_dark_page(visit):
    tab = visit(chapter("12"), scheme="dark")
    styles = tab.evaluate(
        """() => [...document.querySelectorAll(".cell_output figure img")].map(e => {
          const style = getComputedStyle(e);
          return [e.className, style.display !== "none", style.filter, style.backgroundColor];
        })"""
    )
    assert any(kind == "only-dark" for kind, *_ in styles)
    for kind, seen, turned, ground in styles:
        assert seen == (kind != "only-light")
        assert ground == "rgba(0, 0, 0, 0)"
        assert ("invert(1)" in turned) == (kind != "only-dark")
