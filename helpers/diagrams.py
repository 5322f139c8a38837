"""Computation graphs as figures: the unrolled network and the three cells, to one scale."""

import re

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


def draw_graph(ax, nodes, edges, fontsize=None):
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
    """
    fontsize = FontProperties(size=fontsize or "medium").get_size_in_points()
    half = {}
    for name, (x, y, text, kind) in nodes.items():
        shape = dict(_SHAPES[kind])
        rounded = shape.pop("rounded")
        if not text:
            half[name] = (0.0, 0.0)
            continue
        width = 0.08 + 0.075 * _letters(text) if kind != "product" else 0.2
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
    if start == end:
        x, y = nodes[start][0] + half[start][0], nodes[start][1]
        ax.annotate(
            "", (x, y - 0.1), (x, y + 0.1), zorder=2,
            arrowprops={"arrowstyle": "-|>", "color": colour, "lw": THIN, "ls": "--",
                        "connectionstyle": "arc3,rad=-3", "shrinkA": 0, "shrinkB": 0,
                        "mutation_scale": 9},
        )  # fmt: skip
        ax.text(x + 0.4, y, label, color=colour, fontsize=0.85 * fontsize, va="center")
        return
    a, b = np.array(nodes[start][:2], float), np.array(nodes[end][:2], float)
    corner = {"-|": np.array([b[0], a[1]]), "|-": np.array([a[0], b[1]])}.get(bend)
    first = _border(a, b if corner is None else corner, half[start])
    last = _border(b, a if corner is None else corner, half[end])
    path = np.array([first, last] if corner is None else [first, corner, last])
    dashed = "--" if colour != "ink" else "-"
    ax.plot(
        *path[:-1].T if len(path) > 2 else path[:1].T, color=colour, ls=dashed, lw=THIN, zorder=1
    )
    head = "-|>" if half[end] != (0.0, 0.0) else "-"
    ax.annotate(
        "", path[-1], path[-2], zorder=2,
        arrowprops={"arrowstyle": head, "color": colour, "lw": THIN, "ls": dashed,
                    "shrinkA": 0, "shrinkB": 0, "mutation_scale": 9},
    )  # fmt: skip
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

_RNN = (
    {
        "h_before": (0, 0.6, "$h_{t-1}$", "state"),
        "x": (0, 0, "$x_t$", "state"),
        "W": (1.5, 0.3, "$W_x, W_h$", "weights"),
        "tanh": (3.0, 0.3, "tanh", "function"),
        "h": (4.6, 0.3, "$h_t$", "state"),
    },
    [("h_before", "W"), ("x", "W"), ("W", "tanh"), ("tanh", "h")],
)

_LSTM = (
    {
        "h_before": (0, 0.6, "$h_{t-1}$", "state"),
        "x": (0, 0, "$x_t$", "state"),
        "c_before": (0, 3.6, "$c_{t-1}$", "state"),
        "split": (0.6, 0.3, "", "state"),
        **{
            f"W{g}": (1.5, y, f"$W_x^{g}, W_h^{g}$", "weights")
            for g, y in zip("fico", (2.7, 1.9, 1.1, 0.3), strict=True)
        },
        **{
            g: (3.0, y, f"$\\sigma$  ${g}_t$", "function")
            for g, y in zip("fio", (2.7, 1.9, 0.3), strict=True)
        },
        "c_tilde": (3.0, 1.1, "tanh  $\\tilde c_t$", "function"),
        "forget": (4.2, 3.6, "$\\odot$", "product"),
        "into": (4.6, 1.5, "$\\odot$", "product"),
        "add": (5.2, 3.6, "+", "product"),
        "c": (7.4, 3.6, "$c_t$", "state"),
        "drop": (6.0, 3.6, "", "state"),
        "tanh": (6.0, 2.0, "tanh", "function"),
        "out": (6.0, 0.3, "$\\odot$", "product"),
        "h": (7.4, 0.3, "$h_t$", "state"),
    },
    [
        ("h_before", "split"), ("x", "split"),
        *[("split", f"W{g}", "|-") for g in "fico"],
        ("Wf", "f"), ("Wi", "i"), ("Wc", "c_tilde"), ("Wo", "o"),
        ("c_before", "forget", "C0"), ("f", "forget", "-|"), ("forget", "add", "C0"),
        ("i", "into", "-|"), ("c_tilde", "into", "-|"), ("into", "add", "-|"),
        ("add", "drop", "C0"), ("drop", "c", "C0"), ("drop", "tanh"), ("tanh", "out"),
        ("o", "out"), ("out", "h"),
    ],
)  # fmt: skip

_GRU = (
    {
        "h_before": (0, 3.6, "$h_{t-1}$", "state"),
        "x": (0, 0.3, "$x_t$", "state"),
        "h_tap": (0.45, 3.6, "", "state"),
        "x_tap": (0.75, 0.3, "", "state"),
        "Wz": (1.5, 2.6, "$W_x^z, W_h^z$", "weights"),
        "Wr": (1.5, 1.5, "$W_x^r, W_h^r$", "weights"),
        "z": (3.0, 2.6, "$\\sigma$  $z_t$", "function"),
        "r": (3.0, 1.5, "$\\sigma$  $r_t$", "function"),
        "reset": (4.2, 1.5, "$\\odot$", "product"),
        "h_tap2": (4.2, 3.6, "", "state"),
        "Wh": (4.2, 0.3, "$W_x^h, W_h^h$", "weights"),
        "tanh": (6.0, 0.3, "tanh  $\\tilde h_t$", "function"),
        "z_tap": (4.7, 2.6, "", "state"),
        "keep": (4.7, 3.6, "$\\odot$", "product"),
        "minus": (5.25, 2.6, "1−", "function"),
        "new": (6.0, 2.6, "$\\odot$", "product"),
        "add": (6.0, 3.6, "+", "product"),
        "h": (7.4, 3.6, "$h_t$", "state"),
    },
    [
        ("h_before", "h_tap", "C0"), ("h_tap", "h_tap2", "C0"), ("h_tap2", "keep", "C0"),
        ("keep", "add", "C0"), ("add", "h", "C0"),
        ("h_tap", "Wz", "|-"), ("h_tap", "Wr", "|-"), ("x", "x_tap"), ("x_tap", "Wr", "|-"),
        ("x_tap", "Wz", "|-"),
        ("x_tap", "Wh"), ("Wz", "z"), ("Wr", "r"), ("r", "reset"), ("h_tap2", "reset"),
        ("reset", "Wh"), ("Wh", "tanh"), ("z", "z_tap"), ("z_tap", "keep"), ("z_tap", "minus"),
        ("minus", "new"), ("tanh", "new"), ("new", "add"),
    ],
)  # fmt: skip

_CELLS = {"RNN": _RNN, "LSTM": _LSTM, "GRU": _GRU}


def draw_cell(cell, ax):
    """Draw one step of a cell; every dark box is a matrix product, to one scale.

    Parameters
    ----------
    cell : str
        ``RNN``, ``LSTM`` or ``GRU`` (reset before the product).
    ax : matplotlib axes
        8.5 units wide for every cell, as high as the cell needs.
    """
    draw_graph(ax, *_CELLS[cell], fontsize="small")
    top = max(y for _, y, *_ in _CELLS[cell][0].values())
    ax.set(xlim=(-0.5, 8), ylim=(-0.3, top + 0.4))
