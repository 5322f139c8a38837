"""Where finished runs wait until they are written into the tables of ``data/results``.

A finished run goes at once, in one transaction, into a small SQLite database beside the tables.
Exporting writes the tables anew and removes the database. Whatever is killed, at any moment, no
finished run is lost and none stands twice.
"""

import io
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd

from helpers.runs import TEXT, load_tables

CSV = {"index": False, "float_format": "%.6g"}


def _connect(files, folder):
    *_, runs = files.values()
    return closing(sqlite3.connect(Path(folder) / f"{runs.removesuffix('.csv')}.waiting.sqlite"))


def save(tables, files, folder):
    """Keep one finished run; it takes the place of any run of the same name.

    Parameters
    ----------
    tables : dict of pandas.DataFrame
        Its rows, under the names of ``files``.
    files : dict
        As in :func:`helpers.runs.load_tables`.
    folder : str or Path
        Made if it is not there.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps({name: tables[name].to_csv(**CSV) for name in files})
    (run,) = tables["runs"]["run"]
    with _connect(files, folder) as database, database:
        database.execute("CREATE TABLE IF NOT EXISTS waiting (run TEXT PRIMARY KEY, tables TEXT)")
        database.execute("INSERT OR REPLACE INTO waiting VALUES (?, ?)", (run, text))


def export(files, folder):
    """Write the runs that wait into the tables, the table with one row a run last.

    Parameters
    ----------
    files, folder
        As in :func:`save`.
    """
    with _connect(files, folder) as database:
        path = Path(database.execute("PRAGMA database_list").fetchone()[2])
        known = database.execute("SELECT name FROM sqlite_master").fetchall()
        texts = [
            json.loads(text)
            for _, text in (database.execute("SELECT * FROM waiting ORDER BY run") if known else ())
        ]
    if texts:
        tables = load_tables(files, folder)
        made = {
            name: pd.concat(pd.read_csv(io.StringIO(t[name]), dtype=TEXT) for t in texts)
            for name in files
        }
        for name, file in files.items():
            kept = tables[name][~tables[name]["run"].isin(made["runs"]["run"])]
            table = pd.concat([kept, made[name]]) if len(kept) else made[name]
            temporary = path.with_name(f".{file}")
            table.sort_values("run", kind="stable").to_csv(temporary, **CSV)
            os.replace(temporary, path.with_name(file))
    path.unlink()
