"""Computation graphs as figures: the unrolled network and the three cells, to one scale."""

import re
import tomllib
from pathlib import Path

import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch

from helpers.plotting import THIN

# What a node does decides its shape and its grey, never its colour alone.
_SHAPES = {
    "weights": {"facecolor": "faint", "rounded": 0.02},
    "function": {"facecolor": "shade", "rounded": 0.14},
    "product": {"facecolor": "paper", "rounded": None},
    "state": {"facecolor": "none", "rounded": 0.02, "edgecolor": "none"},
}


def draw_graph(ax, nodes, edges, fontsize=None, letter=0.075):
    """Draw a computation graph.

    Parameters
    ----------
    ax : matplotlib axes
        Loses its frame; one unit is as long to the right as upwards.
    nodes : dict
        ``{name: (x, y, text, kind)}``; kind is ``weights`` (a matrix product: dark box),
        ``function`` (an activation: light box with round corners), ``product`` (element by
        element: circle) or ``state`` (text alone). An empty text is a point where lines part.
    edges : list of tuples
        ``(from, to)``, or with options: a colour (``"C1"``), which is drawn dashed; a label;
        ``"-|"`` (first across, then up or down) or ``"|-"`` (the other way round). An edge from
        a node to itself is a loop at its right.
    fontsize : float or str, optional
        In points, or matplotlib's name for it (``large``); the style's size if not given.
    letter : float
        Half of the width that a box gives a letter.
    """
    fontsize = FontProperties(size=fontsize or "medium").get_size_in_points()
    half = {}
    for name, (x, y, text, kind) in nodes.items():
        shape = dict(_SHAPES[kind])
        rounded = shape.pop("rounded")
        if not text:
            half[name] = (0.0, 0.0)
            continue
        width = 0.08 + letter * _letters(text) if kind != "product" else 0.2
        half[name] = (width, 0.2)
        style = {"edgecolor": "ink", "linewidth": THIN, "zorder": 3, **shape}
        if rounded is None:
            ax.add_patch(Circle((x, y), 0.2, **style))
        else:
            corner = f"round,pad=0,rounding_size={rounded}"
            ax.add_patch(
                FancyBboxPatch((x - width, y - 0.2), 2 * width, 0.4, boxstyle=corner, **style)
            )
        ax.text(x, y, text, ha="center", va="center", fontsize=fontsize, zorder=4)
    for start, end, *options in edges:
        _draw_edge(ax, nodes, half, start, end, options, fontsize)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.autoscale_view()


def _letters(text):
    """How many letters of a label are seen, its TeX apart; sub- and superscripts count half."""
    small = len(re.findall(r"[_^]", text))
    plain = re.sub(r"\\[a-z]+", "a", text.replace(r"\tilde", ""))
    return len(re.sub(r"[\s${}_^]", "", plain)) - small / 2


def _draw_edge(ax, nodes, half, start, end, options, fontsize):
    """Draw an arrow from the border of one node to that of another."""
    colour = next((o for o in options if o[0] == "C" and o[1:].isdigit()), "ink")
    bend = next((o for o in options if o in ("-|", "|-")), "")
    label = next((o for o in options if o not in (colour, bend)), "")
    line = {"color": colour, "ls": "-" if colour == "ink" else "--", "lw": THIN}
    arrow = {**line, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9}
    if start == end:
        x, y = nodes[start][0] + half[start][0], nodes[start][1]
        arrow |= {"arrowstyle": "-|>", "connectionstyle": "arc3,rad=-3"}
        ax.annotate("", (x, y - 0.1), (x, y + 0.1), zorder=2, arrowprops=arrow)
        ax.text(x + 0.4, y, label, color=colour, fontsize=0.85 * fontsize, va="center")
        return
    a, b = np.array(nodes[start][:2], float), np.array(nodes[end][:2], float)
    corner = {"-|": np.array([b[0], a[1]]), "|-": np.array([a[0], b[1]])}.get(bend)
    first = _border(a, b if corner is None else corner, half[start])
    last = _border(b, a if corner is None else corner, half[end])
    path = np.array([first, last] if corner is None else [first, corner, last])
    ax.plot(*path[:-1].T, **line, zorder=1)
    arrow["arrowstyle"] = "-|>" if half[end] != (0.0, 0.0) else "-"
    ax.annotate("", path[-1], path[-2], zorder=2, arrowprops=arrow)
    if label:
        middle = (path[0] + path[1]) / 2
        upright = abs(path[1][0] - path[0][0]) < abs(path[1][1] - path[0][1])
        ax.text(
            *(middle + ([0.08, 0] if upright else [0, 0.08])), label, color=colour,
            fontsize=0.85 * fontsize, ha="left" if upright else "center",
            va="center" if upright else "bottom",
        )  # fmt: skip


