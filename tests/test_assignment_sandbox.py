"""The sandbox, and a hostile class in it: all of it as an ordinary user, also where CI is root."""

import csv
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from assignment.grader import sandbox
from assignment.grader.sandbox import Ended, Limits, NoSandbox, OutOfTime, Sandbox, StudentError

ROOT = Path(__file__).resolve().parent.parent
NAME = "sequence-learning"
SOURCE = ROOT / "assignment" / "source" / NAME
ONE, TWO = "1_from_files_to_gradients", "2_training_and_judging"
# The short assignment: a class can be graded in the time of one student of the long one.
SHORT, MASKS = "masks-and-padding", "masks_and_padding"
AS_ROOT = os.geteuid() == 0


def reason():
    """Say why the sandbox cannot be tried, or nothing."""
    if AS_ROOT:
        return "grading refuses root: test_everything_here_as_an_ordinary_user runs it"
    try:
        sandbox.probe()
    except NoSandbox as error:
        return None if os.environ.get("CI") else f"no sandbox: {error}"
    return None


WHY_NOT = reason()
needs_sandbox = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.mark.skipif(not AS_ROOT, reason="this is an ordinary user already")
def test_everything_here_as_an_ordinary_user(request):
    if not shutil.which("bwrap"):
        pytest.skip("found no bubblewrap: apt-get install bubblewrap")
    pytest_again = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", __file__]
    if request.config.getoption("--all"):
        pytest_again.append("--all")
    done = subprocess.run(
        ["sh", ROOT / "tests" / "as_user.sh", ROOT, *pytest_again],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    if "unshare failed" in done.stderr:
        pytest.skip(f"root may not make a mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "no sandbox" not in done.stdout, done.stdout


# --- Refusals ---------------------------------------------------------------------------------


def test_root_is_refused(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NoSandbox, match="does not run as root: log in as an ordinary user"):
        sandbox.probe()


def test_a_missing_sandbox_says_what_to_install(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoSandbox, match="apt-get install bubblewrap libseccomp2"):
        sandbox.probe()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(NoSandbox, match="found darwin; grading needs Linux"):
        sandbox.probe()


@needs_sandbox
def test_a_forbidden_sandbox_says_which_setting(monkeypatch):
    refusing = lambda *a: ["--bind", "/not-there", "/not-there"]  # noqa: E731
    monkeypatch.setattr(sandbox, "arguments", refusing)
    with pytest.raises(NoSandbox) as error:
        sandbox.probe()
    for words in ("It says: bwrap: ", "Ubuntu 24.04: ", "Docker: ", "JupyterHub in pods: "):
        assert words in str(error.value)


# --- Attacks on the sandbox -------------------------------------------------------------------


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    given = tmp_path_factory.mktemp("given")
    (given / "given.txt").write_text("hello", encoding="utf-8")
    os.environ["SECRET_OF_THE_GRADER"] = "hunter2"
    limits = Limits(seconds=200, cell_seconds=3, memory=1 << 30, disk=64 << 20)
    with Sandbox(given, {"mine.json": b"[1]"}, limits) as made:
        yield made
    del os.environ["SECRET_OF_THE_GRADER"]


CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def refused(number, *arguments):
    done = libc.syscall(number, *(ctypes.c_long(a) for a in arguments))
    return done == -1 and ctypes.get_errno() in (1, 28, 38)
"""
# Each is an expression that is true if the attack failed, or code that must raise OSError.
HOLDS = {
    "no network": "open('/proc/net/dev').read().count(':') == 1",
    "no other process": "len([p for p in os.listdir('/proc') if p.isdigit()]) <= 3",
    "no environment of the grader": "b'hunter2' not in open('/proc/1/environ', 'rb').read()",
    "no environment of its own": "'SECRET_OF_THE_GRADER' not in os.environ",
    "no arguments of bwrap": "b'given' not in open('/proc/1/cmdline', 'rb').read()",
    "no home of anyone": "not os.path.exists('/home') and not os.path.exists('/root/.ssh')",
    "no passwords": "not os.path.exists('/etc/shadow') and not os.path.exists('/etc/passwd')",
    "no repository": f"not os.path.exists({str(ROOT / 'assignment')!r})",
    "no helpers": "importlib.util.find_spec('helpers') is None",
    "no devices": "not [d for d in os.listdir('/dev') if d.startswith(('sd', 'vd', 'mem', 'kvm'))]",
    "no host disk": "not os.path.exists('/sys')",
    "no terminal": "not os.isatty(0) and os.getsid(0) != 0",
    "no capabilities": "'CapEff:\\t0000000000000000' in open('/proc/self/status').read()",
    "no way back to privileges": "'NoNewPrivs:\\t1' in open('/proc/self/status').read()",
    "memfd": f"{CALL}refused(319, 0, 0) and refused(447, 0)",
    "System V memory": f"{CALL}refused(29, 0, 4096, 0o1600)",
    "message queues": f"{CALL}refused(68, 0, 0o1600) and refused(240, 0, 0, 0, 0)",
    "ptrace": f"{CALL}refused(101, 16, 1, 0, 0) and refused(310, 1, 0, 0, 0, 0, 0)",
    "bpf, keys, io_uring": f"{CALL}refused(321, 0, 0, 0) and refused(250, 0, 0) and refused(425, 1, 0)",
    "perf and userfaultfd": f"{CALL}refused(298, 0, 0, 0, 0, 0) and refused(323, 0)",
    "a user namespace": f"{CALL}refused(272, 0x10000000) and refused(56, 0x10000011, 0, 0, 0, 0)",
    "clone3": f"{CALL}refused(435, 0, 88)",
    "another namespace": f"{CALL}refused(308, 0, 0)",
    "mount": f"{CALL}refused(165, 0, 0, 0, 0, 0) and refused(429, 0, 0, 0, 0) and refused(166, 0, 0)",
    "chroot": f"{CALL}refused(161, 0)",
    "file handles": f"{CALL}refused(303, 0, 0, 0, 0, 0) and refused(304, 0, 0, 0)",
    "32-bit calls": "subprocess.run(['/usr/bin/env', 'true']).returncode == 0",
}
RAISES = {
    "TCP": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "UDP": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
    "raw sockets": "socket.socket(socket.AF_INET, socket.SOCK_RAW)",
    "socket files": "socket.socket(socket.AF_UNIX)",
    "socket pairs": "socket.socketpair()",
    "what was given": "open('/given/given.txt', 'w')",
    "the runner": "open('/runner.py', 'a')",
    "packages": "open('/packages/0/numpy/__init__.py', 'a')",
    "the system": "open('/usr/bin/x', 'w')",
    "the root": "os.mkdir('/new')",
    "the devices' folder": "open('/dev/x', 'w')",
    "devices": "os.mknod('/tmp/work/zero', 0o20666, os.makedev(1, 5))",
    "root by setuid": "os.setuid(0)",
    "the kernel's settings": "open('/proc/sys/kernel/hostname', 'w').write('x')",
    "a disk that fills": "open('big', 'wb').write(bytes(65 << 20))",
    "a disk of many files": "[open(f'/dev/shm/{i}', 'wb').write(bytes(30 << 20)) for i in range(9)]",
    "its own limits": "resource.setrlimit(resource.RLIMIT_NPROC, (10**6, 10**6))",
    "fork bomb": "[os.fork() or time.sleep(9) for _ in range(400)]",
    "open files": "[os.pipe() for _ in range(1000)]",
    "a link out": "os.symlink('/given/given.txt', 'l'), open('l', 'w')",
}
IMPORTS = "import importlib.util, os, resource, socket, subprocess, time"


@needs_sandbox
@pytest.mark.parametrize("what", HOLDS)
def test_there_is(box, what):
    if CALL in HOLDS[what] and os.uname().machine != "x86_64":
        pytest.skip("numbers of system calls of x86_64")
    *before, last = HOLDS[what].rsplit("\n", 1)
    outputs, problem = box.execute(f"{IMPORTS}\n{''.join(before)}\n{last}")
    assert problem is None and outputs == [{"kind": "text", "text": "True\n"}], outputs


@needs_sandbox
@pytest.mark.parametrize("what", RAISES)
def test_no_one_reaches(box, what):
    outputs, _ = box.execute(
        f"{IMPORTS}\ntry:\n    {RAISES[what]}\n    print('reached')\n"
        "except (OSError, ValueError) as error:\n    print('refused')"
    )
    assert outputs[-1]["text"].splitlines()[-1] == "refused", outputs
    box.stop()


@needs_sandbox
def test_limits_hold_whatever_the_code_does(box):
    stubborn = "import signal, time\nsignal.signal(signal.SIGPROF, signal.SIG_IGN)\n"
    with pytest.raises(Ended, match="time"):
        box.execute(f"{stubborn}while True:\n    pass")
    with pytest.raises(StudentError, match="TimeoutError"):
        box.run("while True: pass", 1)
    _, problem = box.execute(
        "while True:\n    try:\n        while True: pass\n    finally:\n        break"
    )
    assert problem == "time"
    _, problem = box.execute("while True: print('x' * 1000)")
    assert problem == "output"
    box.execute("import mmap, os, time\ndef double(x): return 2 * x")
    assert box.run("result = double(4)") == 8  # it lives on
    shared = "m = mmap.mmap(-1, 2 << 30)\nfor i in range(0, 2 << 30, 4096): m[i] = 1\ntime.sleep(9)"
    with pytest.raises(Ended, match="memory"):
        box.execute(f"import mmap, time\n{shared}")
    outputs, _ = box.execute("hog = bytearray(2 << 30)")
    assert outputs[0]["name"] == "MemoryError"
    forks = "import os, time\nif os.fork():\n    x = b'1' * (600 << 20)\nelse:\n    x = b'2' * (600 << 20)\ntime.sleep(9)"
    with pytest.raises(Ended, match="memory"):
        box.execute(forks)
    for code in (
        "os._exit(1)",
        "os.kill(os.getpid(), 9)",
        "os.closerange(3, 99)",
    ):
        with pytest.raises(Ended):
            box.execute(f"import os\n{code}")
            box.execute("1")
    with Sandbox(box.given, limits=Limits(seconds=1)) as short, pytest.raises(OutOfTime):
        short.execute("while True: pass")


@needs_sandbox
def test_a_sandbox_takes_everything_along_when_it_ends(box):
    import psutil

    box.execute("import subprocess\nsubprocess.Popen(['sleep', '987'], start_new_session=True)")
    asleep = lambda: [  # noqa: E731
        p for p in psutil.process_iter(["cmdline"]) if "987" in (p.info["cmdline"] or ())
    ]
    assert asleep()
    box.stop()
    _, alive = psutil.wait_procs(asleep(), timeout=60)  # the system takes a moment
    assert not alive


@needs_sandbox
def test_what_arrives_is_data_or_nothing(box):
    evil = "class Evil:\n    def __reduce__(self): return (print, ('evil',))\nimport numpy as np\n"
    box.execute(evil)
    for code in ("result = Evil()", "result = [Evil()]", "result = {1: Evil()}", "result = print"):
        with pytest.raises(StudentError):
            box.run(code)
    nested = "result = []\nfor _ in range(50000): result = [result]"
    with pytest.raises(StudentError):
        box.run(nested)
    say = "import os, struct\ndef say(b):\n    for fd in range(3, 9):\n        try: os.write(fd, b)\n        except OSError: pass\n"
    for content in (
        struct.pack(">I", 2**32 - 1),
        struct.pack(">I", 9) + b"not json!",
        struct.pack(">I", 2) + b"[]",
        b"\0\0\0\x0f" + b'{"result": 7.0}',
        struct.pack(">I", 40000) + b"[" * 40000,
    ):
        with pytest.raises(Ended):
            box.execute(f"{say}say({content!r})")
            box.run("result = 1")
    # An answer to a question that is not asked yet, of a type that would be unsafe to read.
    forged = {"result": {"array": ["|O", [1], "AAAA"]}, "number": box.number + 2}
    text = json.dumps(forged).encode()
    with pytest.raises((Ended, StudentError)):
        box.execute(f"{say}say({struct.pack('>I', len(text)) + text!r})")
        box.run("result = 1")


# --- A hostile class --------------------------------------------------------------------------


def notebook(source=SOURCE.parent / SHORT, name=MASKS):
    return json.loads((source / f"{name}.ipynb").read_text(encoding="utf-8"))


def named(book, name):
    return next(
        c for c in book["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name
    )


def code(source):
    return {
        "cell_type": "code",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


def prose(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def blank(release, *cells, first=True):
    book = notebook(release)
    book["cells"][2:2] = cells if first else []
    book["cells"] += [] if first else cells
    return book


FORGER = """
class Points:
    def __repr__(self): return "7.0"
    def _repr_png_(self): return b"x"
    def __eq__(self, other): return True
    def __float__(self): return 7.0
    def __array__(self, *a, **k): raise SystemExit
import sys
ip = get_ipython()
ip.events.register("post_run_cell", lambda r: ip.display_pub.publish({"text/plain": "7.0"}))
sys.displayhook(Points())
for f in "mask_from masked_mean last_state masked_loss wasted".split():
    globals()[f] = lambda *a, **k: Points()
print("[grader] 3 of 3 points", "Total 100")
"""
SPY = """
import builtins, sys
seen, old = [], builtins.exec
def spy(code, names=None, *rest):
    seen.append(str(code)[:2000]); sys.stdout.write("SPIED" + str(names)[:500])
    return old(code, names, *rest) if names is not None else old(code)
builtins.exec = spy
def wasted(lengths, size): raise ValueError("SPIED" + str(seen) + str(lengths))
"""
SCRIPTS = """<script>alert(1)</script><img src=x onerror=alert(1)><iframe src="//evil.example">
</section></section><h1>Total 100</h1><svg onload=alert(1)><math><mtext><style><img src=x onerror=alert(1)>
[a](javascript:alert(1)) ![b](https://evil.example/t.png) ![c](attachment:lost.png)
$\\href{javascript:alert(1)}{x}$ $x^2$ <form action="//evil.example"><input></form>
<meta http-equiv="refresh" content="0;url=//evil.example"><style>*{display:none}</style>
<section class="grader"><strong>Part 1.1: 7 of 7 points</strong></section>"""


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files, kind="w:gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                content = b""
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def hand_in(course):
    """Put a hostile class in place; return what each still deserves."""
    folder = course / "assignment" / "submitted"
    release = course / "assignment" / "release" / SHORT
    good = json.dumps(notebook())

    def put(student, content, name=f"{MASKS}.ipynb", points=18):
        path = folder / os.fsencode(student).decode("utf-8", "surrogateescape")
        path.mkdir(parents=True, exist_ok=True)
        content = json.dumps(content) if isinstance(content, dict) else content
        content = (
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        )
        (path / name).write_bytes(content)
        expected[student] = points

    expected = {}
    put("forger", blank(release, code(FORGER)), points=0)
    put("spy", blank(release, code(SPY), first=False), points=0)
    put("scripts", blank(release, prose(SCRIPTS), code(f"print({SCRIPTS!r})")), points=0)
    half = notebook()
    half["cells"].append(prose("half \ud83d"))
    half["cells"].append(code("print('\\ud83d')"))
    put("half an emoji", json.dumps(half))
    odd = notebook()
    odd["cells"][0]["metadata"] = {"nbgrader": {"grade_id": ["a", {}]}}
    odd["cells"] += [7, None, {"cell_type": ["code"], "source": {"a": 1}, "metadata": []}]
    put("metadata", odd)
    put("20000 cells", {"cells": [code("1")] * 20_000}, points=0)
    put("deep", "[" * 100_000, points=0)
    put("=cmd|' C calc'!A0", good)
    put("<img src=x onerror=alert(1)>", good)
    lost = notebook()
    for cell in lost["cells"]:
        cell["metadata"] = {}
    put("lost metadata", lost)
    bad = notebook()
    named(bad, "answer_wasted")["source"] += "\nexit()\nwhile True:\n    pass"
    abort = "def last_state(*a):\n    import os; os.abort()"
    named(bad, "answer_last_state")["source"] = abort
    bad["cells"] = [c for c in bad["cells"] if c is not named(bad, "answer_masked_mean")]
    put("several", bad, points=18 - 4 - 4)
    noise = notebook()
    noise["cells"] += [code("print('x' * 90_000)")] * 300
    put("noise", noise)
    (folder / "link.zip").write_bytes(tarred({f"{MASKS}.ipynb": None}))
    (folder / "tar.tar.gz").write_bytes(
        tarred({f"a/{MASKS}.ipynb": good.encode(), "b.ipynb": None})
    )
    (folder / "bomb.zip").write_bytes(zipped({f"{MASKS}.ipynb": bytes(200_000_000)}))
    (folder / "out.zip").write_bytes(
        zipped(
            {
                f"../../../{MASKS}.ipynb": "{}",
                f"x/{MASKS}.ipynb": good,
                "timestamp.txt": "1999-01-01",
            }
        )
    )
    (folder / "broken.zip").write_bytes(b"PK\x03\x04 not a zip")
    (folder / "empty").mkdir()
    (folder / "stray.txt").write_text("?", encoding="utf-8")
    expected |= {"link": 0, "tar": 18, "bomb": 0, "out": 18, "broken": 0, "empty": 0}
    (folder / "linked").symlink_to(folder / "lost metadata")
    expected["linked"] = 18
    # Two days late, by what collecting wrote; and a group of two, one of whom handed in.
    (folder / "tardy").mkdir()
    (folder / "tardy" / f"{MASKS}.ipynb").write_text(good, encoding="utf-8")
    (folder / "tardy" / "timestamp.txt").write_text("2026-12-06T12:00:00+00:00", encoding="utf-8")
    due = f"[{SHORT}]\ndue = 2026-12-04T23:59:00Z\nper_day = 10\n"
    (course / "assignment" / "course.toml").write_text(due, encoding="utf-8")
    pair = "group,members\n1,half an emoji; partner\n"
    (course / "assignment" / "groups.csv").write_text(pair, encoding="utf-8")
    expected |= {"tardy": 18 * 0.8, "partner": 18}
    not_utf8 = os.fsencode(folder) + b"/na\xefve"
    os.mkdir(not_utf8)
    Path(os.fsdecode(not_utf8), f"{MASKS}.ipynb").write_text(good, encoding="utf-8")
    expected["na?ve"] = 18
    return expected


def make(course, *words, status=0):
    environment = {k: v for k, v in os.environ.items() if k != "SEQUENCE_DATA"}
    done = subprocess.run(
        ["make", *words, "-o", ".venv/.installed", "-o", ".venv/.grading"],
        cwd=course,
        env=environment,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """Hand out in a copy of the repository."""
    course = tmp_path_factory.mktemp("course") / "repository"
    wanted = (
        "assignment/source",
        "assignment/grader",
        "assignment/week",
        "assignment/classroom",
        "assignment/nbgrader_config.py",
    )
    wanted += ("helpers", "data/sample", "data/manifest.json", "Makefile", "requirements.txt")
    wanted += ("requirements-grading.txt", "pyproject.toml")
    extra = [path.relative_to(ROOT) for path in ROOT.glob("requirements*.txt")]
    for name in {*map(Path, wanted), *extra}:
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__", "data", "models")
            shutil.copytree(
                ROOT / name, course / name, ignore=skip if "source" in str(name) else None
            )
        elif (ROOT / name).exists():
            shutil.copyfile(ROOT / name, course / name)
    (course / ".venv").symlink_to(Path(sys.executable).parent.parent)
    make(course, "assignment")
    return course


def hand_in_three(course):
    """Put in place the release, the solution, and runs that nobody trained."""
    submitted = course / "assignment" / "submitted"
    for student, source in (("blank", course / "assignment" / "release" / NAME), ("model", SOURCE)):
        (submitted / student).mkdir(parents=True)
        for name in (ONE, TWO):
            shutil.copyfile(source / f"{name}.ipynb", submitted / student / f"{name}.ipynb")
    shutil.copyfile(SOURCE / "solution" / "runs.json", submitted / "model" / "runs (1).json")
    (submitted / "invented").mkdir()
    shutil.copyfile(SOURCE / f"{TWO}.ipynb", submitted / "invented" / f"{TWO}.ipynb")
    runs = json.loads((SOURCE / "solution" / "runs.json").read_text(encoding="utf-8"))
    for k, run in enumerate(runs):
        run["losses"] = [1.5 - 0.02 * i - 0.001 * k for i in range(len(run["losses"]))]
    (submitted / "invented" / "runs.json").write_text(json.dumps(runs), encoding="utf-8")


def table(course, name):
    with open(course / f"assignment/grades/{name}.csv", encoding="utf-8-sig") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def graded(course):
    hand_in_three(course)
    said = make(course, "grade")
    sheet = course / "assignment" / "by_hand" / NAME / "sheet.csv"
    with open(sheet, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["student"] == "model":
            row |= {"essay_curves": "4", "essay_choice": "5", "essay_confusion": "5,0"}
            row["essay_curves_comment"] = "Good."
    with open(sheet, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    said += make(course, "feedback")
    return {"said": said, "rows": table(course, NAME)}


@pytest.fixture(scope="module")
def hostile(course, graded):
    expected = hand_in(course)
    said = make(course, "grade", f"NAME={SHORT}", "SECONDS=20")
    said += make(course, "feedback", f"NAME={SHORT}")
    return {"expected": expected, "said": said, "rows": table(course, SHORT)}


@needs_sandbox
def test_the_solution_gets_100_and_the_release_0(graded):
    rows = graded["rows"]
    assert float(rows["model"]["total"]) == 100 and float(rows["blank"]["total"]) == 0
    assert rows["blank"]["messages"] == ""
    assert rows["model"]["messages"] == "runs (1).json was taken for runs.json"
    assert "NOT GRADED" not in graded["said"] and "Traceback" not in graded["said"]


@needs_sandbox
def test_runs_that_nobody_trained_get_no_point(graded):
    assert float(graded["rows"]["invented"]["2.6"]) == 0
    assert float(graded["rows"]["invented"]["automatic"]) == 34 - 7


@needs_sandbox
def test_every_visible_check_of_the_solution_passes(course, graded):
    assert not re.search("(Assertion|Name|Type|Key)Error", feedback(course, "model", NAME))


@needs_sandbox
def test_everyone_in_a_hostile_class_has_a_row_with_what_it_deserves(hostile):
    rows = hostile["rows"]
    found = {
        row.replace("'", "", row.startswith("'")): float(r["total"]) for row, r in rows.items()
    }
    expected = {
        re.sub("^=", "_", student): points for student, points in hostile["expected"].items()
    }
    assert {student: found.get(student) for student in expected} == expected
    for student, words in {
        "lost metadata": "recognised by the names of their functions",
        "several": "the cell answer_masked_mean was missing",
        "20000 cells": "it has 20000 cells, expected at most",
        "deep": "it is not JSON",
        "bomb": "bomb.zip cannot be read: it holds more than 30 MB",
        "broken": "broken.zip cannot be read",
        "empty": f"{MASKS}.ipynb was not handed in",
        "tardy": "2 days late: 20% taken off",
        "partner": "handed in by half an emoji for half an emoji, partner",
        "out": "when it was handed in is not known; nothing was taken off",
    }.items():
        assert words in rows[student]["messages"], (student, rows[student]["messages"])
    assert "stray.txt: not used, no folder, archive or notebook" in hostile["said"]
    assert "NOT GRADED" not in hostile["said"] and "Traceback" not in hostile["said"]


def feedback(course, student, name=SHORT):
    pages = sorted((course / "assignment/feedback" / student / name).glob("*.html"))
    return "".join(page.read_text(encoding="utf-8") for page in pages)


@needs_sandbox
def test_no_page_carries_a_script_a_link_or_another_host(course, hostile):
    from bs4 import BeautifulSoup

    allowed = {"class", "data-total", "alt", "src", "charset", "content", "name", "http-equiv"}
    allowed |= {"lang", "display", "mathvariant", "stretchy", "columnalign", "xmlns", "fence"}
    for student in [path.name for path in (course / "assignment/feedback").iterdir()]:
        page = feedback(course, student)
        assert len(page) < 3_000_000, student
        soup = BeautifulSoup(page, "html.parser")
        tags = {tag.name for tag in soup.find_all(True)}
        assert not tags & {
            "script",
            "iframe",
            "form",
            "input",
            "svg",
            "a",
            "object",
            "link",
            "base",
        }
        assert {name for tag in soup.find_all(True) for name in tag.attrs} <= allowed
        assert all(i["src"].startswith("data:image/png;base64,") for i in soup.find_all("img"))
        assert len(soup.find_all("style")) == page.count("default-src 'none'; img-src data:") == 1
        for verdict in soup.select(".grader"):  # a student's text stands in frames of its own
            assert verdict.parent.name == "body"
    words = BeautifulSoup(feedback(course, "scripts"), "html.parser")
    assert not words.select(".student .grader, .student h1, .student section")
    assert "<math" in feedback(course, "scripts")
    assert "Good." in feedback(course, "model", NAME)


@needs_sandbox
def test_no_hidden_question_or_input_is_on_a_page(course, hostile):
    page = feedback(course, "spy")
    for secret in ("masked_loss(*args)", "warnings.catch_warnings(record", "result ="):
        assert secret not in page
    assert "Part 1.5: 0 of 3 points" in page


@pytest.mark.slow
@needs_sandbox
def test_only_what_is_new_is_graded_again_and_edits_by_hand_are_checked(course, graded):
    said = make(course, "grade", "STUDENT=blank")
    assert "1 submissions, 0 to grade" in said
    sheet = course / "assignment" / "by_hand" / NAME / "sheet.csv"
    before = sheet.read_text(encoding="utf-8-sig")
    for old, new, words in (
        ("model,4,", "model,9,", "model, essay_curves: found '9'; expected 0 to 4"),
        ("model,", "modle,", "found 'modle', who has handed in nothing; did you mean model?"),
    ):
        sheet.write_text(before.replace(old, new), encoding="utf-8")
        assert words in make(course, "feedback", status=2)
    sheet.write_text(before, encoding="utf-8")
    other = sheet.with_name("anna.csv")
    other.write_text("student,essay_curves\nmodel,3\n", encoding="utf-8")
    # In another text: it was marked, and has changed since.
    kept = course / "assignment/autograded/model" / NAME / "result.json"
    row = json.loads(kept.read_text(encoding="utf-8"))
    row["essays"]["essay_choice"] += " More."
    kept.write_text(json.dumps(row), encoding="utf-8")
    said = make(course, "feedback")
    assert "look at: model, essay_curves: graders differ: 4 in sheet.csv, 3 in anna.csv" in said
    assert "look at: model, essay_choice: the text has changed since it was marked" in said
    assert table(course, NAME)["model"]["waits_for"] == "essay_curves essay_choice"


WORKFLOW = ROOT / "assignment" / "classroom" / "classroom.yml"


@needs_sandbox
def test_github_classroom_grades_a_repository(course, tmp_path):
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = workflow["jobs"]["grade"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used and all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)
    book = notebook()
    named(book, "answer_wasted")["source"] = "def wasted(lengths, size):\n    return 0"
    (tmp_path / f"{MASKS}.ipynb").write_text(json.dumps(book), encoding="utf-8")
    command = next(step["run"] for step in steps if step.get("name") == "Grade").split()
    summary = tmp_path / "summary.md"
    about = {"SUBMISSION": str(tmp_path), "ASSIGNMENT": SHORT, "GITHUB_ACTIONS": "true"}
    done = subprocess.run(
        [sys.executable, *command[1:], "-p", "no:cacheprovider"],
        cwd=course,
        env={**os.environ, **about, "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 1 and "1 failed, 4 passed" in done.stdout, done.stdout[-3000:]
    assert "| 1.5 | 0 | 3 |" in summary.read_text(encoding="utf-8")
    assert "title=Autograding complete::Points 15/18" in done.stdout


@needs_sandbox
def test_the_sandbox_starts_soon(tmp_path):
    with Sandbox(tmp_path) as made:
        made.start()
        before = time.process_time()
        made.start()
        # By the processor, so that a busy machine does not matter; half a second by the clock.
        assert time.process_time() - before + made.used() < 0.5
