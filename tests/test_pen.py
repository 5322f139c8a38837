"""Networks that read while one writes: the reading, the recorded runs, the panel; and listening."""

import base64
import json

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import PAGES, ROOT, SITE, some
from sklearn.model_selection import train_test_split

from experiments import listen, pen, writing
from helpers.cells import LSTM, Network, to_keras
from helpers.data import DATA, load_cv_segments, load_handwriting
from helpers.models import CELLS
from helpers.padding import read_along, resample_by_arc_length
from helpers.runs import PEN_FILES, RESULTS, WRITING_FILES, load_pen, load_tables

COVER = SITE / "book" / "intro.html"
SAMPLE = load_handwriting(DATA / "sample")
PANEL = load_pen()
GOES_ON = RESULTS / "writer.json"
WRITER = json.loads(GOES_ON.read_text(encoding="utf-8")) if GOES_ON.exists() else {}
writes = pytest.mark.skipif(not WRITER, reason="no network that writes is recorded")


# --- The reading ------------------------------------------------------------------------------


def test_a_reading_along_the_path_by_hand():
    corner = np.array([[1.0, 1.0], [1.0, 2.0], [3.0, 2.0]])
    read = read_along(corner, size=2.0, spacing=0.75)  # a point each 1.5, on a path of 3
    assert read.tolist() == pytest.approx(
        np.array([[0, 0, 0, 0], [0.25, 0.5, 1 / 3, 2 / 3], [1, 0.5, 1, 0]])
    )


@pytest.mark.parametrize("share", [0.1, 0.3, 0.7])
def test_what_comes_later_changes_nothing(share):
    for x in SAMPLE.test.x[::10]:
        begin = read_along(pen.cut(x, share), PANEL["size"])
        assert np.array_equal(begin, read_along(x, PANEL["size"])[: len(begin)])


def test_how_often_the_pen_is_reported_changes_nothing():
    for x in SAMPLE.test.x[::10]:
        often = read_along(pen.sample_often(x), PANEL["size"])
        once = read_along(x, PANEL["size"])
        assert abs(len(often) - len(once)) <= 1
        shared = min(len(often), len(once))
        assert np.allclose(often[:shared], once[:shared], atol=1e-5)


def test_a_reading_does_not_depend_on_where_the_pen_came_down():
    x = SAMPLE.test.x[0].astype(float)
    assert np.allclose(read_along(x, 0.3), read_along(x + np.array([3, -2]), 0.3), atol=1e-5)


def test_copies_are_cut_or_whole_and_otherwise_the_same():
    (cut, y), (whole, _) = (
        pen.distorted_copies(SAMPLE.train, np.random.default_rng(0), whole) for whole in (0, 1)
    )
    assert len(cut) == pen.COPIES * len(SAMPLE.train) and len(y) == len(cut)
    for short, long in zip(cut, whole, strict=True):
        assert np.array_equal(short, long[: len(short)])
    shares = [len(short) / len(long) for short, long in zip(cut, whole, strict=True)]
    assert min(shares) < 0.35 and max(shares) > 0.95


# --- The recorded runs ------------------------------------------------------------------------


def test_every_planned_run_is_recorded():
    runs = load_tables(PEN_FILES)["runs"]
    assert set(runs["run"]) == {settings.name for settings in pen.planned_runs()}
    assert set(runs["origin"]) == {"course"} and len(set(runs["data"])) == 1


def test_the_panel_holds_what_validation_chose():
    chosen = pen.choose(load_tables(PEN_FILES)["runs"])
    for cell in CELLS:
        assert PANEL["networks"][cell]["settings"] == vars(chosen[cell])
        assert PANEL["spacing"] == chosen[cell].spacing


def test_one_spacing_is_chosen_for_all_and_a_seed_for_each():
    def run(cell, spacing, rate, seed, score):
        settings = pen.PenSettings(cell, "along", "cut", spacing, rate, seed)
        return vars(settings) | dict.fromkeys(pen.SHARES, score)

    rows = [
        run(cell, spacing, rate, seed, score + (cell == "GRU") * (spacing == 0.1) / 10 + seed / 100)
        for cell in CELLS
        for spacing, rate, score in ((0.05, 1e-2, 0.8), (0.05, 3e-3, 0.85), (0.1, 1e-2, 0.8))
        for seed in (0, 1)
    ]
    # Better than all others, but not among what is chosen from.
    rows.append(run("LSTM", 0.03, 1e-2, 0, 1.0) | {"reading": "points"})
    chosen = pen.choose(pd.DataFrame(rows))
    assert {s.spacing for s in chosen.values()} == {0.05}  # 2 × .85 + .85 against 2 × .8 + .9
    assert {(s.learning_rate, s.seed) for s in chosen.values()} == {(3e-3, 1)}


