"""Figures on a dark ground.

The style sheet inverts a figure and turns its hues back, so that blue stays blue and what was dark
on white is light on the page. Where a colour map gives brightness a meaning, that would turn it
round: such figures get a second picture, inverted except for the map.
"""

import re
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

PICTURE = re.compile(r'<img ([^>]*\bsrc="(?:\.\./)*_images/([^"]+)\.png"[^>]*)>')
MAP = "cividis"  # the style's, from dark blue to yellow
HUES_BACK = np.array(  # CSS: hue-rotate(180deg)
    [[-0.574, 1.43, 0.144], [0.426, 0.43, 0.144], [0.426, 1.43, -0.856]]
)


def cubes(colours):
    """Return which of 64 × 64 × 64 cubes of colours lie at some colours, or beside them."""
    found = np.zeros((64, 64, 64), dtype=bool)
    for step in np.ndindex(3, 3, 3):
        found[tuple(np.clip(colours // 4 + np.array(step) - 1, 0, 63).T)] = True
    return found


def scale():
    """Return the cubes of the whole map, and of its yellow end, which nothing else has."""
    colours = matplotlib.colormaps[MAP](np.arange(256), bytes=True)[:, :3].astype(int)
    # Its middle is grey, as text is; inverted, that stays what it is.
    return cubes(colours[np.ptp(colours, axis=1) > 10]), cubes(colours[200:])


WHOLE, YELLOW = scale()


def inverted(pixels):
    """Return pixels (height, width, 3) as the style sheet turns them."""
    return np.clip(np.rint((255.0 - pixels) @ HUES_BACK.T), 0, 255).astype(np.uint8)


def for_the_dark(pixels):
    """Return a picture for a dark ground, or None if the style sheet does it.

    Parameters
    ----------
    pixels : array of uint8, shape (height, width, 3)

    Returns
    -------
    array of uint8, shape (height, width, 3), or None
    """
    place = tuple(np.moveaxis(pixels // 4, -1, 0))
    if YELLOW[place].mean() < 0.002:
        return None
    return np.where(WHOLE[place][..., None], pixels, inverted(pixels))


def add_dark_pictures(app, pagename, templatename, context, doctree):
    """Put beside each picture that needs it one for a dark ground."""
    files = {name: file for file, name in app.builder.images.items()}

    def both(match):
        attributes, name = match.groups()
        with Image.open(Path(app.srcdir) / files[f"{name}.png"]) as picture:
            dark = for_the_dark(np.asarray(picture.convert("RGB")))
        if dark is None or "only-" in attributes:
            return match[0]
        target = Path(app.outdir) / "_images" / f"{name}_dark.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(dark).save(target, optimize=True)
        other = attributes.replace(f"{name}.png", target.name)
        lazy = 'class="only-dark" loading="lazy"'
        return f'<img class="only-light" {attributes}><img {lazy} {other}>'

    context["body"] = PICTURE.sub(both, context.get("body", ""))


def setup(app):
    """Register with Sphinx."""
    app.add_js_file("figures.js")
    app.connect("html-page-context", add_dark_pictures, priority=600)  # once sizes are known
    return {"parallel_read_safe": True, "parallel_write_safe": True}
