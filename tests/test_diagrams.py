"""The drawn networks say what the cells compute."""

import re

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, FancyBboxPatch

from helpers import GREYS, cells, diagrams, plotting


@pytest.fixture
def ax():
    with plt.style.context("helpers.book"):
        yield plotting.panels(1, 1)[0, 0]
        plt.close("all")


def boxes(ax):
    """Return the outline of each node that has one."""
    return [patch.get_path().get_extents(patch.get_patch_transform()) for patch in ax.patches]


def arrows(ax):
    """Return (from, to, arrow) for each edge that ends; texts without words are arrows."""
    drawn = [text for text in ax.texts if getattr(text, "arrow_patch", None)]
    return [(tuple(a.xyann), tuple(a.xy), a.arrow_patch) for a in drawn]


def words(ax):
    return {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}


# --- One graph ----------------------------------------------------------------------------------

NODES = {
    "W": (0, 0, "$W$", "weights"),
    "f": (2, 0, "tanh", "function"),
    "m": (4, 1, "$\\odot$", "product"),
    "x": (0, 2, "$x_t$", "state"),
}


def test_what_a_node_does_decides_its_shape_and_grey(ax):
    diagrams.draw_graph(ax, NODES, [], fontsize="large")
    weights, function, product, state = ax.patches
    assert isinstance(product, Circle) and product.center == (4, 1)
    for patch, grey in ((weights, "faint"), (function, "shade"), (product, "paper")):
        assert to_hex(patch.get_facecolor()) == GREYS[grey]
        assert to_hex(patch.get_edgecolor()) == GREYS["ink"]
    assert state.get_facecolor()[3] == state.get_edgecolor()[3] == 0  # words alone
    corners = [b.get_boxstyle().rounding_size for b in (weights, function)]
    assert corners[0] < corners[1] and isinstance(function, FancyBboxPatch)
    assert words(ax) == {text: (x, y) for x, y, text, _ in NODES.values()}
    assert {text.get_fontsize() for text in ax.texts} == {12}
    assert ax.get_aspect() == 1 and not ax.axison


def test_an_edge_runs_from_border_to_border_and_points_to_its_end(ax):
    diagrams.draw_graph(ax, NODES, [("W", "f"), ("f", "m", "-|", "C1"), ("x", "m", "|-", "up")])
    first, bent, turned = arrows(ax)
    right, left = boxes(ax)[0].x1, boxes(ax)[1].x0
    np.testing.assert_allclose(first[:2], [(right, 0), (left, 0)])
    assert type(first[2].get_arrowstyle()).__name__ == "CurveFilledB"  # a head at the end alone
    np.testing.assert_allclose(bent[:2], [(4, 0), (4, 0.8)])  # first across, then up
    np.testing.assert_allclose(turned[:2], [(0, 1), (3.8, 1)])  # first down, then across
    assert [a.get_linestyle() for *_, a in (first, bent)] == ["-", "--"]
    assert [to_hex(a.get_edgecolor()) for *_, a in (first, bent)] == [GREYS["ink"], to_hex("C1")]
    across = ax.lines[1]
    np.testing.assert_allclose(across.get_xydata()[:2], [(boxes(ax)[1].x1, 0), (4, 0)])
    assert across.get_linestyle() == "--" and across.get_color() == "C1"
    assert 0 < words(ax)["up"][0] < 0.2 and 1 < words(ax)["up"][1] < 2  # beside its edge


def test_a_point_where_lines_part_has_neither_outline_nor_arrow_head(ax):
    nodes = {"x": (0, 0, "x", "state"), "tap": (1, 0, "", "state"), "h": (1, 1, "h", "state")}
    diagrams.draw_graph(ax, nodes, [("x", "tap", "in"), ("tap", "h")])
    assert len(ax.patches) == 2
    (_, end, to_tap), (start, *_, to_h) = arrows(ax)
    assert end == start == (1, 0)
    heads = [type(arrow.get_arrowstyle()).__name__ for arrow in (to_tap, to_h)]
    assert heads == ["Curve", "CurveFilledB"]
    x, y = words(ax)["in"]
    assert 0 < x < 1 and 0 < y < 0.2  # above its edge


def test_an_edge_to_itself_is_a_loop_at_the_right(ax):
    diagrams.draw_graph(ax, {"h": (0, 0, "$h_t$", "function")}, [("h", "h", "$W_h$", "C0")])
    ((start, end, loop),) = arrows(ax)
    assert start[0] == end[0] == boxes(ax)[0].x1 and start[1] > end[1]
    assert "Arc3" in type(loop.get_connectionstyle()).__name__ and loop.get_linestyle() == "--"
    assert words(ax)["$W_h$"][0] > end[0]