def test_runs_on_other_data_are_not_mixed(tmp_path):
    pd.DataFrame({"run": ["a"], "data": ["other"]}).to_csv(tmp_path / "pen.csv", index=False)
    with pytest.raises(ValueError, match="found runs on data other; expected " + SAMPLE.digest):
        pen.make_runs(SAMPLE, tmp_path)


def test_a_run_learns_what_it_is_tested_on():
    """The whole way on few strokes: train, judge, pack, and the same network comes back."""
    keep, _ = train_test_split(
        np.arange(len(SAMPLE.train)), train_size=60, stratify=SAMPLE.train.y, random_state=0
    )
    few = type(SAMPLE)(**vars(SAMPLE) | {"train": SAMPLE.train.subset(keep)})
    settings = pen.PenSettings("GRU", "along", "cut", 0.1, 1e-2, 0)
    stored = pen.networks(few, SAMPLE, {"GRU": settings})["GRU"]
    assert set(stored["test"]) == set(pen.TRIALS)
    assert stored["test"]["share_100"] > 0.6
    assert stored["first"] != stored["trained"]
    json.dumps(stored)


def test_strokes_to_trace_and_to_replay_are_the_samples():
    guides, strokes = pen.drawn_strokes(SAMPLE, PANEL["size"])
    assert guides == PANEL["guides"]
    assert strokes == PANEL["strokes"]


def test_the_panel_is_small():
    parts = ["pen.js", "write_here.js", "write_here.css"]
    size = sum((SITE / "_static" / part).stat().st_size for part in parts)
    html = (ROOT / "book" / "_ext" / "write_here.html").stat().st_size
    assert size + html < 150_000
    assert not WRITER or (SITE / "_static" / "writer.js").stat().st_size < 150_000  # if asked for


# --- The script against Keras -----------------------------------------------------------------


def keras_probabilities(network, x):
    """What Keras' own layer says after each step of a stroke, in float32."""
    (cell,), name = network.cells, type(network.cells[0]).__name__
    layer = getattr(keras.layers, "SimpleRNN" if name == "RNN" else name)
    model = keras.Sequential(
        [
            keras.Input((None, 4)),
            layer(cell.units, return_sequences=True),
            keras.layers.Dense(len(network.b_y), activation="softmax"),
        ]
    )
    to_keras(cell, model.layers[0])
    model.layers[1].set_weights([network.W_y, network.b_y])
    padded = keras.utils.pad_sequences(x, dtype="float32", padding="post")
    return [p[: len(s)] for p, s in zip(model.predict(padded, verbose=0), x, strict=True)]


@pytest.mark.parametrize("when", ["trained", "first"])
def test_the_script_says_what_keras_says(visit, when):
    tab = visit(COVER)
    strokes = [x.astype(float).tolist() for x in SAMPLE.test.x]
    said = tab.evaluate(
        """([strokes, when, size]) => strokes.map(stroke =>
          writeHere.readStroke(stroke, when, size).networks.map(network =>
            network.history.map(step => [...step.p])))""",
        [strokes, when, PANEL["size"]],
    )
    read = [read_along(x, PANEL["size"], PANEL["spacing"]) for x in SAMPLE.test.x]
    for k, cell in enumerate(CELLS):
        expected = keras_probabilities(PANEL["networks"][cell][when], read)
        for mine, theirs in zip(said, expected, strict=True):
            assert np.abs(np.array(mine[k]) - theirs).max() < 1e-5


def stored_writer():
    """Return the network that goes on with a stroke, from what the script reads."""
    flat = np.frombuffer(base64.b64decode(WRITER["weights"]), "<f2").astype(np.float32)
    parts = np.split(flat, np.cumsum([np.prod(shape) for shape in WRITER["shapes"]])[:-1])
    *cell, W_y, b_y = (p.reshape(s) for p, s in zip(parts, WRITER["shapes"], strict=True))
    return Network([LSTM(*cell)], W_y, b_y)


GO_ON = """async ([strokes, labels, pen]) => {
  await writeHere.fetchWriter();
  return strokes.map((stroke, k) => writeHere.goOn(stroke, labels[k], pen));
}"""


