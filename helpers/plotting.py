"""The book's figures, one function each, and its tables and sliders.

Sizes and colours come from ``book.mplstyle`` (``plt.style.use("helpers.book")``), greys by their
names in ``helpers``.
"""

import base64
import hashlib
import html
import io
import json
import re
from numbers import Integral, Real
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import HTML
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator
from pandas.io.formats.style import Styler

from helpers.padding import scale_keep_aspect

# Beside the style's own: for text, matplotlib has names ("small", "large"), but not for these.
THIN, THICK = 0.8, 3.0  # linewidth
SMALL, LARGE = 3.0, 9.0  # markersize


def panels(rows, columns, height=1.0, width=1.0, **options):
    """Return ``rows × columns`` axes in a figure of the book's width.

    Parameters
    ----------
    rows, columns : int
    height : float
        Height of the figure as a share of its width.
    width : float
        Width of the figure as a share of the book's. A narrow figure with its panels below each
        other shrinks less on a phone, so that its text can be read.
    **options
        For :func:`matplotlib.pyplot.subplots`.

    Returns
    -------
    array of matplotlib axes, shape (rows, columns)
    """
    width = width * plt.rcParams["figure.figsize"][0]
    _, axes = plt.subplots(rows, columns, figsize=(width, height * width), squeeze=False, **options)
    return axes


def legend_below(axes, columns=3):
    """Put one legend for all axes below them, where it hides nothing.

    Parameters
    ----------
    axes : array of matplotlib axes
    columns : int
    """
    found = {}
    for ax in np.ravel(axes):
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    figure = np.ravel(axes)[0].figure
    figure.legend(found.values(), found, loc="outside lower center", ncols=columns)


def table(frame, caption=None, decimals=3):
    """Show a data frame without its index, numbers rounded, columns named by their titles.

    Parameters
    ----------
    frame : pandas.DataFrame
    caption : str, optional
    decimals : int

    Returns
    -------
    pandas.io.formats.style.Styler
    """

    def words(value):
        if not isinstance(value, Real):
            return value
        rounded = str(value) if isinstance(value, Integral) else f"{value:.{decimals}f}"
        return rounded.replace("-", "−")

    # An id of the content: no two tables of a page share it, and it changes only with them.
    content = hashlib.sha256(f"{caption} {frame.to_csv()}".encode()).hexdigest()[:8]
    shown = caption and html.escape(caption, quote=False)
    style = Styler(frame, caption=shown, uuid=content, cell_ids=False)
    style.hide(axis="index").format(words, na_rep="–", escape="html")
    style.format_index(escape="html", axis="columns")
    return style.set_table_attributes('class="dataframe"')


# --- Strokes ----------------------------------------------------------------------------------


def plot_stroke(x, ax):
    """Draw one stroke with a dot where the pen comes down.

    Parameters
    ----------
    x : array, shape (T, 2)
    ax : matplotlib axes
    """
    ax.plot(x[:, 0], x[:, 1], color="C0", linestyle="-")
    ax.plot(*x[0], "o", color="C1")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def plot_stroke_grid(dataset, per_class=5, scale=scale_keep_aspect):
    """Draw the first strokes of each class, a row a class: the report's figure 2.1.

    Parameters
    ----------
    dataset : SequenceDataset
    per_class : int
    scale : callable
        From one sequence to one sequence.
    """
    rows = len(dataset.classes)
    axes = panels(rows, per_class, height=0.16 * rows)
    for label, name in enumerate(dataset.classes):
        for ax, i in zip(axes[label], np.flatnonzero(dataset.train.y == label), strict=False):
            plot_stroke(scale(dataset.train.x[i]), ax)
        axes[label, 0].set_ylabel(name, rotation=0, ha="right", va="center")


def _line(colour, width):
    """Write how a line of an SVG is drawn, its colour by its name in the style."""
    return f"fill='none' stroke='{to_hex(colour)}' stroke-width='{width}'"


def stroke_svg(x, steps=None):
    """Draw the first steps of a stroke as a small SVG, the rest in grey.

    Parameters
    ----------
    x : array, shape (T, 2)
        Scaled to 0…1.
    steps : int, optional
        How many steps are written; all if not given.

    Returns
    -------
    str
    """
    top = 20 + 260 * x[:, 1].max()
    points = [f"{20 + 260 * a:.0f},{top - 260 * b:.0f}" for a, b in x]
    done = points[: len(points) if steps is None else steps]
    pen = done[-1].split(",")
    return (
        f"<svg viewBox='0 0 300 {top + 20:.0f}' xmlns='http://www.w3.org/2000/svg'>"
        f"<polyline points='{' '.join(points)}' {_line('faint', 2)}/>"
        f"<polyline points='{' '.join(done)}' {_line('C0', 4)}/>"
        f"<circle cx='{pen[0]}' cy='{pen[1]}' r='7' fill='{to_hex('C1')}'/></svg>"
    )


