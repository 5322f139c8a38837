"""Runs inside the sandbox: executes a student's cells and answers requests over two pipes.

Nothing that is expected of an answer is ever known here, so code that meddles with this process
spoils its own answers and nothing else. ``pack`` and ``unpack`` are used on both sides.
"""

import base64
import contextlib
import json
import numbers
import os
import shutil
import signal
import struct
import sys
from collections.abc import Mapping, Sequence, Set, ValuesView

PLAIN = (bool, int, float, str)
GIVEN = "/given"  # what was handed out, read-only


# --- Values as JSON ---------------------------------------------------------------------------


def pack(value):
    """Turn arrays, tensors, numbers, text and collections of them into what JSON can say.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    import numpy as np

    if value is None or type(value) in PLAIN:
        return value
    if not isinstance(value, np.ndarray | np.generic):
        for name in ("numpy", "to_numpy"):  # tensors; tables and columns
            if callable(getattr(value, name, None)):
                value = getattr(value, name)()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufcU":
            return {"list": [pack(item) for item in value.tolist()]}
        value = np.ascontiguousarray(value).reshape(value.shape)
        content = base64.b64encode(value.tobytes()).decode()
        return {"array": [value.dtype.str, list(value.shape), content]}
    if isinstance(value, np.generic):
        return pack(value.item())
    if isinstance(value, Mapping):
        return {"dict": [[pack(k), pack(v)] for k, v in value.items()]}
    if isinstance(value, PLAIN):  # of a class of their own
        return next(kind(value) for kind in PLAIN if isinstance(value, kind))
    if isinstance(value, tuple):
        return {"tuple": [pack(item) for item in value]}
    if isinstance(value, Sequence | Set | ValuesView) and not isinstance(value, bytes):
        return {"list": [pack(item) for item in value]}
    if isinstance(value, numbers.Real):
        return float(value)
    if hasattr(value, "__array__"):
        return pack(np.asarray(value))
    raise TypeError(f"a result of type {type(value).__name__}")


def unpack(value):
    """Turn back what :func:`pack` made.

    Raises
    ------
    ValueError
        If it made no such thing.
    """
    import numpy as np

    if not isinstance(value, dict):
        if value is None or type(value) in PLAIN:
            return value
        raise ValueError("no packed value")
    ((kind, inside),) = value.items()
    if kind == "array":
        name, shape, content = inside
        dtype = np.dtype(name)
        if dtype.kind not in "biufcU" or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("no packed array")
        return np.frombuffer(base64.b64decode(content), dtype).reshape(shape).copy()
    if kind == "dict":
        return {unpack(k): unpack(v) for k, v in inside}
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](map(unpack, inside))
    raise ValueError("no packed value")


# --- Inside -----------------------------------------------------------------------------------


class Stopped(BaseException):
    """The time or the output of a request is used up; no ``except Exception`` catches it."""


class Stream:
    """Standard output of a cell: text up to a limit."""

    encoding, errors = "utf-8", "replace"

    def __init__(self, runner):
        self.runner = runner

    def write(self, text):
        """Keep the text, or stop who prints without end."""
        self.runner.show({"kind": "text", "text": str(text)}, len(text))
        return len(text)

    def flush(self):
        """Do nothing."""

    def isatty(self):
        """Say that nobody reads along."""
        return False


class Runner:
    """Executes requests in one IPython shell, which is not a kernel and has no socket."""

    def __init__(self, limits):
        self.limits = limits
        self.outputs, self.printed, self.problem, self.marks = [], 0, None, {}
        self.shell = self._shell()
        for which in (signal.SIGPROF, signal.SIGALRM):
            signal.signal(which, self._time_is_up)

    def _shell(self):
        from IPython.core.displayhook import DisplayHook
        from IPython.core.displaypub import DisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        runner = self

        class Hook(DisplayHook):
            def write_output_prompt(self):
                pass

            def write_format_data(self, format_dict, md_dict=None):
                runner.show_data(format_dict)

            def finish_displayhook(self):
                pass

        class Publisher(DisplayPublisher):
            def publish(self, data, metadata=None, **_):
                runner.show_data(data)

            def clear_output(self, wait=False):
                runner.outputs.clear()

        class Shell(InteractiveShell):
            displayhook_class, display_pub_class = Hook, Publisher

            def ask_exit(self):
                pass  # `exit()` in a cell ends nothing here

            def _showtraceback(self, etype, evalue, stb):
                text = "\n".join(stb)[-4000:]
                what = {"name": etype.__name__, "text": text, "message": str(evalue)[:500]}
                runner.show({"kind": "error", **what}, 0)

        quiet = Config()
        quiet.HistoryManager.enabled = False
        quiet.InteractiveShell.colors = "NoColor"
        shell = Shell.instance(config=quiet)
        return shell

    def _time_is_up(self, *_):
        self.problem = "time"
        raise Stopped("time is up")

    def show(self, output, size):
        """Keep an output; stop the cell that prints without end."""
        if self.problem == "output":
            return
        self.printed += size + 20
        if self.printed > self.limits["output"]:
            self.problem = "output"
            raise Stopped("printed without end")
        last = self.outputs[-1] if self.outputs else {}
        if output["kind"] == last.get("kind") == "text":
            last["text"] += output["text"]
        else:
            self.outputs.append(output)

    def show_data(self, data):
        """Keep the picture of a displayed object, or else its text."""
        picture = data.get("image/png")
        if isinstance(picture, bytes):
            picture = base64.b64encode(picture).decode()
        if isinstance(picture, str):
            # Pictures are longer than text, so they count less.
            self.show({"kind": "picture", "png": picture.replace("\n", "")}, len(picture) // 20)
        elif data.get("text/plain") is not None:
            self.show({"kind": "text", "text": f"{data['text/plain']}\n"}, 0)

    @contextlib.contextmanager
    def limited(self, seconds):
        """Stop what runs inside after so many seconds of processor time, or ten times by clock."""
        self.outputs, self.printed, self.problem = [], 0, None
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, 10 * seconds)
        streams = sys.stdout, sys.stderr
        sys.stdout = sys.stderr = Stream(self)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            sys.stdout, sys.stderr = streams

    def cell(self, code, seconds, mark=None):
        """Execute a cell; a mark keeps the names as they are now, for the questions."""
        with contextlib.suppress(Stopped), self.limited(seconds):
            self.shell.run_cell(code, store_history=False)
        if mark:
            self.marks[mark] = dict(self.shell.user_ns)
        return {"outputs": self.outputs, "problem": self.problem}

    def ask(self, code, inputs, seconds, mark=None):
        """Run lines of a question beside the student's names; return its ``result``, packed."""
        names = self.shell.user_ns
        if mark in self.marks:
            names.clear()
            names.update(self.marks[mark])
        try:
            with self.limited(seconds):
                local = {**names, **unpack(inputs)}
                exec(code, local)
                return {"result": pack(local["result"])}
        except Stopped:
            return {"error": [["TimeoutError" if self.problem == "time" else "OutputError"], ""]}
        except BaseException as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return {"error": [kinds, str(error)[:2000]]}


