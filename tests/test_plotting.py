"""Each figure shows what its caption says: which value where, under which name."""

import base64
import json
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from lxml import etree, html
from py_mini_racer import MiniRacer

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.colors import to_hex, to_rgba

from helpers import GREYS, plotting
from helpers.data import SequenceDataset, Sequences


@pytest.fixture(autouse=True)
def style():
    with plt.style.context("helpers.book"):
        yield
        plt.close("all")


def words(ax):
    """Where each text in an axes stands."""
    return {text.get_text(): text.get_position() for text in ax.texts}


def ticks(axis):
    """Where each word on an axis stands."""
    return dict(
        zip((t.get_text() for t in axis.get_ticklabels()), axis.get_ticklocs(), strict=True)
    )


def line(ax, label):
    (found,) = (line for line in ax.lines if line.get_label() == label)
    return found


def colour(artist):
    return to_hex(artist.get_color())


def dataset(train, test, classes=("a", "b")):
    """Return a data set of straight strokes with these lengths, by class."""

    def sequences(lengths):
        x = [np.linspace((0, 0), (1, n), n, dtype=np.float32) for of in lengths for n in of]
        y = np.repeat(range(len(lengths)), [len(of) for of in lengths])
        files = tuple(f"{classes[k]}/{i}.txt" for i, k in enumerate(y))
        return Sequences(x, y, files, np.array(files))

    return SequenceDataset("handwriting", classes, sequences(train), sequences(test), "made up", {})


# --- The style ----------------------------------------------------------------------------------


def test_the_style_gives_the_greys_their_names():
    assert {name: to_hex(name) for name in GREYS} == GREYS
    lightness = [to_rgba(GREYS[n])[0] for n in ("ink", "muted", "faint", "shade", "paper")]
    assert lightness == sorted(lightness) and min(np.diff(lightness)) > 0.1  # told apart
    linear = ((to_rgba("muted")[0] + 0.055) / 1.055) ** 2.4
    assert 1.05 / (linear + 0.05) > 4.5  # text on paper, as WCAG wants it
    assert plt.rcParams["grid.color"] == "shade"


# --- Axes, legends, tables ----------------------------------------------------------------------


def test_panels_have_the_width_of_the_book():
    axes = plotting.panels(2, 3, height=0.5, sharex=True)
    assert axes.shape == (2, 3) and axes[0, 0].get_shared_x_axes().joined(*axes[:, 2])
    width = plt.rcParams["figure.figsize"][0]
    assert axes[0, 0].figure.get_size_inches().tolist() == [width, width / 2]
    assert plotting.panels(1, 1).shape == (1, 1)


def test_one_legend_below_all_axes_names_everything_once():
    axes = plotting.panels(1, 2, height=0.4)
    axes[0, 0].plot([0, 1], label="one")
    axes[0, 1].plot([0, 1], label="one")
    axes[0, 1].plot([0, 1], "C3", label="two")
    plotting.legend_below(axes, columns=2)
    (legend,) = axes[0, 0].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "two"]
    assert [colour(handle) for handle in legend.get_lines()] == [to_hex("C0"), to_hex("C3")]
    axes[0, 0].figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert box.y1 <= min(ax.get_tightbbox().y0 for ax in axes.flat)
    assert len({text.get_window_extent().y0 for text in legend.get_texts()}) == 1  # two columns


def test_a_table_is_rounded_signed_and_escaped():
    frame = pd.DataFrame(
        {"n": [3, 4], "a <b>": [0.12345, -2.0], "who": ["<b>&", "x-y"], "p": [np.nan, 1.0]}
    )
    shown = html.fromstring(plotting.table(frame, "p <b> 0.05", decimals=2).to_html())
    cells = [[cell.text_content().strip() for cell in row] for row in shown.iter("tr")]
    assert cells == [
        ["n", "a <b>", "who", "p"],
        ["3", "0.12", "<b>&", "–"],
        ["4", "−2.00", "x-y", "1.00"],
    ]
    assert shown.find(".//caption").text_content() == "p <b> 0.05" and not list(shown.iter("b"))
    assert "dataframe" in next(shown.iter("table")).get("class")


