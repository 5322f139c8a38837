"""Make data that no chapter was written for: other names, longer files, one class fewer.

Usage: ``PYTHONPATH=. python tests/other_data.py FOLDER``

Both data sets of the sample, with class names from other scripts, without one class, and with
some sequences twice as long as any that the report pads to.
"""

import sys
import zipfile
from pathlib import Path

import numpy as np

from helpers.data import DATA

NAMES = {
    "handwriting": {"a": "ಅ", "ai": "ಐ", "bA": "étoile", "chA": "ಚಾ"},
    "cv_segments": {"hI": "ही", "ne": "ने", "ni": "cha", "pa": "प"},
}
LONG = 99  # files above this percentile of the length are written twice over


def _longer_stroke(content):
    """Write a stroke forth and back again."""
    count, *numbers = content.split()
    points = [numbers[i : i + 2] for i in range(0, len(numbers), 2)]
    there_and_back = [v for point in points + points[::-1] for v in point]
    return " ".join([str(2 * int(count)), *there_and_back]) + "\n"


def make(folder):
    """Write both data sets as folders of files.

    Parameters
    ----------
    folder : Path
    """
    for dataset, names in NAMES.items():
        with zipfile.ZipFile(DATA / "sample" / f"{dataset}.zip") as sample:
            sizes = [info.file_size for info in sample.infolist()]
            long = np.percentile(sizes, LONG)
            for member, size in zip(sample.namelist(), sizes, strict=True):
                _, label, split, file = member.split("/")
                if label not in names:
                    continue
                content = sample.read(member).decode("ascii")
                if size > long:
                    content = _longer_stroke(content) if dataset == "handwriting" else content * 2
                path = folder / dataset / names[label] / split / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="ascii")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