@writes
def test_the_script_goes_on_as_the_book_does(visit):
    tab, network, rng = visit(COVER), stored_writer(), np.random.default_rng(0)
    halves = [pen.cut(x, 0.5) / PANEL["size"] for x in SAMPLE.test.x[::5]]
    labels = [int(y) for y in SAMPLE.test.y[::5]]
    unit = WRITER["pixel"] / PANEL["size"]
    likeliest = WRITER["pen"] | {"temperature": 0}
    said = tab.evaluate(GO_ON, [[x.astype(float).tolist() for x in halves], labels, likeliest])
    begun = [np.float32(s["begun"]).reshape(-1, 2) for s in said]
    written = writing.write(network, labels, 5, rng, begun, temperature=0)
    for half, mine, first, theirs in zip(halves, said, begun, written, strict=True):
        gone = np.array(mine["points"]) / unit
        assert len(theirs) == len(first) + len(gone)
        assert np.allclose(np.diff(gone, axis=0), theirs[len(first) + 1 :], atol=1e-6)
        # What it reads lies along the stroke that was begun.
        line = resample_by_arc_length((half - half[0]) / unit, 2000)
        gaps = np.linalg.norm(writing.path(first)[:, None] - line, axis=-1)
        assert gaps.min(axis=1).max() < 0.9


@writes
@pytest.mark.slow
def test_the_script_draws_what_the_book_draws(visit):
    tab, network, rng = visit(COVER), stored_writer(), np.random.default_rng(0)
    unit, label, times = WRITER["pixel"] / PANEL["size"], 2, 3000
    said = tab.evaluate(GO_ON, [[[[0, 0]]] * times, [label] * times, WRITER["pen"]])
    written = writing.write(network, [label] * times, 5, rng, **WRITER["pen"])
    firsts = [np.array([s["points"][0] for s in said]) / unit, np.array([s[0] for s in written])]
    lengths = [np.array([len(s["points"]) for s in said]), np.array([len(s) for s in written])]
    for mine, theirs in (*zip(*(f.T for f in firsts), strict=True), lengths):
        error = np.sqrt((mine.var() + theirs.var()) / times)
        assert abs(mine.mean() - theirs.mean()) < 4.5 * error


@writes
def test_the_network_that_goes_on_is_worth_a_button():
    assert WRITER["written"] > 0.8 and WRITER["primed"] > 0.8
    assert WRITER["data"] == load_tables(WRITING_FILES)["runs"]["data"].iloc[0]


# --- The panel --------------------------------------------------------------------------------


def leaders(tab):
    """Return the class that each network is for, at the step shown."""
    return tab.evaluate(
        """() => [1, 2, 3].map(j => [...document.querySelectorAll(".pen-table tbody tr")]
          .find(row => row.cells[j].className === "pen-most").cells[0].textContent.trim())"""
    )


def draw(tab, points):
    """Draw on the paper with the mouse; points in shares of its width and height."""
    box = tab.locator(".pen-paper").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    tab.mouse.move(*at[0])
    tab.mouse.down()
    for point in at[1:]:
        tab.mouse.move(*point, steps=4)
    tab.mouse.up()


def on_paper(flat):
    """Turn a stored stroke into shares of the paper."""
    points = np.reshape(flat, (-1, 2)) / 1000
    return [((170 + 200 * x) / 340, (118 - 200 * y) / 236) for x, y in points]


def test_it_stands_on_the_cover_and_in_one_chapter():
    having = [page for page in PAGES if 'class="pen"' in page.read_text(encoding="utf-8")]
    assert COVER in having and len(having) == 2
    for page in PAGES:
        assert ("write_here.js" in page.read_text(encoding="utf-8")) == (page in having)


@pytest.mark.parametrize("label", some(SAMPLE.classes, SAMPLE.classes[::3]))
def test_a_traced_character_is_read_as_what_it_is(visit, label):
    tab = visit(COVER)
    tab.locator(".pen-paper").scroll_into_view_if_needed()
    draw(tab, on_paper(PANEL["guides"][label]))
    assert leaders(tab)[1:] == [label, label]  # LSTM and GRU
    assert not tab.complaints