def test_the_id_of_a_table_hangs_on_its_content_alone():
    first = pd.DataFrame({"a": [1, 2]})
    known = plotting.table(first, "c").to_html()
    assert known == plotting.table(first.copy(), "c").to_html()
    for frame, caption in ((first + 1, "c"), (first, "d")):
        other = plotting.table(frame, caption).to_html()
        assert re.search('<table id="(.*?)"', other)[1] not in known


# --- Strokes ------------------------------------------------------------------------------------


def test_a_stroke_begins_at_its_dot():
    ax = plotting.panels(1, 1)[0, 0]
    x = np.array([[0.1, 0.9], [0.5, 0.2], [0.6, 0.3]])
    plotting.plot_stroke(x, ax)
    path, dot = ax.lines
    np.testing.assert_array_equal(path.get_xydata(), x)
    np.testing.assert_array_equal(dot.get_xydata(), x[:1])
    assert dot.get_marker() == "o" and colour(dot) != colour(path)
    assert ax.get_aspect() == 1 and not any(spine.get_visible() for spine in ax.spines.values())
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0


def test_a_grid_of_strokes_has_a_row_for_each_class():
    plotting.plot_stroke_grid(
        dataset([[2, 3, 4], [5, 6, 7]], [[9], [9]]), 2, scale=lambda x: 10 * x
    )
    axes = np.reshape(plt.gcf().axes, (2, 2))
    assert [row[0].get_ylabel() for row in axes] == ["a", "b"]
    drawn = [[len(ax.lines[0].get_xdata()) for ax in row] for row in axes]
    assert drawn == [[2, 3], [5, 6]]  # the first of train
    assert axes[1, 0].lines[0].get_xdata().max() == 10  # scaled


def test_a_stroke_as_svg_shows_how_far_the_pen_is():
    x = np.array([[0, 0], [0.5, 1], [1, 0.5]])
    drawn = etree.fromstring(plotting.stroke_svg(x, 2))
    assert drawn.get("viewBox") == "0 0 300 300"
    whole, done, pen = drawn
    assert whole.get("points") == "20,280 150,20 280,150"  # upwards is up
    assert done.get("points") == "20,280 150,20" and (pen.get("cx"), pen.get("cy")) == ("150", "20")
    assert whole.get("stroke") == GREYS["faint"] and done.get("stroke") == to_hex("C0")
    assert int(done.get("stroke-width")) > int(whole.get("stroke-width"))
    _, done, pen = etree.fromstring(plotting.stroke_svg(x))
    assert done.get("points") == whole.get("points") and pen.get("cx") == "280"


# --- Speech -------------------------------------------------------------------------------------


def test_time_of_a_segment_runs_to_the_right_and_its_features_upwards():
    ax = plotting.panels(1, 1)[0, 0]
    x = np.arange(7 * 39).reshape(7, 39) / 100
    image = plotting.plot_mfcc(x, ax, "pa")
    np.testing.assert_array_equal(image.get_array(), x.T)
    assert list(image.get_extent()) == [0, 7, 0, 39] and image.origin == "lower"
    assert image.get_clim() == (-3, 3) and ax.get_title() == "pa"
    assert ticks(ax.yaxis) == {"static": 6.5, "Δ": 19.5, "ΔΔ": 32.5}
    assert [edge.get_ydata()[0] for edge in ax.lines] == [13, 26]


def test_segments_side_by_side_share_one_scale():
    x = [np.full((n, 39), n / 10) for n in (4, 5, 6)]
    plotting.plot_mfcc_maps(x, ["hI", "ne", "pa"])
    *maps, bar = plt.gcf().axes
    assert [ax.get_title() for ax in maps] == ["hI", "ne", "pa"]
    assert [ax.images[0].get_array().shape for ax in maps] == [(39, 4), (39, 5), (39, 6)]
    assert {ax.images[0].get_clim() for ax in maps} == {(-3, 3)} and bar.get_ylim() == (-3, 3)
    assert maps[0].get_ylabel() == "feature" and maps[1].get_xlabel() == "frame"
    assert bar.get_ylabel() == "standard deviations from the mean"


# --- Either data set ----------------------------------------------------------------------------


