"""What the tests of the built site share: its pages, a browser, and a way to open a page in it."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from book import browser as chromium

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
PAGES = sorted(
    page
    for page in SITE.rglob("*.html")
    if page.relative_to(SITE).parts[0] in ("book", "notebooks")
)


def name_of(page):
    """Return what a test calls a page."""
    return str(page.relative_to(SITE).with_suffix(""))


def letters(text):
    """Return a text without spaces, signs and quotation marks, which the site sets its own way."""
    return re.sub(r"[\W_]+", "", text)


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run what is marked slow, too")


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked slow, unless everything is asked for, as CI does."""
    if not config.getoption("--all"):
        left_out = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def some(values, few):
    """Return values for `parametrize`: all but the few are marked slow."""
    return [v if v in few else pytest.param(v, marks=pytest.mark.slow) for v in values]


def pytest_generate_tests(metafunc):
    """Run a test that asks for `page` once for each page of the book, quickly for every third."""
    if "page" in metafunc.fixturenames:
        metafunc.parametrize("page", some(PAGES, PAGES[::3]), ids=name_of)


@pytest.fixture(scope="session")
def browser():
    if not chromium.find():
        pytest.skip("no Chromium on this machine")
    with chromium.launch() as running:
        yield running


@pytest.fixture(scope="session")
def server():
    """Serve the site; return its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(SITE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture(scope="session")
def tabs(browser):
    """One tab for each width and colour scheme; each notes what it asks for and complains about."""
    opened = {}

    def tab_for(width, scheme):
        if (width, scheme) not in opened:
            context = browser.new_context(
                viewport={"width": width, "height": 844}, color_scheme=scheme
            )
            tab = opened[width, scheme] = context.new_page()
            tab.on("request", lambda request: tab.asked.append(request.url))
            tab.on("console", lambda m: m.type == "error" and tab.complaints.append(m.text))
            tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        return opened[width, scheme]

    return tab_for


@pytest.fixture
def visit(tabs):
    """Open a page, from the file system unless it is an address."""

    def open_page(page, width=1280, scheme="light"):
        tab = tabs(width, scheme)
        tab.asked, tab.complaints = [], []
        tab.goto(page if isinstance(page, str) else page.as_uri())
        return tab

    return open_page


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """All tracked files as they are now, with the installed packages of this checkout."""
    folder = tmp_path_factory.mktemp("clone") / "book"
    for name in subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, encoding="utf-8"
    ).stdout.split("\0"):
        if name and (ROOT / name).exists():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
            if name.startswith("requirements") or name == "pyproject.toml":
                os.utime(target, (0, 0))  # nothing is to be installed again
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def environment(clone):
    """Return that of a shell on a machine whose text is not UTF-8, whoever called this.

    `make test` tells its children about itself. Where no Latin-1 is installed, the C locale is
    ASCII unless Python is let to mend it.
    """
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    other = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return inherited | other | {"PYTHONPATH": str(clone), "SEQUENCE_DATA": ""}
