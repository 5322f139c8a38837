"""Measure how soon each chapter shows, on a processor four times slower.

Prints, for a wide and a narrow window, the largest contentful paint in seconds and the layout
shift, while the site is served on this machine. Needs Chromium.
"""

import argparse
import functools
import http.server
import statistics
import threading
from pathlib import Path

from book.browser import launch

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
    """Print a line for each chapter: medians of some loads, each in a fresh browser context."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", help="names of chapters; all if none is given")
    parser.add_argument("--loads", type=int, default=3)
    parser.add_argument("--site", type=Path, default="_build/html")
    arguments = parser.parse_args()
    handler = functools.partial(Quiet, directory=str(arguments.site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"{'':42} {'1280 px':>16} {'390 px':>16}")
    with launch() as browser:
        for page in sorted(arguments.site.glob("notebooks/*.html")):
            if arguments.pages and page.stem not in arguments.pages:
                continue
            line = f"{page.stem:42}"
            for width in (1280, 390):
                measured = []
                for _ in range(arguments.loads):
                    context = browser.new_context(viewport={"width": width, "height": 844})
                    tab = context.new_page()
                    slow = context.new_cdp_session(tab)
                    slow.send("Emulation.setCPUThrottlingRate", {"rate": 4})
                    tab.goto(f"http://127.0.0.1:{server.server_port}/notebooks/{page.name}")
                    measured.append(tab.evaluate(MEASURE))
                    context.close()
                paint, shift = map(statistics.median, zip(*measured, strict=True))
                line += f" {paint:8.2f} s {shift:5.3f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