def test_lengths_are_drawn_from_quartile_to_quartile():
    plotting.plot_lengths(dataset([range(1, 10), [20] * 4], [[30, 40, 50], [7, 8, 9]]))
    train, test = plt.gcf().axes
    assert train.get_title() == "train: 13 sequences" and test.get_title() == "test: 6 sequences"
    for ax, quartiles, medians in ((train, (3, 7), (5, 20)), (test, (35, 45), (40, 8))):
        box = ax.patches[0].get_path().get_extents()
        assert (box.x0, box.x1) == quartiles
        bars = {
            tuple(map(tuple, bar.get_xydata().round(2)))
            for bar in ax.lines
            if len(bar.get_xydata()) == 2
        }
        for row, median in enumerate(medians):  # across the box of its row
            assert ((median, row - 0.4), (median, row + 0.4)) in bars
    assert ticks(train.yaxis) == {"a": 0, "b": 1} and train.get_ylim()[0] > 1  # the first on top
    assert train.get_xlabel() == "steps" and train.get_ylabel() == ""


def test_learning_curves_are_medians_between_quartiles():
    rows = [
        {"architecture": a, "seed": seed, "epoch": epoch, "loss": a * 10 + seed**2 - epoch}
        for a in (2, 5)
        for seed in range(5)
        for epoch in range(1, 5 if seed < 2 else 4)  # two of five train for a fourth epoch
    ]
    ax = plotting.plot_learning_curves(pd.DataFrame(rows), ax=plotting.panels(1, 1)[0, 0])
    assert [drawn.get_label() for drawn in ax.lines] == ["architecture 2", "architecture 5"]
    for k, (drawn, band) in enumerate(zip(ax.lines, ax.collections, strict=True)):
        base = (20, 50)[k]
        assert drawn.get_xdata().tolist() == [1, 2, 3]
        assert drawn.get_ydata().tolist() == [base + 4 - epoch for epoch in (1, 2, 3)]
        box = band.get_datalim(ax.transData)
        assert (box.x0, box.x1, box.y0, box.y1) == (1, 3, base + 1 - 3, base + 9 - 1)
        assert colour(drawn) == to_hex(f"C{k}") == to_hex(band.get_facecolor()[0])
    assert ax.lines[0].get_linestyle() != ax.lines[1].get_linestyle()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "training error")


def test_learning_curves_of_another_metric():
    frame = pd.DataFrame({"architecture": 1, "seed": 0, "epoch": [1, 2], "right": [0.4, 0.8]})
    ax = plotting.plot_learning_curves(frame, "right", label="accuracy")
    assert ax.lines[0].get_ydata().tolist() == [0.4, 0.8] and ax.get_ylabel() == "accuracy"


def test_a_confusion_matrix_has_true_classes_downwards_and_predictions_to_the_right():
    matrix = np.array([[8, 2, 0], [1, 5, 4], [30, 30, 40]])
    classes = ("a", "ai", "bA")
    plotting.plot_confusion([matrix, matrix.T], classes, ["RNN", "LSTM"])
    ax, other = plt.gcf().axes
    assert (ax.get_title(), other.get_title()) == ("RNN", "LSTM")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")
    assert ticks(ax.xaxis) == ticks(ax.yaxis) == {"a": 0.5, "ai": 1.5, "bA": 2.5}
    assert ax.yaxis_inverted() and not ax.xaxis_inverted()
    at = words(ax)
    assert at["2"] == (1.5, 0.5) and at["1"] == (0.5, 1.5) and at["4"] == (2.5, 1.5)
    assert words(other)["2"] == (0.5, 1.5)
    shares = ax.collections[0].get_array()
    np.testing.assert_allclose(shares, matrix / [[10], [10], [100]])  # of each true class
    assert ax.collections[0].get_clim() == (0, 1)


def test_confusion_matrices_fill_rows_and_leave_the_rest_empty():
    plotting.plot_confusion([np.eye(2)] * 3, ("a", "b"), ["1", "2", "3"], columns=3)
    assert plt.gcf().axes[0].get_gridspec().get_geometry() == (1, 3)
    plotting.plot_confusion([np.eye(2)] * 4, ("a", "b"), ["1", "2", "3", "4"])
    assert plt.gcf().axes[0].get_gridspec().get_geometry() == (2, 2)
    plotting.plot_confusion([np.eye(2)] * 3, ("a", "b"), ["1", "2", "3"])
    assert [ax.get_visible() for ax in plt.gcf().axes] == [True, True, True, False]
    with pytest.raises(ValueError, match="zip"):
        plotting.plot_confusion([np.eye(2)] * 2, ("a", "b"), ["1"])