# --- Networks and cells -------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", ["last", "every"])
def test_a_network_is_unrolled_step_by_step(ax, outputs):
    diagrams.draw_unrolled(ax, 4, outputs)
    at = words(ax)
    states = [at[f"$h_{t}$"] for t in (0, 1, 2, "T")]
    assert sorted(states) == states and states[2] < at["…"] < states[3]
    for t in (1, 2, "T"):
        assert at[f"$x_{t}$"][0] == at[f"$h_{t}$"][0] and at[f"$x_{t}$"][1] < at[f"$h_{t}$"][1]
    outs = {name for name in at if name.startswith("$p")}
    assert outs == ({"$p$"} if outputs == "last" else {"$p_t$", "$p_1$", "$p_2$", "$p_T$"})
    out = at["$p$" if outputs == "last" else "$p_T$"]
    assert out[0] == states[-1][0] and out[1] > states[-1][1]
    ends = {(round(x, 1), round(y, 1)) for _, (x, y), _ in arrows(ax)}
    assert all(round(y, 1) >= 0.9 for _, y in ends)  # nothing points back to an input
    labels = [text.get_text() for text in ax.texts]
    assert labels.count("$p$") == (2 if outputs == "last" else 0)  # of the loop and of step T
    assert labels.count("$W_h$") == 5 and labels.count("$W_x$") == 4  # one loop, then each step


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_cell_is_drawn_with_all_its_blocks(name):
    nodes, edges = (diagrams._CELLS[name][key] for key in ("nodes", "edges"))
    kinds = [kind for *_, kind in nodes.values()]
    assert kinds.count("weights") == getattr(cells, name).blocks
    assert {n for edge in edges for n in edge[:2]} <= nodes.keys()
    reached = {end for _, end, *_ in edges}
    left = {start for start, *_ in edges}
    inputs = {"x", "h_before"} | ({"c_before"} if name == "LSTM" else set())
    outputs = {"h"} | ({"c"} if name == "LSTM" else set())
    assert nodes.keys() - reached == inputs and nodes.keys() - left == outputs


FEEDS = {  # what each operation reads, straight or over points where lines part
    "RNN": {"tanh": {"W"}, "W": {"x", "h_before"}},
    "LSTM": {
        "f": {"Wf"}, "i": {"Wi"}, "o": {"Wo"}, "c_tilde": {"Wc"}, "Wf": {"x", "h_before"},
        "forget": {"f", "c_before"}, "into": {"i", "c_tilde"}, "add": {"forget", "into"},
        "c": {"add"}, "tanh": {"add"}, "out": {"tanh", "o"}, "h": {"out"},
    },
    "GRU": {
        "z": {"Wz"}, "r": {"Wr"}, "Wz": {"x", "h_before"}, "Wr": {"x", "h_before"},
        "reset": {"r", "h_before"}, "Wh": {"reset", "x"}, "tanh": {"Wh"}, "minus": {"z"},
        "keep": {"z", "h_before"}, "new": {"minus", "tanh"}, "add": {"keep", "new"}, "h": {"add"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_cell_is_drawn_as_its_equations_say(name):
    nodes, edges = (diagrams._CELLS[name][key] for key in ("nodes", "edges"))

    def sources(end):
        for start in (edge[0] for edge in edges if edge[1] == end):
            yield from [start] if nodes[start][2] else sources(start)

    for end, expected in FEEDS[name].items():
        assert set(sources(end)) == expected, end
    for key, (_, _, text, kind) in nodes.items():
        gate = re.fullmatch(r"\$\\sigma\$  \$(.)_t\$", text)
        assert (gate[1] if gate else key) == key
        if kind == "weights" and name != "RNN":
            assert text == f"$W^{key[1]}$"
    products = {key for key, (*_, text, _) in nodes.items() if text == "$\\odot$"}
    adds = {key for key, (*_, text, _) in nodes.items() if text == "+"}
    assert products == {"RNN": set(), "LSTM": {"forget", "into", "out"},
                        "GRU": {"reset", "keep", "new"}}[name]  # fmt: skip
    assert adds == ({"add"} if name != "RNN" else set())


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_cell_is_drawn_to_one_scale_without_overlap(ax, name):
    diagrams.draw_cell(name, ax)
    assert ax.get_xlim() == (-0.5, 8) and words(ax).keys() >= {"$h_t$", "$h_{t-1}$", "$x_t$"}
    found = boxes(ax)
    for k, box in enumerate(found):
        assert box.y1 < ax.get_ylim()[1] and ax.get_ylim()[0] < box.y0
        assert not any(box.overlaps(other) for other in found[:k])


def test_a_cell_without_its_gates_keeps_the_lines_that_pass_through_them(ax):
    boxes = {"h_before", "x", "split", "Wf", "Wi", "Wc", "Wo"}
    diagrams.draw_cell(
        "LSTM", ax, without=boxes | {"i", "into", "o", "out", "tanh", "h", "f", "forget"}
    )
    assert words(ax).keys() == {"$c_{t-1}$", "$c_t$", "+", r"tanh  $\tilde c_t$"}
    at = words(ax)
    ends = [tuple(np.round(end, 1)) for _, end, _ in arrows(ax)]
    # The old content arrives at the sum from the left, the candidate from below.
    assert len(ends) == 4 and (at["+"][0] - 0.2, at["+"][1]) in ends
    assert (at["+"][0], at["+"][1] - 0.2) in ends
