"""What `make` does for readers, without make: ``python do.py TASK [NAME=VALUE ...]``.

Works on Linux, macOS and Windows with nothing but Python, and installs into ``.venv`` what a task
needs, once. The Makefile calls it too. Tasks and words are those of make:

    python do.py lab                     open the chapters in JupyterLab
    python do.py lab DATA=folder-or-zip  ... on your own data
    python do.py notebooks               write plain notebooks, for VS Code and others
    python do.py book                    build the site, and a zip of it
    python do.py pdf                     print the book into one PDF, with Chromium [PAGES=...]
    python do.py run                     execute what is stale [ALL=1 NOTEBOOKS=... DATA=...]
    python do.py course-data             fetch the report's own data, if you say yes
    python do.py test                    check code, site and grading, on the sample that ships
    python do.py chapters                run every chapter and its solutions on the sample
    python do.py others                  run every chapter on data it was not written for
    python do.py test ALL=1              all three, and the tests that take long, as CI does
    python do.py clean                   remove what was built, not what was installed

Words in the style of ``--port=9000`` behind ``lab`` are JupyterLab's.
"""

# Read by Pythons that are too old or too new for the book, to say so: plain syntax and ASCII only.
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHONS = ((3, 11), (3, 13))
# What is installed, by the name of the file in .venv that says when.
INSTALLED = {
    "installed": ["requirements.txt", "pyproject.toml"],
    "testing": ["requirements-test.txt", "requirements-cluster.txt", "requirements-pdf.txt"],
    "pdf": ["requirements-pdf.txt"],
    "cluster": ["requirements-cluster.txt"],
    "grading": ["requirements-grading.txt"],
    # Its own requirements ask for older numba and pandas than the book's; a test says that it runs.
    "baselines": ["requirements-baselines.txt"],
}
SITE = ROOT / "_build" / "html"
ZIP = ROOT / "_build" / "recurrent-sequence-learning.zip"
PDF = ZIP.with_suffix(".pdf")
PDF_OF_PAGES = PDF.with_name(PDF.stem + "-pages.pdf")  # some pages never replace the whole
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONUTF8": "1",  # text is UTF-8, in other people's packages too
}


def main(words):
    """Do what the command line says; return what a program returns."""
    # What a task does, and the options that it takes.
    tasks = {
        "install": (install_all, []),
        "lab": (lab, ["DATA"]),
        "notebooks": (notebooks, []),
        "book": (book, []),
        "pdf": (pdf, ["PAGES"]),
        "run": (run_notebooks, ["ALL", "NOTEBOOKS", "DATA"]),
        "course-data": (course_data, []),
        "test": (test, ["ALL"]),
        "chapters": (chapters, ["NOTEBOOKS"]),
        "others": (others, ["NOTEBOOKS"]),
        "clean": (clean, []),
    }
    if not words or words[0] not in tasks:
        print(__doc__)
        return 0 if words in ([], ["help"]) else 2
    options = dict(word.split("=", 1) for word in words[1:] if is_option(word))
    rest = [word for word in words[1:] if not is_option(word)]
    task, known = tasks[words[0]]
    refuse_unknown(words[0], known, options, rest)
    options["ALL"] = options.get("ALL") == "1"
    os.environ.update(ENVIRONMENT)
    data = options.get("DATA") or os.environ.get("SEQUENCE_DATA")
    if data:
        os.environ["SEQUENCE_DATA"] = str(Path(data).expanduser().resolve())
    os.chdir(str(ROOT))
    try:
        task(options, rest)
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def is_option(word):
    """Whether a word has the form ``NAME=VALUE``."""
    name, sign, _ = word.partition("=")
    return bool(sign) and name.isidentifier() and name.isupper()


def refuse_unknown(task, known, options, words):
    """End with a line that says what was found and what was expected, if a task does not take it.

    What stands behind ``lab`` and ``test`` is JupyterLab's and pytest's, and theirs to refuse.
    """
    found = [name + "=" + value for name, value in options.items() if name not in known]
    expected = [name + "=..." for name in known]
    if task == "install":
        expected = list(INSTALLED)
        found += [word for word in words if word not in INSTALLED]
    elif task not in ("lab", "test"):
        found += words
    if found:
        sys.exit(f"found {found[0]} behind {task}; expected {' or '.join(expected) or 'nothing'}")
    if options.get("ALL", "") not in ("", "0", "1"):
        sys.exit(f"found ALL={options['ALL']} behind {task}; expected ALL=1 or ALL=0")


def run(*command, **more):
    """Run a program; raise CalledProcessError if it fails. What Ctrl-C means is for it to say."""
    process = subprocess.Popen([str(word) for word in command], env=dict(os.environ, **more))
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            pass
    if code:
        raise subprocess.CalledProcessError(code, command[0])


def python(*command, **more):
    """Run Python in the environment of the book."""
    run(BIN / "python", *command, **more)


# --- Installing -------------------------------------------------------------------------------


def install(*names):
    """Install what is missing, or older than the list of it."""
    for name in names or ("installed",):
        if name != "installed":
            install("installed")
        stamp = VENV / ("." + name)
        if is_newer(stamp, [ROOT / file for file in INSTALLED[name]]):
            continue
        if name == "installed":
            make_environment()
        print("Installing " + INSTALLED[name][0] + ", once; this takes some minutes", flush=True)
        alone = ["--no-deps"] if name == "baselines" else []
        python("-m", "pip", "install", "--quiet", *alone, "-r", INSTALLED[name][0])
        stamp.touch()