def test_scores_stand_beside_what_the_report_says():
    runs = pd.DataFrame(
        [
            {
                "layer": layer,
                "architecture": a,
                "seed": seed,
                "test_accuracy": base + a / 100 + seed,
            }
            for layer, base in (("SimpleRNN", 0.5), ("LSTM", 0.7))
            for a in range(1, 6)
            for seed in (3, 7, 11)
        ]
    )
    reported = {"LSTM": {"test_accuracy": [0.81, 0.82, 0.83, 0.84, 0.85]}}
    plotting.plot_scores(runs, reported, {"chance": 0.2, "logistic": 0.6})
    rnn, lstm = plt.gcf().axes
    assert (rnn.get_title(), lstm.get_title()) == ("SimpleRNN", "LSTM")
    for ax, base in ((rnn, 0.5), (lstm, 0.7)):
        points = sorted(map(tuple, line(ax, "this book, one run").get_xydata()))
        aside = {3: -0.2, 7: 0, 11: 0.2}
        expected = [(a + aside[s], base + a / 100 + s) for a in range(1, 6) for s in aside]
        np.testing.assert_allclose(points, sorted(expected))
        assert line(ax, "chance").get_ydata() == [0.2, 0.2]
        assert line(ax, "logistic").get_ydata() == [0.6, 0.6]
        assert line(ax, "chance").get_linestyle() != line(ax, "logistic").get_linestyle()
        assert ax.get_xlabel() == "architecture" and ax.get_xticks().tolist() == [1, 2, 3, 4, 5]
    said = line(lstm, "report")
    assert list(said.get_xdata()) == [1, 2, 3, 4, 5] and said.get_marker() == "D"
    assert list(said.get_ydata()) == reported["LSTM"]["test_accuracy"]
    assert not [drawn for drawn in rnn.lines if drawn.get_label() == "report"]
    assert rnn.get_ylabel() == "test accuracy" and lstm.get_shared_y_axes().joined(rnn, lstm)
    (legend,) = plt.gcf().legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {"this book, one run", "report", "chance", "logistic"}


# --- Sliders ------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def test_a_chart_is_drawn_to_scale():
    chart = etree.fromstring(plotting.svg_chart([([0, 1], [0, 10])], (0, 1), (0, 10)))
    assert chart.get("viewBox") == "0 0 320 220"
    assert chart.find(f"{SVG}polyline").get("points") == "46,184 308,10"
    log = plotting.svg_chart([([0, 1], [1e-3, 1e3])], (0, 1), (1e-3, 1e3), log=True)
    assert "points='46,184 308,10'" in log and "1e−3" in log
    small = plotting.svg_chart([([0, 1], [-9, 10])], (0, 1), (0, 10), size=(100, 110))
    assert "viewBox='0 0 100 110'" in small and "points='46,74 88,10'" in small  # cut at the edge


def test_a_chart_names_its_axes_curves_and_ticks():
    curves = [([3, 5], [0, 2], "rises"), ([3, 5], [2, 0], "falls"), ([3, 5], [1, 1])]
    drawn = etree.fromstring(
        plotting.svg_chart(curves, (3, 5), (-2, 2), "step", "loss", "two", marks=[(4, 0)])
    )
    texts = {text.text: text for text in drawn.iter(f"{SVG}text")}
    at = {name: [int(text.get(k)) for k in "xy"] for name, text in texts.items()}
    assert at["step"][1] > at["3"][1] > 184 and at["two"][1] < 22  # below, and above the frame
    assert "rotate(-90" in texts["loss"].get("transform")
    assert at["3"][0] == 46 and at["4"][0] == 177 and at["5"][0] == 308
    assert at["−2"][1] == 184 + 4 and at["2"][1] == 22 + 4  # beside their lines
    lines = list(drawn.iter(f"{SVG}polyline"))
    assert [line.get("stroke") for line in lines] == [to_hex(f"C{k}") for k in range(3)]
    assert len({line.get("stroke-dasharray") for line in lines}) == 3
    for k, (name, end) in enumerate({"rises": 22, "falls": 103}.items()):
        assert texts[name].get("fill") == lines[k].get("stroke")
        assert lines[k].get("points").endswith(f" 308,{end}")
        assert at[name][1] == (end - 5 if name == "rises" else end + 14)  # not on the curve
    (mark,) = drawn.iter(f"{SVG}circle")
    assert (mark.get("cx"), mark.get("cy")) == ("177", "103")


