"""What the chapters share: data, padding, models, training, figures.

Using the style ``helpers.book`` or importing any module of this package gives matplotlib the
style's greys by name: ``color="muted"``.
"""

from matplotlib.colors import get_named_colors_mapping

# Beside the style's C0 to C5; a style file can use names of colours but cannot give them.
GREYS = {
    "ink": "#333333",  # marks and outlines that carry the message
    "muted": "#737373",  # reference lines, notes in the figure; dark enough for text on white
    "faint": "#b3b3b3",  # what stands behind the message: bars, other classes, zero lines
    "shade": "#e0e0e0",  # filled areas, grids
    "paper": "#ffffff",  # the ground of the figure: hollow markers, text on dark
}
get_named_colors_mapping().update(GREYS)
