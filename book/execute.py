"""Execute notebooks; store their outputs, the values of their expressions, and what made them.

Usage: ``python -m book.execute [--all] [NOTEBOOK…]``; without names, all of ``notebooks``.
Only what is stale is executed, unless ``--all`` is given. ``make run`` calls this.
"""

import argparse
import ast
import base64
import io
import json
import re
import sys
import time
from pathlib import Path

import nbformat
from jupyter_client.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

from book.stale import KEY, NOTEBOOKS, ROOT, changed, expressions, made_from

SECONDS = 900  # a cell may take
# Notebooks as text show what people write, not what is stored here.
TEXT = {"cell_metadata_filter": "all,-user_expressions"}
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# Runs in the kernel before the first cell, and notes the files that are opened to be read.
WATCH = """
def __used__():
    import json, linecache, os, sys

    opened = set()

    def note(event, arguments):
        if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
            if arguments[1] is None or "r" in arguments[1]:
                opened.add(os.path.abspath(arguments[0]))

    sys.addaudithook(note)
    return lambda: json.dumps([sorted(sys.modules), sorted(opened), sorted(linecache.cache)])

__used__ = __used__()
"""


class ExecutionError(Exception):
    """A cell fails, or an expression in its text fails or gives no text or number."""


class Client(NotebookClient):
    """Executes a notebook and, where a cell's text holds expressions, evaluates them there."""

    async def async_execute_cell(self, cell, cell_index, **options):
        """Execute a cell, then the expressions of its text."""
        self.place = describe(cell, cell_index)
        if cell_index == 0:
            await self.ask(WATCH)
        cell = await super().async_execute_cell(cell, cell_index, **options)
        cell.metadata.pop("user_expressions", None)
        if wanted := expressions(cell):
            results = await self.ask("", {text: text for text in wanted})
            for text in wanted:
                check_result(text, results[text])
            cell.metadata["user_expressions"] = [
                {"expression": text, "result": results[text]} for text in wanted
            ]
        if cell_index == len(self.nb.cells) - 1:
            used = await self.ask("", {"used": "__used__()"})
            self.used = json.loads(value(used["used"]))
        return cell

    async def ask(self, code, wanted=None):
        """Run code and evaluate expressions in the kernel, leaving no trace in the notebook."""
        request = self.kc.execute(code, silent=True, user_expressions=wanted or {})
        reply = await self.async_wait_for_reply(await ensure_async(request))
        return reply["content"]["user_expressions"]


def value(result):
    """Return the value that a kernel sent as text: a str, int or float.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    found = ast.literal_eval(result["data"]["text/plain"])
    if not isinstance(found, (str, int, float)):
        raise ValueError
    return found


def check_result(expression, result):
    """Raise :class:`ExecutionError` unless an expression gave what a sentence can show."""
    if result["status"] != "ok":
        raise ExecutionError(f"{{eval}}`{expression}` gave {result['ename']}: {result['evalue']}")
    try:
        value(result)
    except (ValueError, SyntaxError):
        raise ExecutionError(
            f"{{eval}}`{expression}` gave {result['data']['text/plain']}; expected text, an int "
            'or a float: write f"{…:.2f}"'
        ) from None


def describe(cell, index):
    """Say which cell: its number, counted from 0, its kind and its first line."""
    first = cell.source.strip().partition("\n")[0]
    return f"cell {index} ({cell.cell_type}, “{first[:60]}”)"


def tidy(outputs):
    """Return outputs without what differs from one execution to the next.

    Streams in pieces are joined. A line that was written over, as progress bars are, goes, since
    it ends with the time that it took. So do addresses of objects. Pictures become smaller.
    """
    tidied = []
    for output in outputs:
        last = tidied[-1] if tidied else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last.text += output.text
        else:
            tidied.append(output)
    for output in tidied:
        if output.output_type == "stream":
            lines = output.text.replace("\r\n", "\n").splitlines(keepends=True)
            # `splitlines` ends a line at each carriage return too.
            lines = re.findall(r"[^\n]*\n|[^\n]+", "".join(lines))
            output.text = "".join(line for line in lines if "\r" not in line)
        elif "text/plain" in output.get("data", {}):
            output.data["text/plain"] = ADDRESS.sub("", output.data["text/plain"])
        if "image/png" in output.get("data", {}):
            output.data["image/png"] = in_few_colours(output.data["image/png"])
    return [o for o in tidied if o.output_type != "stream" or o.text]


def in_few_colours(png):
    """Return a picture, a PNG in base 64, with at most 256 colours: a third of the bytes."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
        few = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def dependencies(notebook, modules, opened, shown):
    """Return the modules and files of this repository that a notebook used.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
    modules : list of str
        Names of all modules in the kernel.
    opened, shown : list of str
        Paths of files that were opened, and of sources that were looked up.

    Returns
    -------
    modules, files : set of Path
        Files are those of ``data/results`` and ``data``, style sheets, scripts and settings of
        ``helpers``, and modules whose source the notebook shows, docstrings and all.
    """
    stems = [ROOT / name.replace(".", "/") for name in modules]
    candidates = [s.with_suffix(".py") for s in stems] + [s / "__init__.py" for s in stems]
    imported = {path for path in candidates if path.is_file()}
    files = set()
    for path in map(Path, opened):
        recorded = path.parent == ROOT / "data" or path.is_relative_to(ROOT / "data/results")
        if recorded or any(path.match(f"helpers/*.{kind}") for kind in ("mplstyle", "js", "toml")):
            files.add(path)
    if any("getsource" in cell.source for cell in notebook.cells if cell.cell_type == "code"):
        files |= imported & {Path(path) for path in shown}
    return imported, {f for f in files if f.is_file() and f.is_relative_to(ROOT)}