# --- Speech -----------------------------------------------------------------------------------


def plot_mfcc(x, ax, title=""):
    """Draw one segment as a heat map, time to the right, its 39 features upwards.

    Parameters
    ----------
    x : array, shape (T, 39)
        Each feature standardised, so that all share one colour scale.
    ax : matplotlib axes

    Returns
    -------
    matplotlib.image.AxesImage
    """
    image = ax.imshow(x.T, vmin=-3, vmax=3, extent=(0, len(x), 0, x.shape[1]))
    for edge in (13, 26):
        ax.axhline(edge, color="paper", linestyle="-", linewidth=THIN)
    ax.set_yticks([6.5, 19.5, 32.5], ["static", "Δ", "ΔΔ"])
    ax.set(title=title)
    ax.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    return image


def plot_mfcc_maps(x, titles):
    """Draw segments side by side on one colour scale: the report's figure 3.1.

    Parameters
    ----------
    x : list of arrays, each of shape (T_i, 39)
        Standardised.
    titles : list of str
    """
    axes = panels(1, len(x), height=0.42, sharey=True)
    for ax, sequence, title in zip(axes[0], x, titles, strict=True):
        image = plot_mfcc(sequence, ax, title)
    axes[0, 0].set_ylabel("feature")
    axes[0, len(x) // 2].set_xlabel("frame")
    bar = axes[0, 0].figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("standard deviations from the mean")


# --- Either data set --------------------------------------------------------------------------


def plot_lengths(dataset):
    """Draw how long the sequences of each class are, train beside test."""
    (axes,) = panels(1, 2, height=0.42, sharex=True, sharey=True)
    for ax, (name, split) in zip(
        axes, [("train", dataset.train), ("test", dataset.test)], strict=True
    ):
        frame = pd.DataFrame({"steps": split.lengths, "class": np.array(dataset.classes)[split.y]})
        sns.boxplot(
            frame, x="steps", y="class", order=dataset.classes, ax=ax, color="C4", fliersize=SMALL
        )
        ax.set(title=f"{name}: {len(split)} sequences", ylabel="")
        ax.grid(axis="x")


def plot_learning_curves(curves, metric="loss", ax=None, label="training error"):
    """Draw the median over seeds of each architecture, and a band from quartile to quartile.

    Parameters
    ----------
    curves : pandas.DataFrame
        Columns ``architecture``, ``seed``, ``epoch`` and ``metric``.
    metric : str
    ax : matplotlib axes, optional
    label : str
        Of the vertical axis.
    """
    ax = ax or plt.gca()
    for k, (number, runs) in enumerate(curves.groupby("architecture")):
        by_epoch = runs.groupby("epoch")[metric]
        most = by_epoch.size() * 2 > runs["seed"].nunique()  # as long as most runs train
        low, median, high = (by_epoch.quantile(q)[most] for q in (0.25, 0.5, 0.75))
        style = plt.rcParams["axes.prop_cycle"].by_key()["linestyle"][k]
        ax.fill_between(median.index, low, high, color=f"C{k}", alpha=0.2, linewidth=0)
        ax.plot(median, color=f"C{k}", linestyle=style, label=f"architecture {number}")
    ax.set(xlabel="epoch", ylabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.grid(axis="y")
    return ax


def plot_confusion(matrices, classes, titles, columns=2):
    """Draw confusion matrices, coloured by the share of each true class.

    Parameters
    ----------
    matrices : list of arrays, each of shape (classes, classes)
        Counts; rows are true classes, columns predictions.
    classes : sequence of str
    titles : list of str
    columns : int
        Matrices in a row.
    """
    rows = -(-len(matrices) // columns)
    axes = panels(rows, columns, height=0.6 if len(matrices) == 1 else rows / columns)
    for ax in axes.flat[len(matrices) :]:
        ax.set_visible(False)
    for ax, matrix, title in zip(axes.flat[: len(matrices)], matrices, titles, strict=True):
        matrix = np.asarray(matrix)
        sns.heatmap(
            matrix / matrix.sum(axis=1, keepdims=True), annot=matrix, fmt="g", vmin=0, vmax=1,
            cmap="Blues", cbar=False, square=True, linewidths=THIN, xticklabels=classes,
            yticklabels=classes, ax=ax,
        )  # fmt: skip
        ax.set(title=title, xlabel="predicted", ylabel="true")
        ax.tick_params(length=0, rotation=0)


def plot_scores(runs, reported=None, lines=None):
    """Draw each run's test accuracy by architecture, beside what the report says.

    Parameters
    ----------
    runs : pandas.DataFrame
        Columns ``layer``, ``architecture``, ``seed``, ``test_accuracy``.
    reported : dict, optional
        ``{layer: {"test_accuracy": [five numbers]}}``.
    lines : dict, optional
        ``{name: accuracy}``, drawn across: baselines.
    """
    layers = list(dict.fromkeys(runs["layer"]))
    (axes,) = panels(1, len(layers), height=0.45, sharey=True)
    for ax, layer in zip(axes, layers, strict=True):
        here = runs[runs["layer"] == layer]
        # Side by side, so that equal scores do not hide each other.
        aside = (here["seed"].rank(method="dense") - 1) / max(here["seed"].nunique() - 1, 1) - 0.5
        ax.plot(
            here["architecture"] + 0.4 * aside, here["test_accuracy"], "o", color="C0", alpha=0.6,
            markersize=SMALL, linestyle="none", label="this book, one run",
        )  # fmt: skip
        if reported and layer in reported:
            ax.plot(
                range(1, 6), reported[layer]["test_accuracy"], "D", color="C1", mfc="none",
                linestyle="none", label="report",
            )  # fmt: skip
        for k, (name, value) in enumerate((lines or {}).items()):
            ax.axhline(value, color="muted", linestyle=["--", ":", "-."][k], label=name)
        ax.set(title=layer, xlabel="architecture", xticks=range(1, 6))
        ax.grid(axis="y")
    axes[0].set_ylabel("test accuracy")
    legend_below(axes, columns=4)


# --- Sliders ----------------------------------------------------------------------------------


def svg_chart(curves, xlim, ylim, xlabel="", ylabel="", title="", log=False, marks=(), size=None):
    """Draw curves as a small SVG, some 1 to 3 kB: a frame of a :func:`slider`.

    Parameters
    ----------
    curves : list of tuples
        ``(x, y)`` or ``(x, y, label)``: arrays and what the curve is called, written at its end.
        Colours and dashes follow the style's cycle.
    xlim, ylim : tuple of float
        The same for all frames of a slider, so that the picture holds still.
    xlabel, ylabel, title : str
    log : bool
        Logarithmic vertical axis.
    marks : list of tuples
        ``(x, y)``: points drawn as dots.
    size : tuple of int, optional
        Width and height in units of the SVG, 320 × 220 if not given.

    Returns
    -------
    str
    """
    width, height = size or (320, 220)
    left, right, top, bottom = 46, width - 12, 22 if title else 10, height - 36
    unit = np.log10 if log else np.asarray
    y_low, y_high = unit(ylim[0]), unit(ylim[1])

    def at(x, y):
        u = left + (np.asarray(x, float) - xlim[0]) / (xlim[1] - xlim[0]) * (right - left)
        return u, bottom - (unit(np.clip(y, *ylim)) - y_low) / (y_high - y_low) * (bottom - top)

    def text(x, y, words, anchor="middle", more=""):
        words = html.escape(words, quote=False)
        return f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='{anchor}'{more}>{words}</text>"

    def ticks(low, high):
        found = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
        return [(tick, f"{tick:g}".replace("-", "−")) for tick in found]

    y_ticks = ticks(*ylim)
    if log:
        decades = np.arange(np.ceil(y_low), np.floor(y_high) + 1)
        decades = decades[:: max(1, -(-len(decades) // 5))]
        y_ticks = [(10.0**d, f"1e{d:.0f}".replace("-", "−") if d else "1") for d in decades]
    parts = [f"<svg viewBox='0 0 {width} {height}' xmlns='http://www.w3.org/2000/svg' "]
    parts.append(f"font-family='sans-serif' font-size='11' fill='{to_hex('ink')}'>")
    for tick, words in y_ticks:
        v = at(xlim[0], tick)[1]
        parts.append(f"<path d='M{left} {v:.0f}H{right}' {_line('shade', 1)}/>")
        parts.append(text(left - 4, v + 4, words, "end"))
    parts += [text(at(tick, ylim[0])[0], bottom + 14, words) for tick, words in ticks(*xlim)]
    parts.append(f"<path d='M{left} {top}V{bottom}H{right}' {_line('muted', 1)}/>")
    u, v = (left + right) / 2, (top + bottom) / 2
    parts.append(text(u, height - 5, xlabel))
    parts.append(text(11, v, ylabel, more=f" transform='rotate(-90 11 {v:.0f})'"))
    parts.append(text(u, 13, title, more=" font-weight='bold'"))
    dashes = ["", "6 3", "7 2 1 2", "1 3", "9 2 1 2 1 2", "10 4"]
    for k, (x, y, *label) in enumerate(curves):
        u, v = at(x, y)
        points = " ".join(f"{a:.0f},{b:.0f}" for a, b in zip(u, v, strict=True))
        dash = f"stroke-dasharray='{dashes[k % 6]}'"
        parts.append(f"<polyline points='{points}' {_line(f'C{k}', 2)} {dash}/>")
        if label:
            # Beside the curve's end, on the side that it does not come from.
            falls = v[-1] > v[-max(2, len(v) // 5)] and v[-1] < bottom - 16
            below = 14 if falls else -5
            parts.append(
                text(u[-1] - 2, v[-1] + below, *label, "end", f" fill='{to_hex(f'C{k}')}'")
            )
    for x, y in marks:
        u, v = at(x, y)
        parts.append(f"<circle cx='{u:.0f}' cy='{v:.0f}' r='4' fill='{to_hex('C1')}'/>")
    return "".join(parts) + "</svg>"


def svg_row(*pictures):
    """Put SVGs side by side, each as high as the highest, into one."""
    boxes = [[float(n) for n in p.split("viewBox='")[1].split("'")[0].split()] for p in pictures]
    height, x, parts = max(box[3] for box in boxes), 0.0, []
    for picture, box in zip(pictures, boxes, strict=True):
        width = box[2] * height / box[3]
        place = f"<svg x='{x:.0f}' width='{width:.0f}' height='{height:.0f}' "
        parts.append(picture.replace("<svg ", place, 1))
        x += width
    box = f"viewBox='0 0 {x:.0f} {height:.0f}' xmlns='http://www.w3.org/2000/svg'"
    return f"<svg {box}>{''.join(parts)}</svg>"


_SCRIPT = (Path(__file__).parent / "slider.js").read_text(encoding="utf-8").strip()


def slider(frames, labels, name, start=None, width=22, caption=""):
    """Show one of several pictures, chosen by one or more sliders, in a page without a server.

    Works by mouse, touch and keyboard, in a notebook and in the built book; printed, it shows the
    picture it stands at. A button plays a slider from where it stands to its end, unless the reader
    has asked the system for less motion. Where scripts do not run, as in a notebook that JupyterLab
    does not trust yet, the first picture is an ordinary image.

    Parameters
    ----------
    frames : list of str
        SVG each. With several sliders, the last one's positions follow each other.
    labels : list of str
        What each picture shows, in words: read out, and written below.
    name : str or dict
        Of the slider, or ``{name: [words for each position]}`` of each of several. The first
        name is unique on its page.
    start : int or tuple of int, optional
        The picture shown first, or the position of each slider; the last if not given.
    width : float
        Largest width, in rem.
    caption : str
        What to look for.

    Returns
    -------
    IPython.display.HTML
    """
    inputs = name if isinstance(name, dict) else {name: labels}
    shape = [len(words) for words in inputs.values()]
    if not len(frames) == len(labels) == np.prod(shape):
        raise ValueError(
            f"found {len(frames)} frames and {len(labels)} labels for sliders of {shape} "
            "positions; expected as many of each"
        )
    start = [n - 1 for n in shape] if start is None else np.atleast_1d(start).tolist()
    first = int(np.ravel_multi_index(start, shape))
    key = "slider-" + "".join(c if c.isalnum() else "-" for c in next(iter(inputs)).lower())
    still = base64.b64encode(frames[first].encode()).decode()
    stored = json.dumps([frames, labels, list(inputs.values()), shape]).replace("</", "<\\/")
    # Where the labels are no words for positions, a slider shows its own beside its name.
    shown = "<b>{}</b>" if isinstance(name, dict) else ""
    fields = "".join(
        f'<div style="display:flex;align-items:end;gap:.6rem">'
        f'<label style="flex:1">{html.escape(title)} {shown.format(html.escape(words[at]))}'
        # JupyterLab leaves the arrow keys to what says so.
        f'<input type="range" min="0" max="{len(words) - 1}" value="{at}" '
        f'data-lm-suppress-shortcuts="true" '
        f'style="width:100%;min-height:1.8rem" aria-valuetext="{html.escape(words[at])}">'
        "</label></div>"
        for (title, words), at in zip(inputs.items(), start, strict=True)
    )
    # No word of a picture smaller than 9 pixels: on a phone a row of charts moves sideways.
    box = re.search(r"viewBox=.\S+ \S+ (\S+)", frames[first])
    narrowest = round(9 / 11 * float(box[1])) if box else 0
    said = caption and f"<figcaption>{html.escape(caption)}</figcaption>"
    return HTML(
        f'<figure class="book-slider" id="{key}" style="max-width:{width}rem;margin:0 auto">'
        '<div style="overflow-x:auto">'
        f'<div role="img" aria-label="{html.escape(labels[first])}" '
        f'style="min-width:{narrowest}px;background:white;border-radius:6px">'
        f'<img alt="{html.escape(labels[first])}" style="display:block;width:100%" '
        f'src="data:image/svg+xml;base64,{still}"></div></div>'
        f"{fields}<output>{html.escape(labels[first])}</output>{said}"
        f"<script>{_SCRIPT}({json.dumps(key)},{stored},{first});</script></figure>"
    )


# --- Sounds -----------------------------------------------------------------------------------


def listen(segments, classes):
    """Let a reader hear segments while a cursor runs over features and what a network says.

    The cursor follows the player, by mouse, touch and keyboard, in a notebook and in the built
    book, at a quarter of the speed too. Without scripts the sounds and the pictures remain.

    Parameters
    ----------
    segments : list of dict
        Each with its ``label``, ``wav`` (a file in base 64), ``features`` (standardised, shape
        (T, 39)) and ``probabilities`` after each frame, shape (T, classes).
    classes : sequence of str

    Returns
    -------
    IPython.display.HTML
    """
    parts = []
    for segment in segments:
        label, p = segment["label"], np.array(segment["probabilities"])
        file, frames = io.BytesIO(), np.arange(1, len(p) + 1)
        plt.imsave(file, np.transpose(segment["features"]), vmin=-3, vmax=3, origin="lower")
        curves = [(frames, column) for column in p.T]
        curves[p[-1].argmax()] += (classes[p[-1].argmax()],)
        size = (320, 150)
        chart = svg_chart(curves, (0, len(p)), (0, 1.15), "frame", "probability", size=size)
        words = f"{label}, {len(p)} frames; at the end: {classes[p[-1].argmax()]} {p[-1].max():.2f}"
        said = [classes[k] for k in p.argmax(axis=1)], p.max(axis=1).round(2).tolist()
        label, words, stored = map(html.escape, (label, words, json.dumps(said)))
        parts.append(
            f"<figure data-said='{stored}' style='flex:1 1 17rem;max-width:21rem;margin:0'>"
            f"<figcaption>{words}</figcaption><div style='position:relative;background:white'>"
            f"<img alt='The features of {label} as a heat map, {len(p)} frames wide' style='"
            f"display:block;margin-left:14.4%;width:81.9%;height:6rem;image-rendering:pixelated' "
            f"src='data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'>"
            f"<div role='img' aria-label='{words}'>{chart}</div><div style='position:absolute;"
            f"top:0;height:84%;left:14.4%;border-left:2px solid {to_hex('ink')}'></div></div>"
            f"<audio controls aria-label='{label}' style='width:100%;height:2.5rem' "
            f"src='data:audio/wav;base64,{segment['wav']}'></audio><label><input type='checkbox'> "
            f"four times slower</label> <output style='float:right'></output></figure>"
        )
    return HTML(
        f"<div class='book-listen' style='display:flex;flex-wrap:wrap;gap:1.2rem'>{''.join(parts)}"
        "<script>document.currentScript.parentElement.querySelectorAll('figure').forEach("
        "function(root){var said=JSON.parse(root.dataset.said),sound=root.querySelector('audio'),"
        "cursor=root.querySelector('div > div:last-child'),text=root.querySelector('output');"
        "function show(){var n=said[0].length,share=sound.currentTime/sound.duration||0,"
        "t=Math.min(n-1,Math.floor(share*n));cursor.style.left=14.4+81.9*share+'%';"
        "text.textContent='frame '+(t+1)+': '+said[0][t]+' '+said[1][t].toFixed(2);"
        "if(!sound.paused)requestAnimationFrame(show);}"
        "['play','seeked','ended'].forEach(function(e){sound.addEventListener(e,show);});"
        "root.querySelector('input').addEventListener('change',function(){"
        "sound.playbackRate=this.checked?0.25:1;});});</script></div>"
    )
