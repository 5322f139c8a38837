"""Draw the cover picture and the logo: ``python book/make_cover.py``."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from helpers.data import DATA, load_handwriting
from helpers.padding import scale_keep_aspect

STATIC = Path(__file__).parent / "_static"
STEPS = 9


def draw_cover(file):
    """Draw a stroke, the chain of hidden states that reads it, and the classes it may be."""
    dataset = load_handwriting(DATA / "sample")
    chosen = dataset.train.files.index("chA/train/66.txt")  # a typical one, with many points
    x = scale_keep_aspect(dataset.train.x[chosen])
    x = (x - x.mean(axis=0)) * [7.6, 5.2] + [4.7, 4.1]
    read = np.linspace(0, len(x) - 1, STEPS).astype(int)
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(x)))

    figure, ax = plt.subplots(figsize=(9.6, 4.2))
    for a, b, colour in zip(x[:-1], x[1:], colours, strict=False):
        ax.plot(*zip(a, b, strict=True), "-", color=colour, linewidth=4, solid_capstyle="round")

    def arrow(start, end, colour, bend=0.0, width=1.4):
        ax.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                mutation_scale=11,
                color=colour,
                linewidth=width,
                connectionstyle=f"arc3,rad={bend}",
                shrinkA=3,
                shrinkB=1,
            )
        )

    left = np.linspace(0.35, 8.35, STEPS)
    for k, (t, x0) in enumerate(zip(read, left, strict=True)):
        ax.plot(*x[t], "o", color=colours[t], markersize=9, markeredgecolor="white")
        ax.add_patch(
            FancyBboxPatch(
                (x0, 0.35),
                0.6,
                0.6,
                boxstyle="round,pad=0,rounding_size=0.12",
                facecolor=colours[t],
                edgecolor="none",
            )
        )
        ax.text(x0 + 0.3, 0.65, f"$h_{k + 1}$", color="white", ha="center", va="center", size=12)
        ax.add_patch(
            FancyArrowPatch(
                x[t],
                (x0 + 0.3, 0.98),
                arrowstyle="-|>",
                mutation_scale=9,
                color=colours[t],
                linewidth=0.9,
                alpha=0.55,
                shrinkA=6,
                shrinkB=1,
            )
        )
        end = left[k + 1] if k + 1 < STEPS else x0 + 1.15
        arrow((x0 + 0.6, 0.65), (end, 0.65), "0.25")
    for k, name in enumerate(reversed(dataset.classes)):
        hit = name == "chA"
        ax.text(
            9.85,
            0.65 + 0.6 * (k - 1),
            name,
            size=15 if hit else 12,
            ha="center",
            va="center",
            weight="bold" if hit else "normal",
            color="black" if hit else "0.55",
        )
    ax.set(xlim=(0.1, 10.4), ylim=(-0.25, 5.3), aspect="equal")
    ax.axis("off")
    figure.savefig(file, dpi=140, bbox_inches="tight", facecolor="white")
    plt.close(figure)


LOGO = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64" role="img">
<title>Recurrent Sequence Learning</title>
<rect width="64" height="64" rx="14" fill="#0072B2"/>
<rect x="20" y="27" width="24" height="18" rx="5" fill="white"/>
<path d="M44 33c10-1 10-18-4-18H24c-12 0-14 14-6 17" fill="none" stroke="white" stroke-width="4"
 stroke-linecap="round"/>
<path d="M12 27l7 6-8 4z" fill="white"/>
<path d="M32 58v-11" stroke="#F0E442" stroke-width="4" stroke-linecap="round"/>
</svg>
"""

if __name__ == "__main__":
    plt.style.use("helpers.book")
    draw_cover(STATIC / "cover.png")
    (STATIC / "logo.svg").write_text(LOGO)