def execute(path, target=None):
    """Execute a notebook in its folder and write it.

    Parameters
    ----------
    path : Path
    target : Path, optional
        Where to; otherwise the notebook itself is replaced, once all of it has succeeded.

    Raises
    ------
    ExecutionError
        If a cell or an expression in its text fails; names the cell.
    """
    before = path.read_bytes()
    notebook = nbformat.reads(before.decode("utf-8"), as_version=4)
    client = Client(
        notebook,
        timeout=SECONDS,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
        # What TensorFlow's C++ code writes goes to the terminal, not into the outputs.
        extra_arguments=[
            "--IPKernelApp.capture_fd_output=False",
            "--IPKernelApp.log_level=ERROR",
        ],
    )
    try:
        client.execute()
    except CellExecutionError as error:
        # Not its text, which is the whole traceback.
        raise ExecutionError(f"{client.place}: {error.ename}: {error.evalue}") from None
    except (ExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise ExecutionError(f"{client.place}: {error}") from None
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = tidy(cell.outputs)
    notebook.metadata["jupytext"] = TEXT
    notebook.metadata.language_info.pop("version", None)  # of the Python that happened to run it
    notebook.metadata[KEY] = made_from(notebook, *dependencies(notebook, *client.used))
    if path.read_bytes() != before:
        raise ExecutionError("the notebook was changed while it ran: nothing stored")
    nbformat.write(notebook, target or path)


def main():
    """Execute what the command line names; return 1 if a notebook failed."""
    parser = argparse.ArgumentParser(prog="book.execute", description=__doc__.partition("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="all, if none is named")
    parser.add_argument("--all", action="store_true", help="those too that are not stale")
    arguments = parser.parse_args()
    paths = [p.resolve() for p in arguments.notebooks] or sorted(NOTEBOOKS.glob("*.ipynb"))
    for path in paths:
        if path.suffix != ".ipynb" or not path.is_file():
            sys.exit(f"found no notebook {path}; expected one such as notebooks/05_lstm.ipynb")
    reasons = {path: changed(path) for path in paths}
    chosen = [path for path in paths if reasons[path] or arguments.all]
    if not chosen:
        print("nothing is stale; ALL=1 or NOTEBOOKS=… executes all the same")
    failures = {}
    for path in chosen:
        print(f"{path.name}: changed {', '.join(reasons[path]) or 'nothing'}", flush=True)
        started = time.perf_counter()
        try:
            execute(path)
        except ExecutionError as error:
            failures[path.name] = error
            print(f"  failed: {error}", flush=True)
        else:
            print(f"  stored after {time.perf_counter() - started:.0f} s", flush=True)
    if failures:
        print(f"\n{len(failures)} of {len(chosen)} failed and keep their old outputs:")
        for failed, reason in failures.items():
            print(f"- {failed}: {reason}")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