def _border(centre, towards, half):
    """Where the straight line from a centre leaves its box."""
    direction = towards - centre
    with np.errstate(divide="ignore"):
        reach = np.min(np.abs(np.array(half) / np.where(direction == 0, 1e-12, direction)))
    return centre + direction * min(reach, 1)


# --- Networks ---------------------------------------------------------------------------------


def draw_unrolled(ax, steps=4, outputs="last"):
    """Draw the loop of a recurrent network, and beside it the same network unrolled in time.

    Parameters
    ----------
    ax : matplotlib axes
    steps : int
    outputs : str
        ``last`` (many-to-one) or ``every`` (an output at each step).
    """
    nodes = {
        "x": (0, 0, "$x_t$", "state"),
        "h": (0, 1.2, "$h_t$", "function"),
        "y": (0, 2.4, "$p_t$" if outputs == "every" else "$p$", "state"),
        "equals": (1.3, 1.2, "=", "state"),
        "h0": (1.9, 1.2, "$h_0$", "state"),
    }
    edges = [("x", "h", "$W_x$"), ("h", "y", "$W_y$"), ("h", "h", "$W_h$", "C0")]
    before = "h0"
    for t in range(1, steps + 1):
        x = 1.9 + 1.2 * t
        index = "T" if t == steps else t
        dots = t == steps - 1
        nodes[f"h{t}"] = (x, 1.2, "…" if dots else f"$h_{index}$", "state" if dots else "function")
        edges.append((before, f"h{t}", "$W_h$", "C0"))
        before = f"h{t}"
        if dots:
            continue
        nodes[f"x{t}"] = (x, 0, f"$x_{index}$", "state")
        edges.append((f"x{t}", f"h{t}", "$W_x$"))
        if outputs == "every" or t == steps:
            nodes[f"y{t}"] = (x, 2.4, f"$p_{index}$" if outputs == "every" else "$p$", "state")
            edges.append((f"h{t}", f"y{t}", "$W_y$"))
    draw_graph(ax, nodes, edges)


# --- Cells ------------------------------------------------------------------------------------

_CELLS = tomllib.loads((Path(__file__).parent / "diagrams.toml").read_text(encoding="utf-8"))


def draw_cell(cell, ax, without=()):
    """Draw one step of a cell; every dark box is a matrix product, to one scale.

    Parameters
    ----------
    cell : str
        ``RNN``, ``LSTM`` or ``GRU`` (reset before the product).
    ax : matplotlib axes
        8.5 units wide for every cell, as high as the cell needs.
    without : sequence of str
        Nodes of ``diagrams.toml`` to leave out with their edges. What led into a product or a
        branching that is left out goes on to where that leads.
    """
    nodes, edges = _CELLS[cell]["nodes"], _CELLS[cell]["edges"]
    onwards = {start: (end, options) for start, end, *options in edges}
    drawn = []
    for start, end, *options in edges:
        while end in without and nodes[end][3] == "product":
            end, options = onwards[end]
        if start not in without and end not in without:
            drawn.append((start, end, *options))
    nodes = {name: node for name, node in nodes.items() if name not in without}
    draw_graph(ax, nodes, drawn, fontsize="large", letter=0.1)
    heights = [y for _, y, *_ in nodes.values()]
    ax.set(xlim=(-0.5, 8), ylim=(min(heights) - 0.4, max(heights) + 0.4))