def test_it_is_read_while_it_is_drawn(visit):
    tab = visit(COVER)
    tab.locator(".pen-paper").scroll_into_view_if_needed()
    box = tab.locator(".pen-paper").bounding_box()
    tab.mouse.move(box["x"] + 60, box["y"] + 100)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 160, box["y"] + 100, steps=10)
    steps = tab.evaluate("+document.querySelector('.pen-slider').max")
    ink = "document.querySelector('.pen-ink').points.length"
    assert steps > 3 and tab.evaluate(ink) >= 10
    tab.mouse.move(box["x"] + 160, box["y"] + 180, steps=10)
    assert tab.evaluate("+document.querySelector('.pen-slider').max") > steps
    tab.mouse.up()
    # Without a button pressed nothing is drawn.
    drawn = tab.evaluate(ink)
    tab.mouse.move(box["x"] + 60, box["y"] + 180, steps=5)
    assert tab.evaluate(ink) == drawn


def test_a_finger_draws_and_does_not_scroll(browser):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    tab = context.new_page()
    tab.goto(COVER.as_uri())
    tab.locator(".pen-paper").scroll_into_view_if_needed()
    box, scrolled = tab.locator(".pen-paper").bounding_box(), tab.evaluate("scrollY")
    finger = context.new_cdp_session(tab)

    def touch(kind, *points):
        at = [{"x": box["x"] + x, "y": box["y"] + y} for x, y in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", (100, 20))
    for y in range(25, 200, 5):
        touch("touchMove", (100, y))
    touch("touchEnd")
    assert tab.evaluate("scrollY") == scrolled
    assert tab.evaluate("+document.querySelector('.pen-slider').max") > 5
    context.close()


def test_another_beginning_is_noticed_by_the_gated_networks(visit):
    tab = visit(COVER)
    tab.select_option(".pen-stored", label="chA 1")
    tab.wait_for_function("document.querySelector('.pen-said').textContent.includes('Step')")
    assert leaders(tab)[1:] == ["chA", "chA"]
    tab.select_option(".pen-beginning", "bA")
    assert leaders(tab)[1:] == ["bA", "bA"]
    assert "With its own beginning" in tab.locator(".pen-said").inner_text()
    assert tab.evaluate("document.querySelector('.pen-dropped').points.length") > 5
    tab.select_option(".pen-beginning", "")
    assert leaders(tab)[1:] == ["chA", "chA"]


@writes
def test_a_stroke_that_was_begun_is_finished(browser):
    context = browser.new_context(reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(COVER.as_uri())
    tab.locator(".pen-paper").scroll_into_view_if_needed()
    ink, own = (f"document.querySelector('.pen-{name}').points.length" for name in ("ink", "own"))
    half = on_paper(PANEL["guides"]["chA"])[:32]
    draw(tab, half)
    assert tab.evaluate(own) == 0
    begun = tab.evaluate("+document.querySelector('.pen-slider').max")
    tab.select_option(".pen-asked", label="chA")
    tab.locator(".pen-write").press("Enter")
    tab.wait_for_function(f"{own} > 1")  # the network that writes comes when it is first asked
    whole = tab.evaluate("+document.querySelector('.pen-slider').max")
    assert whole > begun and 1 < tab.evaluate(own) < tab.evaluate(ink)
    # Back in time, it goes on from there.
    slider = tab.locator(".pen-slider")
    slider.focus()
    for key in ("Home", "ArrowRight", "ArrowRight"):
        tab.keyboard.press(key)
    assert tab.evaluate(own) == 0
    tab.locator(".pen-write").press("Enter")
    assert tab.evaluate(own) > 1
    # On an empty sheet it writes a whole character.
    tab.locator(".pen-clear").press("Enter")
    assert tab.evaluate(own) == 0
    tab.locator(".pen-write").press("Enter")
    assert tab.evaluate(own) == tab.evaluate(ink) > 10
    context.close()


def test_without_a_network_that_writes_there_is_no_button(visit):
    assert visit(COVER).locator(".pen-write").is_visible() == bool(WRITER)


def test_before_training_they_know_nothing(visit):
    tab = visit(COVER)
    tab.select_option(".pen-when", "first")
    table = tab.locator(".pen-table tbody").inner_text()
    assert all(float(number) < 0.7 for number in table.split() if number[0].isdigit())


def test_it_works_by_keyboard(browser):
    context = browser.new_context(reduced_motion="reduce")
    tab = context.new_page()
    tab.goto(COVER.as_uri())
    tab.locator(".pen-stored").focus()
    tab.keyboard.press("Home")  # the first stroke; without motion it is there at once
    label = PANEL["strokes"][0]["label"]
    assert leaders(tab)[1:] == [label, label]
    for inner in tab.locator(".pen-inner option").all():
        pixels = "document.querySelector('.pen-states').toDataURL()"
        before = tab.evaluate(pixels)
        if inner.get_attribute("value") != tab.locator(".pen-inner").input_value():
            tab.select_option(".pen-inner", inner.get_attribute("value"))
            assert tab.evaluate(pixels) != before
    slider = tab.locator(".pen-slider")
    slider.focus()
    words, places = set(), set()
    for key in ("Home", "ArrowRight", "End"):
        tab.keyboard.press(key)
        words.add(slider.get_attribute("aria-valuetext"))
        places.add(tab.locator(".pen-tip").get_attribute("transform"))
        assert tab.locator(".pen-said").inner_text() == slider.get_attribute("aria-valuetext")
    assert len(words) == len(places) == 3
    tab.locator(".pen-clear").press("Enter")
    assert tab.locator(".pen-said").inner_text() == "An empty sheet."
    tab.locator(".pen-play").press("Enter")
    assert leaders(tab)[1:] == [label, label]
    context.close()


def test_a_replay_takes_its_time_where_motion_is_welcome(browser):
    context = browser.new_context()
    tab = context.new_page()
    tab.clock.install()  # the page's time is the test's, however busy the machine is
    tab.goto(COVER.as_uri())
    tab.clock.pause_at(tab.evaluate("Date.now()") + 60_000)
    steps = "+document.querySelector('.pen-slider').max + 1"
    whole = tab.evaluate(steps)
    tab.locator(".pen-play").click()
    seen = [tab.evaluate(steps)]
    for _ in range(3):
        tab.clock.run_for(200)
        seen.append(tab.evaluate(steps))
    assert seen == sorted(set(seen)) and seen[-1] < whole
    tab.clock.run_for(5000)
    assert tab.evaluate(steps) == whole
    context.close()


def test_without_scripts_a_picture_and_a_sentence_stand_there(browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(COVER.as_uri())
    assert not tab.locator(".pen").is_visible()
    assert tab.locator(".pen-still").is_visible()
    assert "scripts" in tab.locator("noscript figcaption").inner_text()
    context.close()


# --- Listening --------------------------------------------------------------------------------


HEARD = json.loads((RESULTS / "listen.json").read_text(encoding="utf-8"))


def test_what_is_heard_is_what_the_sample_was_made_from():
    files = load_cv_segments(DATA / "sample").test.files
    maker = listen.make_sample()
    entries = {e.member.partition("/")[2]: e for e in maker.plan_cv_segments()}
    assert [segment["label"] for segment in HEARD["syllables"]] == HEARD["classes"]
    for segment in HEARD["syllables"]:
        assert segment["file"] in files
        entry = entries[segment["file"]]
        features, sound, rate = maker.speak_segment(
            entry.label, entry.length, entry.speaker, entry.generator()
        )
        assert len(features) == len(segment["features"]) == len(segment["probabilities"])
        assert listen.as_wav(sound, rate) == segment["wav"]
        assert segment["vowel"] in maker.VOWELS[segment["label"]]
        assert len(sound) / rate == pytest.approx(0.010 * len(features) + 0.015, abs=1e-3)


def test_a_cursor_follows_the_sound(visit):
    tab = visit(next(page for page in PAGES if page.name.startswith("13")))
    figures = tab.locator(".book-listen figure")
    assert figures.count() == len(HEARD["classes"])
    figure = figures.nth(1)
    figure.scroll_into_view_if_needed()
    places, words = [], []
    for share in (0.2, 0.8):
        figure.locator("audio").evaluate(
            """(sound, share) => new Promise(done => {
              sound.addEventListener("seeked", () => setTimeout(done), {once: true});
              const go = () => { sound.currentTime = share * sound.duration; };
              if (sound.readyState) return go();
              sound.addEventListener("loadedmetadata", go);
              sound.load();
            })""",
            share,
        )
        cursor = figure.locator("div > div").last
        places.append(cursor.evaluate("e => parseFloat(e.style.left)"))
        words.append(figure.locator("output").inner_text())
    assert np.allclose(places, [14.4 + 81.9 * 0.2, 14.4 + 81.9 * 0.8], atol=1)
    segment = HEARD["syllables"][1]
    frames = [int(share * len(segment["features"])) for share in (0.2, 0.8)]
    for said, frame in zip(words, frames, strict=True):
        p = segment["probabilities"][frame]
        assert said == f"frame {frame + 1}: {HEARD['classes'][np.argmax(p)]} {max(p):.2f}"
    figure.locator("input").check()
    assert figure.locator("audio").evaluate("sound => sound.playbackRate") == 0.25
