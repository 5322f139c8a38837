"""Fetch the course's data into data/course, if a person wants it: ``make course-data``.

No licence is stated for its public copies. They are therefore no part of this repository, and
data/course is git-ignored.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pooch

from helpers.data import (
    DATA,
    DataFormatError,
    DataNotFoundError,
    _read,
    _tree,
    load_cv_segments,
    load_handwriting,
)

LOADERS = {"handwriting": load_handwriting, "cv_segments": load_cv_segments}
EXPECTED = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))["course"]


class Source(NamedTuple):
    """A public zip, its SHA-256 if that is fixed, what to know of it, and the data sets in it."""

    url: str
    sha256: str | None
    about: str
    holds: tuple


SOURCES = (
    Source(
        "https://github.com/Prashant812/LSTM-RNN/archive/"
        "aef7ecd7571b521424b0592e35614dd8e74e2284.zip",
        None,  # GitHub packs an archive on demand: only the files in it have fixed digests
        "some tens of MB",
        ("handwriting", "cv_segments"),
    ),
    Source(
        "https://github.com/yashgupta1299/Sequential_Data_Classifier/raw/"
        "aa9797a8a5c41a2beb679defcfad5111c72e63ee/Handwriting_Data.zip",
        "6ed2049752f7747296bd100a36261c6b5e86dc3585afc98e2ba18533cfe51701",
        "about 1 MB, handwriting only, and only if the first cannot be had",
        ("handwriting",),
    ),
)

NOTICE = """\
This fetches the data of the course that the report was written for ({names}), from:

{copies}

No licence is stated for these public copies: whether you may use them is for you to judge. What
comes is compared with the digests in data/manifest.json and stored in
{target}
which git ignores. Do not commit it or pass it on.
"""


class FetchError(Exception):
    """A data set that could not be had, with the reason for each source."""


def load_verified(name, path, expected=EXPECTED):
    """Load the classes of ``expected`` of one data set and compare their digests with it.

    Raises
    ------
    DataFormatError
        If the data cannot be read, or differs: names each class and split that does.
    """
    dataset = LOADERS[name](path, classes=tuple(expected[name]))
    wrong = []
    for label, splits in expected[name].items():
        for split, wanted in splits.items():
            found = dataset.digests[label][split]
            if found != wanted:
                wrong.append(
                    f"{label}/{split} with {found['files']} files (sha256 {found['sha256'][:8]}…) "
                    f"instead of {wanted['files']} ({wanted['sha256'][:8]}…)"
                )
    if wrong:
        raise DataFormatError(
            path, f"{name}: {', '.join(wrong)}", "the files of data/manifest.json"
        )
    return dataset


def missing(target, expected=EXPECTED):
    """Return the names of the data sets that ``target`` lacks; raise if what it has differs."""
    names = []
    for name in expected:
        try:
            load_verified(name, target, expected)
        except DataNotFoundError:
            names.append(name)
    return names


def unpack(name, archive, folder, expected=EXPECTED):
    """Write the files of one data set, and nothing else, from a zip to a folder; verify them."""
    dataset = LOADERS[name](archive, classes=tuple(expected[name]))
    holder = PurePosixPath(Path(dataset.source).relative_to(archive).as_posix())
    files = dataset.train.files + dataset.test.files
    tree = _tree(Path(archive))
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(_read(tree, holder / file))
    load_verified(name, folder, expected)


def fetch(names, target=DATA / "course", sources=SOURCES, expected=EXPECTED, progressbar=True):
    """Download, verify and place data sets, each complete or not at all.

    Parameters
    ----------
    names : iterable of str
        The data sets to fetch; each becomes the folder of its name in ``target``.
    target : Path
    sources : sequence of Source
        Tried in this order.
    expected : dict
        ``{name: {class: {split: {"files": n, "sha256": hex}}}}``
    progressbar : bool

    Raises
    ------
    FetchError
        If a data set could not be had. Those that could are in place.
    """
    ready, failed = {}, []
    # Beside the target, thus on its file system: os.replace then moves at once or not at all.
    with tempfile.TemporaryDirectory(prefix=".course-", dir=target.parent) as temp:
        temp = Path(temp).resolve()
        download = pooch.HTTPDownloader(progressbar=progressbar, chunk_size=2**16)
        for name in names:
            reasons = []
            for source in (source for source in sources if name in source.holds):
                folder = temp / f"{len(reasons)}" / name
                try:  # a zip that is already in temp is not fetched again
                    archive = pooch.retrieve(
                        source.url, source.sha256, path=temp, downloader=download
                    )
                    unpack(name, archive, folder, expected)
                except (OSError, ValueError) as error:  # network, disk; digest, format
                    reason = str(error).replace(f"{temp}{os.sep}", "")
                    reasons.append(f"\n  {source.url}\n    {reason}")
                else:
                    ready[name] = folder
                    break
            else:
                failed.append(f"{name} could not be had:{''.join(reasons)}")
        for name, folder in ready.items():
            target.mkdir(exist_ok=True)
            os.replace(folder, target / name)
            print(f"{name}: verified, stored in {target / name}")
    if failed:
        raise FetchError("\n".join(failed))


def main(argv=None, target=DATA / "course", sources=SOURCES, expected=EXPECTED, progressbar=True):
    """Say what will be fetched, ask, fetch; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yes", action="store_true", help="fetch without asking")
    args = parser.parse_args(argv)
    pooch.get_logger().setLevel("WARNING")
    try:
        names = missing(target, expected)
        if not names:
            print(f"The course's data is in {target} and verified: nothing to do.")
            return 0
        copies = [f"  {s.url}\n    {s.about}" for s in sources if set(s.holds) & set(names)]
        print(NOTICE.format(names=", ".join(names), copies="\n".join(copies), target=target))
        if not args.yes and input("Type yes to fetch it: ").strip() != "yes":
            raise EOFError
        fetch(names, target, sources, expected, progressbar)
    except EOFError:
        print("\nNothing was fetched.")
    except KeyboardInterrupt:
        print("\nStopped. What was not complete is gone.", file=sys.stderr)
    except DataFormatError as error:
        print(f"{error}\nNothing was fetched: move that away first.", file=sys.stderr)
    except (FetchError, OSError) as error:
        print(error, file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