def limit(memory, file_size, processor):
    """Limit this process and what it starts: bytes, bytes of a file, seconds."""
    import resource

    for name, value in (
        ("AS", resource.RLIM_INFINITY),
        ("DATA", memory),
        ("FSIZE", file_size),
        ("CPU", processor),
        ("CORE", 0),
        ("NPROC", 256),
        ("NOFILE", 512),
        ("MSGQUEUE", 0),
        ("SIGPENDING", 256),
    ):
        which = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY and not 0 <= value <= hard:
            value = hard
        resource.setrlimit(which, (value, value))


def main():
    """Serve requests until the pipe is closed."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)

    def receive():
        size = requests.read(4)
        if len(size) < 4:
            raise SystemExit
        return json.loads(requests.read(*struct.unpack(">I", size)))

    def send(answer):
        try:
            content = json.dumps(answer).encode()
        except Exception as error:  # a key of a student's own class, half a character
            content = json.dumps({"error": [[type(error).__name__], "unreadable"]}).encode()
        answers.write(struct.pack(">I", len(content)) + content)
        answers.flush()

    settings = receive()
    limit(**settings["resources"])
    sys.path[:] = [os.getcwd(), *sys.path, *settings["packages"]]
    shutil.copytree(GIVEN, ".", dirs_exist_ok=True, copy_function=shutil.copyfile)
    for name, content in settings["files"].items():
        with open(name, "wb") as file:
            file.write(base64.b64decode(content))
    runner = Runner(settings["limits"])
    send({"ready": True})
    while True:
        request = receive()
        do, number = request.pop("do"), request.pop("number")
        try:
            answer = getattr(runner, do)(**request)
        except BaseException as error:  # whatever student code has left behind
            answer = {"error": [[type(error).__name__], str(error)[:300]], "outputs": []}
        send({**answer, "number": number})


if __name__ == "__main__":
    main()
