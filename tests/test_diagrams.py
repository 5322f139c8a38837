"""The drawn networks say what the cells compute."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from helpers import cells, diagrams, plotting


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_cell_is_drawn_with_all_its_blocks(name):
    nodes, edges = diagrams._CELLS[name]
    kinds = [kind for *_, kind in nodes.values()]
    assert kinds.count("weights") == getattr(cells, name).blocks
    assert {n for edge in edges for n in edge[:2]} <= nodes.keys()
    reached = {end for _, end, *_ in edges}
    left = {start for start, *_ in edges}
    inputs = {"x", "h_before"} | ({"c_before"} if name == "LSTM" else set())
    outputs = {"h"} | ({"c"} if name == "LSTM" else set())
    assert nodes.keys() - reached == inputs and nodes.keys() - left == outputs


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_no_two_boxes_overlap(name):
    ax = plotting.panels(1, 1)[0, 0]
    diagrams.draw_cell(name, ax)
    boxes = [patch.get_path().get_extents(patch.get_patch_transform()) for patch in ax.patches]
    for k, box in enumerate(boxes):
        for other in boxes[:k]:
            assert not box.overlaps(other)


def test_a_chart_is_drawn_to_scale():
    chart = plotting.svg_chart([([0, 1], [0, 10])], (0, 1), (0, 10), size=(320, 220))
    assert "points='46,184 308,10'" in chart
    log = plotting.svg_chart([([0, 1], [1e-3, 1e3])], (0, 1), (1e-3, 1e3), log=True)
    assert "points='46,184 308,10'" in log and "1e−3" in log


def test_charts_side_by_side_keep_their_proportions():
    chart = plotting.svg_chart([([0, 1], [0, 1])], (0, 1), (0, 1))
    small = plotting.svg_chart([([0, 1], [0, 1])], (0, 1), (0, 1), size=(100, 110))
    assert "viewBox='0 0 520 220'" in plotting.svg_row(chart, small)


def test_several_sliders_want_a_frame_for_each_combination():
    frames = [f"<svg>{k}</svg>" for k in range(6)]
    labels = [f"frame {k}" for k in range(6)]
    names = {"a": ["0", "1"], "b": ["0", "1", "2"]}
    shown = plotting.slider(frames, labels, names, start=(1, 0)).data
    assert "<svg>3</svg></div>" in shown and shown.count("<input") == 2
    with pytest.raises(ValueError, match=r"found 5 frames and 5 labels for sliders of \[2, 3\]"):
        plotting.slider(frames[:5], labels[:5], names)


def test_a_loop_and_a_label_are_drawn():
    ax = plotting.panels(1, 1)[0, 0]
    diagrams.draw_unrolled(ax, 4, "every")
    texts = {t.get_text() for t in ax.texts}
    assert {"$h_T$", "$p_T$", "$W_h$", "$p_t$"} <= texts
    assert np.isfinite(ax.get_xlim()).all()