def test_charts_escape_what_they_say():
    said = "a < b & <c> ]]> 'd' \"e\""
    chart = plotting.svg_chart([([0, 1], [0, 1], said)], (0, 1), (0, 1), said, said, said)
    row = plotting.svg_row(chart, chart)
    for picture, times in ((chart, 4), (row, 8)):
        texts = [text.text for text in etree.fromstring(picture).iter(f"{SVG}text")]
        assert texts.count(said) == times


def test_charts_side_by_side_keep_their_proportions():
    chart = plotting.svg_chart([([0, 1], [0, 1], "<svg ")], (0, 1), (0, 1))
    small = plotting.svg_chart([([0, 1], [0, 1])], (0, 1), (0, 1), size=(100, 110))
    row = etree.fromstring(plotting.svg_row(small, chart))
    assert row.get("viewBox") == "0 0 520 220"
    place = [[inner.get(name) for name in ("x", "width", "height", "viewBox")] for inner in row]
    assert place == [["0", "200", "220", "0 0 100 110"], ["200", "320", "220", "0 0 320 220"]]


def still(shown):
    """Return the picture that a slider shows without a script, and until it has run."""
    return base64.b64decode(shown.find(".//img").get("src").partition("base64,")[2]).decode()


def test_a_slider_stands_at_its_last_picture_and_says_so():
    shown = html.fromstring(
        plotting.slider(["<svg>0</svg>", "<svg>1</svg>"], ["none < one", "one"], "How many?").data
    )
    assert shown.get("id") == "slider-how-many-"
    (picture,) = shown.xpath("//*[@role='img']")
    assert picture.get("aria-label") == "one" == shown.find(".//output").text
    assert picture.find("img").get("alt") == "one"
    assert still(shown) == "<svg>1</svg>"
    (field,) = shown.iter("input")
    assert [field.get(k) for k in ("min", "max", "value", "aria-valuetext")] == [
        "0",
        "1",
        "1",
        "one",
    ]
    assert field.getparent().text.strip() == "How many?"
    said = ["a <b> b", "</script><script>"]
    first = html.fromstring(plotting.slider(["<svg/>"] * 2, said, "<i>", 0).data)
    assert first.find(".//output").text == "a <b> b" and first.find(".//label").text == "<i> "
    assert first.xpath("//*[@role='img']")[0].get("aria-label") == "a <b> b"
    (script,) = first.iter("script")
    assert script.text.endswith("],0);")  # not ended by what it says


FRAMES = [f"<svg>{k}</svg>" for k in range(6)]
LABELS = [f"frame {k}" for k in range(6)]
NAMES = {"a": ["0", "1"], "b": ["x", "y", "z"]}


def test_several_sliders_want_a_frame_for_each_combination():
    shown = html.fromstring(plotting.slider(FRAMES, LABELS, NAMES, start=(1, 0)).data)
    assert still(shown) == "<svg>3</svg>" and shown.find(".//output").text == "frame 3"
    fields = list(shown.iter("input"))
    assert [(f.get("max"), f.get("value"), f.get("aria-valuetext")) for f in fields] == [
        ("1", "1", "1"),
        ("2", "0", "x"),
    ]
    with pytest.raises(ValueError, match=r"found 5 frames and 5 labels for sliders of \[2, 3\]"):
        plotting.slider(FRAMES[:5], LABELS[:5], NAMES)


class Page:
    """A slider in a page whose clock ticks when it is told to."""

    def __init__(self, shown, still=False):
        self.engine = MiniRacer()
        self.engine.eval(
            """
            class Event { constructor(kind) { this.type = kind; } }
            function element(value, max) {
                const found = {value: value, max: max, heard: {}, said: {}};
                found.addEventListener = (what, how) => { found.heard[what] = how; };
                found.dispatchEvent = event => found.heard[event.type]();
                found.setAttribute = (name, text) => { found.said[name] = text; };
                found.parentNode = {
                    before: other => buttons.push(other), firstChild: {data: "name "},
                };
                return found;
            }
            let tick = null, still = false;
            const setInterval = how => { tick = how; return 1; };
            const clearInterval = () => { tick = null; };
            const matchMedia = () => ({matches: still});
            const parts = {
                input: [element("1", "1"), element("0", "2")],
                b: [element(), element()], output: [element()], "[role=img]": [element()],
            };
            const fields = parts.input, buttons = [];
            const document = {createElement: () => element(), getElementById: id => ({
                querySelectorAll: kind => parts[kind], querySelector: kind => parts[kind][0],
            })};
            """
        )
        self.engine.eval(f"still = {json.dumps(still)}")
        self.engine.eval(shown.find(".//script").text)

    def run(self, script):
        return self.engine.eval(script)

    def state(self):
        """Return picture, words, label, and of each slider its number and what is read out."""
        picture = "parts['[role=img]'][0]"
        own = "fields.map((f, k) => [parts.b[k].textContent, f.said['aria-valuetext']])"
        shown = f"{picture}.innerHTML, parts.output[0].textContent, {picture}.said['aria-label']"
        return json.loads(self.engine.eval(f"JSON.stringify([{shown}, {own}])"))