def make_environment():
    """Make .venv, unless it is there."""
    if (BIN / "python").exists() or (BIN / "python.exe").exists():
        return
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        found, first, last = (
            ".".join(map(str, version)) for version in (sys.version_info[:2], *PYTHONS)
        )
        sys.exit(
            f"found Python {found}; expected {first} to {last}. With one of these: "
            f"python{last} do.py ..., py -{last} do.py ... or make PYTHON=python{last}; "
            f"with uv: uv run --no-project --python {last} do.py ..."
        )
    venv.create(str(VENV), with_pip=True, symlinks=os.name != "nt")


def is_newer(target, sources):
    """Whether a file is there and no source has changed since."""
    return target.exists() and target.stat().st_mtime >= max(s.stat().st_mtime for s in sources)


# --- Tasks ------------------------------------------------------------------------------------


def install_all(options, names):
    """Install what the names stand for."""
    install(*names)
    for name in names:
        (VENV / ("." + name)).touch()  # make holds it against every list, and would ask again


def lab(options, words):
    """Open copies of the chapters in JupyterLab."""
    install()
    python("-m", "book.lab", *words)


def notebooks(options, words):
    """Write plain copies of the chapters."""
    install()
    python("-m", "book.lab", "--plain")


def book(options, words):
    """Build the site from the stored outputs, and a zip of it, if a page has changed."""
    install()
    sources = [path for path in (ROOT / "book").rglob("*") if path.suffix != ".pyc"]
    sources = [path for path in sources if path.is_file()]
    sources += [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "data" / "results").iterdir()]
    sources += [ROOT / name for name in ("_config.yml", "_toc.yml", "data/ledger.yaml")]
    # The evidence behind numbers is read from the code; a page includes what the bench printed.
    sources += [*(ROOT / "helpers").glob("*.py"), *(ROOT / "experiments").glob("*.py")]
    sources.append(ROOT / "experiments" / "bench.txt")
    index = SITE / "index.html"
    if not is_newer(index, sources):
        run(BIN / "jupyter-book", "build", ".", "-W", "-n", "--keep-going", "--quiet")
        index.touch()
    if not is_newer(ZIP, [index]):
        python(Path("book", "make_zip.py"), SITE, ZIP)
    print("Open {}, or send {} to someone".format(*(p.relative_to(ROOT) for p in (index, ZIP))))


def pdf(options, words):
    """Print the book into one PDF, or some pages of it into another."""
    install("pdf")
    book({}, [])
    pages = options.get("PAGES", "").split()
    python("-m", "book.make_pdf", SITE, PDF_OF_PAGES if pages else PDF, *pages)


def run_notebooks(options, words):
    """Execute notebooks whose outputs are stale."""
    install()
    chosen = options.get("NOTEBOOKS", "").split()
    python("-m", "book.execute", *(["--all"] if options["ALL"] or chosen else []), *chosen)


def course_data(options, words):
    """Fetch the report's own data, if the reader says yes."""
    install()
    python(Path("data", "fetch_course.py"))


def test(options, words):
    """Check code, site and grading on the sample; with words, give them to pytest alone."""
    install("testing", "baselines", *([] if os.name == "nt" else ["grading"]))
    sample = {"SEQUENCE_DATA": str(ROOT / "data" / "sample"), "PYTHONPATH": str(ROOT)}
    everything = ["--all"] if options["ALL"] or words else []
    book({}, [])
    if words:
        return python("-m", "pytest", *everything, *words, **sample)
    python("-m", "ruff", "check", ".")
    python("-m", "ruff", "format", "--check", ".")
    # Files in order of name: those with few tests take long, and would be left for the end.
    two = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    python("-m", "pytest", *two, *everything, "tests", **sample)
    if everything:
        chapters({}, [])
        others({}, [])


def chapters(options, words):
    """Run every chapter with its solutions on the sample."""
    install("testing")
    copies = Path("_build", "with_solutions")
    run_chapters(ROOT / "data" / "sample", copies, options.get("NOTEBOOKS", "").split())


def others(options, words):
    """Run every chapter on data with other names, lengths and numbers of classes."""
    install("testing")
    data = ROOT / "_build" / "other_data"
    python(Path("tests", "other_data.py"), data, PYTHONPATH=str(ROOT))
    run_chapters(data, Path("_build", "on_other_data"), options.get("NOTEBOOKS", "").split())


def run_chapters(data, copies, chapters=()):
    """Run copies of chapters, with expressions and solutions, as nbval does."""
    here = {"SEQUENCE_DATA": str(data), "PYTHONPATH": str(ROOT)}
    chapters = chapters or sorted(Path("notebooks").glob("*.ipynb"))
    python(Path("tests", "with_solutions.py"), copies, *chapters, **here)
    nbval = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=600")
    python("-m", "pytest", "-n", "2", "--dist", "loadfile", *nbval, copies, **here)


def clean(options, words):
    """Remove what was built."""
    built = ("_build", ".pytest_cache", ".ruff_cache", ".hypothesis", "test-artefacts")
    for folder in built:
        shutil.rmtree(str(ROOT / folder), ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
