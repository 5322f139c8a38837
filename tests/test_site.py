"""The built site: links, pictures, no other host; and, in a real browser, how its pages behave."""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
PAGES = sorted(
    page
    for page in SITE.rglob("*.html")
    if page.relative_to(SITE).parts[0] in ("book", "notebooks")
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
name_of = lambda page: str(page.relative_to(SITE).with_suffix(""))  # noqa: E731


@pytest.fixture(scope="module")
def soups():
    return {page: BeautifulSoup(page.read_text(), "html.parser") for page in SITE.rglob("*.html")}


def test_every_chapter_and_page_was_built():
    sources = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "book").glob("*.md")]
    assert {name_of(page) for page in PAGES} == {
        str(source.relative_to(ROOT).with_suffix("")) for source in sources
    }


def test_internal_links_lead_somewhere(soups):
    broken = []
    for page, soup in soups.items():
        for link in soup.select("a[href]"):
            url = urlsplit(link["href"])
            if url.scheme or url.netloc or link["href"] == "#":
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            if not target.exists():
                broken.append(f"{name_of(page)}: {link['href']}")
            elif url.fragment and target in soups:
                there = soups[target].find(id=unquote(url.fragment))
                if not there and not soups[target].find(attrs={"name": url.fragment}):
                    broken.append(f"{name_of(page)}: {link['href']}")
    assert not broken


def test_nothing_is_loaded_from_another_host(soups):
    foreign = []
    for page, soup in soups.items():
        for tag, attribute in (("script", "src"), ("img", "src"), ("link", "href")):
            for element in soup.find_all(tag, **{attribute: re.compile(r"^(https?:)?//")}):
                if element.get("rel") not in (["canonical"], ["author"], ["license"]):
                    foreign.append(f"{name_of(page)}: {element[attribute]}")
    assert not foreign


def test_every_picture_is_described(soups):
    for page in PAGES:
        for image in soups[page].select("article img"):
            alt = image.get("alt", "")
            assert len(alt) > 20 and "_images" not in alt and ".png" not in alt, (page, alt)


def test_no_reference_was_left_unresolved(soups):
    for page in PAGES:
        text = soups[page].select_one("article").get_text()
        for sign in ("{ref}", "{numref}", "{eq}", "{cite", "{doc}", "{glue", "%s"):
            assert sign not in text, (page, sign)
        assert not soups[page].select(".problematic, .system-message"), page


def test_the_site_is_small():
    files = [file for file in SITE.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 25e6
    assert all(page.stat().st_size < 1e6 for page in PAGES)


# --- In a browser -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Open a page from the file system; collect what it asks for and complains about."""
    contexts = []

    def open_page(page, width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.foreign, tab.complaints = [], []
        tab.on(
            "request",
            lambda r: r.url.startswith(("http:", "https:", "ws:")) and tab.foreign.append(r.url),
        )
        tab.on("console", lambda m: m.type == "error" and tab.complaints.append(m.text))
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.goto(page.as_uri())
        tab.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise")
        tab.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
        return tab

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_needs_no_network_and_renders_its_mathematics(visit, page):
    tab = visit(page)
    assert not tab.foreign and not tab.complaints
    wanted = tab.locator("article .math").count()
    assert tab.locator("article .math mjx-container").count() >= wanted
    assert tab.locator("mjx-container [data-mjx-error], mjx-merror, [fill=red]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_fits_a_phone(visit, page, scheme):
    tab = visit(page, width=390, scheme=scheme)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.evaluate("document.documentElement.dataset.theme") == scheme
    artefacts = ROOT / "test-artefacts"
    artefacts.mkdir(exist_ok=True)
    tab.screenshot(path=artefacts / f"{page.stem}_{scheme}.png")


def test_sliders_work_by_keyboard(visit):
    seen = 0
    for page in PAGES:
        if "book-slider" not in page.read_text():
            continue
        tab = visit(page)
        for slider in tab.locator(".book-slider").all():
            for field in slider.locator("input").all():
                before = slider.locator("[role=img]").inner_html()
                said = slider.locator("output").inner_text()
                key = "ArrowLeft" if field.input_value() == field.get_attribute("max") else "End"
                field.focus()
                tab.keyboard.press(key)
                assert slider.locator("[role=img]").inner_html() != before
                after = slider.locator("output").inner_text()
                assert after != said
                assert slider.locator("[role=img]").get_attribute("aria-label") == after
                seen += 1
    assert seen


def test_solutions_fold(visit):
    tab = visit(SITE / "notebooks" / "10_handwriting_data.html")
    solution = tab.locator(".solution.dropdown").first
    body = solution.locator(".section, section").first
    assert not body.is_visible()
    solution.locator("button, summary").first.click()
    assert body.is_visible()