@pytest.fixture
def sliders():
    return html.fromstring(plotting.slider(FRAMES, LABELS, NAMES, start=(1, 0)).data)


def test_moving_a_slider_changes_picture_words_and_number(sliders):
    page = Page(sliders)
    page.run('fields[1].value = "2"; fields[1].heard.input();')
    picture, words, label, (_, second) = page.state()
    assert (picture, words, label) == ("<svg>5</svg>", "frame 5", "frame 5")
    assert second == ["z", "z"]


def test_the_button_plays_a_slider_to_its_end(sliders):
    page = Page(sliders)
    page.run("buttons[1].heard.click()")
    seen = [page.state()[0]]
    assert page.run("buttons[1].said['aria-pressed']") is True
    while page.run("tick !== null"):
        page.run("tick()")
        seen.append(page.state()[0])
    assert seen == ["<svg>4</svg>", "<svg>5</svg>"]
    assert page.run("buttons[1].said['aria-pressed']") is False
    page.run("buttons[1].heard.click()")  # at its end it begins again
    assert page.state()[0] == "<svg>3</svg>" and page.run("tick !== null")
    page.run("buttons[1].heard.click()")
    assert page.run("tick === null") and page.state()[0] == "<svg>3</svg>"


@pytest.mark.parametrize("hand", ["pointerdown", "keydown"])
def test_a_reader_who_moves_the_slider_stops_it(sliders, hand):
    page = Page(sliders)
    page.run(f"buttons[1].heard.click(); fields[1].heard.{hand}()")
    assert page.run("tick === null")


def test_nothing_plays_for_readers_who_asked_for_less_motion(sliders):
    assert (
        Page(sliders).run("buttons.map(b => b.said['aria-label']).join()")
        == "Play: name,Play: name"
    )
    assert Page(sliders, still=True).run("buttons.length") == 0


def test_a_slider_shows_its_number_and_says_what_to_look_for(sliders):
    assert [own.text for own in sliders.iter("b")] == ["1", "x"]
    shown = html.fromstring(plotting.slider(FRAMES, LABELS, "n", caption="Where <it> ends.").data)
    assert shown.find(".//figcaption").text == "Where <it> ends."
    assert not list(shown.iter("b"))  # the label below says it


def test_a_class_of_any_name_is_heard():
    said = {"wav": "", "features": np.zeros((2, 39)), "probabilities": [[0.2, 0.8], [0.9, 0.1]]}
    shown = plotting.listen([said | {"label": "k'a<b>"}], ["k'a<b>", 'n"i&'])
    figure = html.fromstring(shown.data).find(".//figure")
    assert json.loads(figure.get("data-said")) == [['n"i&', "k'a<b>"], [0.8, 0.9]]
    assert figure.find("figcaption").text == "k'a<b>, 2 frames; at the end: k'a<b> 0.90"
    assert figure.find("audio").get("aria-label") == "k'a<b>"


def test_words_of_a_slider_stay_legible_on_a_phone():
    chart = plotting.svg_chart([([0, 1], [0, 1])], (0, 1), (0, 1))
    for picture, width in ((chart, 262), (plotting.svg_row(chart, chart), 524)):
        shown = html.fromstring(plotting.slider([picture] * 2, ["a", "b"], "n").data)
        (drawn,) = shown.xpath("//*[@role='img']")
        assert f"min-width:{width}px" in drawn.get("style")
        assert "overflow-x:auto" in drawn.getparent().get("style")
