"""Draw the cover picture, light and dark, the social card and the logo.

Usage: ``python -m book.make_cover``. With ``--panel`` it takes a picture of the panel "write here"
instead, from the built site, for the README and for pages without scripts.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image

from book.browser import launch
from helpers.data import DATA, load_handwriting
from helpers.padding import scale_keep_aspect

STATIC = Path(__file__).parent / "_static"
STEPS = 9
# Ink, pale ink, and the range of the colour map that stands out from the page.
SCHEMES = {"light": ("0.15", "0.5", (0.0, 0.82)), "dark": ("0.92", "0.62", (0.25, 1.0))}
BLUE = "#0072B2"


def arrow(ax, start, end, **style):
    """Draw an arrow."""
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", shrinkA=4, shrinkB=1, **style))


def draw_reading(ax, scheme):
    """Draw a stroke, the chain of hidden states that reads it, and the classes it may be."""
    ink, pale, shades = SCHEMES[scheme]
    dataset = load_handwriting(DATA / "sample")
    chosen = dataset.train.files.index("chA/train/66.txt")  # a typical one, with many points
    x = scale_keep_aspect(dataset.train.x[chosen])
    x = (x - x.mean(axis=0)) * [7.6, 5.2] + [4.7, 4.1]
    read = np.linspace(0, len(x) - 1, STEPS).astype(int)
    colours = plt.get_cmap("viridis")(np.linspace(*shades, len(x)))

    for a, b, colour in zip(x[:-1], x[1:], colours, strict=False):
        ax.plot(*zip(a, b, strict=True), "-", color=colour, linewidth=4, solid_capstyle="round")
    left = np.linspace(0.35, 8.35, STEPS)
    for k, (t, x0) in enumerate(zip(read, left, strict=True)):
        colour = colours[t]
        ax.plot(*x[t], "o", color=colour, markersize=9, markeredgecolor=ink)
        box = FancyBboxPatch((x0, 0.35), 0.6, 0.6, boxstyle="round,pad=0,rounding_size=0.12")
        box.set(facecolor=colour, edgecolor="none")
        ax.add_patch(box)
        text = "white" if colour[:3].mean() < 0.45 else "black"
        ax.text(x0 + 0.3, 0.65, f"$h_{k + 1}$", color=text, ha="center", va="center", size=13)
        down = {"color": colour, "linewidth": 0.9, "alpha": 0.6, "mutation_scale": 9}
        arrow(ax, x[t], (x0 + 0.3, 0.98), **down)
        end = left[k + 1] if k + 1 < STEPS else x0 + 1.15
        arrow(ax, (x0 + 0.6, 0.65), (end, 0.65), color=ink, linewidth=1.4, mutation_scale=11)
    for k, name in enumerate(reversed(dataset.classes)):
        style = {"ha": "center", "va": "center", "size": 13, "color": pale}
        if name == "chA":
            style |= {"size": 15, "color": ink, "weight": "bold"}
        ax.text(9.85, 0.65 + 0.6 * (k - 1), name, **style)
    ax.set(xlim=(0.1, 10.4), ylim=(-0.25, 5.3), aspect="equal")
    ax.axis("off")


def draw_cover(file, scheme):
    """Draw the picture of the cover, without a background."""
    figure, ax = plt.subplots(figsize=(9.6, 4.2))
    draw_reading(ax, scheme)
    figure.savefig(file, dpi=140, bbox_inches="tight", transparent=True)
    plt.close(figure)


def draw_card(file):
    """Draw what a link to the book shows elsewhere: 1200 by 630 pixels."""
    figure = plt.figure(figsize=(12, 6.3), facecolor="white", layout="none")
    draw_reading(figure.add_axes((0.06, 0.03, 0.88, 0.66)), "light")
    figure.text(0.06, 0.86, "Recurrent Sequence Learning", size=38, weight="bold", color=BLUE)
    figure.text(
        0.06,
        0.765,
        "A book of executed notebooks: derived, checked, repeated",
        size=21,
        color="0.25",
    )
    figure.savefig(file, dpi=100)
    plt.close(figure)


def photograph_panel(file):
    """Take a picture of the panel in which a chA has got the beginning of a bA."""
    with launch() as browser:
        page = browser.new_page(device_scale_factor=2, viewport={"width": 1280, "height": 1000})
        page.goto((STATIC.parents[1] / "_build/html/book/intro.html").as_uri())
        page.select_option(".pen-beginning", "bA")
        page.locator(".pen").screenshot(path=file)
    with Image.open(file) as picture:  # fewer colours, a third of the size
        picture.convert("RGB").quantize(128).save(file, optimize=True)


LOGO = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img">
<title>Recurrent Sequence Learning</title>
<rect width="64" height="64" rx="14" fill="{BLUE}"/>
<rect x="20" y="27" width="24" height="18" rx="5" fill="white"/>
<path d="M44 33c10-1 10-18-4-18H24c-12 0-14 14-6 17" fill="none" stroke="white" stroke-width="4"
 stroke-linecap="round"/>
<path d="M12 27l7 6-8 4z" fill="white"/>
<path d="M32 58v-11" stroke="#F0E442" stroke-width="4" stroke-linecap="round"/>
</svg>
"""

if __name__ == "__main__":
    if "--panel" in sys.argv:
        sys.exit(photograph_panel(STATIC / "write_here.png"))
    plt.style.use("helpers.book")
    for scheme in SCHEMES:
        draw_cover(STATIC / f"cover_{scheme}.png", scheme)
    draw_card(STATIC / "card.png")
    (STATIC / "logo.svg").write_text(LOGO, encoding="utf-8")
