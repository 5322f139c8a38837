"""The Chromium of this machine."""

import contextlib
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find():
    """Return the path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def launch(*options):
    """Run it without a window; leave with a message if there is none.

    Yields
    ------
    playwright.sync_api.Browser
    """
    path = find()
    if path is None:
        sys.exit(f"found no Chromium; expected one of {', '.join(NAMES)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", *options]
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()
