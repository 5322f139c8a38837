"""Pack a built site into a zip that opens by double-click: ``python book/make_zip.py SITE ZIP``."""

import sys
import zipfile
from pathlib import Path

site, target = map(Path, sys.argv[1:])
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
    for file in sorted(site.rglob("*")):
        # Sphinx' note of its own configuration is of no use to a reader.
        if file.is_file() and file.name != ".buildinfo":
            archive.write(file, Path(target.stem) / file.relative_to(site))
