"""Measure how soon each chapter shows, on a processor four times slower: ``pages.py [SITE]``.

Prints, for a wide and a narrow window, the largest contentful paint in seconds and the layout
shift, while the site is served on this machine. Needs Chromium.
"""

import functools
import http.server
import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

SITE = Path(sys.argv[1] if len(sys.argv) > 1 else "_build/html")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
MEASURE = """() => new Promise(done => {
  let paint = 0, shift = 0;
  const watch = (type, add) => new PerformanceObserver(list => list.getEntries().forEach(add))
    .observe({type, buffered: true});
  watch("largest-contentful-paint", entry => paint = entry.startTime / 1000);
  watch("layout-shift", entry => shift += entry.value);
  setTimeout(() => done([paint, shift]), 500);
})"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that does not log."""

    def log_message(self, *_):
        """Say nothing."""


def main():
    """Print a line for each chapter."""
    handler = functools.partial(Quiet, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        sys.exit("found no Chromium; expected one of " + ", ".join(BROWSERS))
    print(f"{'':42} {'1280 px':>16} {'390 px':>16}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        for page in sorted(SITE.glob("notebooks/*.html")):
            line = f"{page.stem:42}"
            for width in (1280, 390):
                context = browser.new_context(viewport={"width": width, "height": 844})
                tab = context.new_page()
                slow = context.new_cdp_session(tab)
                slow.send("Emulation.setCPUThrottlingRate", {"rate": 4})
                tab.goto(f"http://127.0.0.1:{server.server_port}/notebooks/{page.name}")
                paint, shift = tab.evaluate(MEASURE)
                line += f" {paint:8.2f} s {shift:5.3f}"
                context.close()
            print(line, flush=True)
        browser.close()


if __name__ == "__main__":
    main()
