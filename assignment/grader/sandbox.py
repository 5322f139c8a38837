"""A kernel of its own for one submission: limits, no way to the grader's files, answers as data.

What student code computes leaves it as JSON and arrays. Marks are given on this side, so code in
the kernel can spoil its own answers and nothing else.
"""

import base64
import ctypes
import io
import json
import os
import queue
import shutil
import site
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import numpy as np
import psutil
from jupyter_client import KernelManager

HERE = Path(__file__).resolve().parent
SUBREAPER = 36
PATIENCE = 3


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes
    ----------
    seconds : float
        Wall-clock time for all notebooks together.
    cell_seconds : float
        Processor time for one cell, so that a busy machine costs nobody points; three times that
        in wall-clock time.
    memory : int
        Bytes, of all its processes together.
    output : int
        Characters that one cell may print.
    """

    seconds: float = 300
    cell_seconds: float = 60
    memory: int = 4 << 30
    output: int = 200_000


class StudentError(Exception):
    """Student code raised, returned what cannot be read, or did not return."""

    def __init__(self, kind, message):
        self.kind, self.message = kind, message
        super().__init__(f"{kind}: {message}" if message else kind)


class OutOfTime(Exception):
    """The submission has used its wall-clock time."""


class KernelEnded(Exception):
    """The kernel is gone: it was killed for time or memory, or the code ended it."""


class Sandbox:
    """A working folder, and a kernel in it that can be started more than once.

    Parameters
    ----------
    files : dict
        ``{name: path or bytes}`` of what lies in the working folder.
    hidden : list of Path
        What student code must not be able to read; tried out before any student code runs.
    limits : Limits
    """

    def __init__(self, files, hidden=(), limits=None):
        self.limits = limits or Limits()
        self.files, self.hidden = files, [str(path) for path in hidden]
        self.protected = None

    def __enter__(self):
        """Make the working folder."""
        if sys.platform == "linux":  # what the kernel leaves behind becomes our child, to be ended
            ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
        self._folder = tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name).resolve()
        self.work = self.folder / "work"
        self.work.mkdir()
        for name, content in self.files.items():
            target = self.work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                target.write_bytes(content)
            else:
                shutil.copyfile(content, target)
        self.manager = self.client = None
        self.ends = time.monotonic() + self.limits.seconds
        return self

    def __exit__(self, *_):
        """End every process and remove the folder."""
        self.stop()
        self._folder.cleanup()

    # --- The kernel ---------------------------------------------------------------------------

    def start(self):
        """Start a fresh kernel; the one before, if any, is ended."""
        self.stop()
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        packages = [*site.getsitepackages(), sysconfig.get_paths()["purelib"]]
        packages = [path for path in dict.fromkeys(packages) if os.path.isdir(path)]
        system = ["/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/sys", "/System"]
        # Of /proc only what is its own: the environment of others can hold secrets.
        system += [f"/proc/{name}" for name in ("self", "cpuinfo", "meminfo", "stat", "sys")]
        settings = {
            "folder": str(self.work),
            "packages": packages,
            "readable": [*system, sys.base_prefix, sys.prefix, *packages, str(HERE / "kernel.py")],
            "writable": [str(self.folder), "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"],
            "limits": {
                "memory": self.limits.memory,
                "file_size": 1 << 28,
                "cpu_seconds": int(4 * self.limits.seconds),
            },
        }
        (self.folder / "settings.json").write_text(json.dumps(settings))
        self.manager = KernelManager(
            transport="ipc",
            ip=str(self.folder / "k"),
            connection_file=str(self.folder / "connection.json"),
        )
        command = [sys.executable, "-I", "-S", str(HERE / "kernel.py")]
        self.manager.kernel_spec.argv = [
            *command, str(self.folder / "settings.json"), "-f", "{connection_file}",
        ]  # fmt: skip
        with open(self.folder / "kernel.log", "wb") as log:
            self.manager.start_kernel(
                cwd=str(self.work), env=self._environment(home), stdout=log, stderr=log
            )
        self.client = self.manager.client()
        self.client.start_channels()
        try:
            self.client.wait_for_ready(timeout=min(60, self._left()))
        except RuntimeError as error:
            log = (self.folder / "kernel.log").read_text(errors="replace")[-2000:]
            self.stop()
            raise KernelEnded(f"the kernel did not start: {error}\n{log}") from None
        if self.protected is None:
            self.protected = not self.run(
                "import os\n"
                "def readable(path):\n"
                "    try:\n"
                "        return bool(os.listdir(path) if os.path.isdir(path) else open(path))\n"
                "    except OSError:\n"
                "        return False\n"
                "result = any([readable(path) for path in paths])",
                paths=self.hidden,
            )

    def _environment(self, home):
        """Build an environment that names neither this repository nor any secret of the shell."""
        keep = ("LANG", "LC_ALL", "PATH", "SYSTEMROOT", "OPENBLAS_NUM_THREADS")
        return {
            **{name: os.environ[name] for name in keep if name in os.environ},
            **dict.fromkeys(
                ("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR", "KERAS_HOME"), str(home)
            ),
            "GRADING": "1",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYDEVD_DISABLE_FILE_VALIDATION": "1",
            "KERAS_BACKEND": "tensorflow",
            "TF_NUM_INTRAOP_THREADS": "2",  # the same on every machine
            "TF_NUM_INTEROP_THREADS": "2",
        }

    def stop(self):
        """End the kernel and everything it started."""
        if self.manager is not None:
            if self.client is not None:
                self.client.stop_channels()
            self._kill()
            self.manager.cleanup_resources()
            self.manager = self.client = None

    def _kill(self):
        while processes := self._processes():
            for process in processes:
                try:
                    process.kill()
                    process.wait(timeout=5)
                except psutil.Error:
                    pass
            if all(p.status() == psutil.STATUS_ZOMBIE for p in self._processes()):
                break

    def _processes(self):
        # Every child of a grading process belongs to the one submission that it is grading.
        found = psutil.Process().children(recursive=True)
        return [p for p in found if not _is_tracker(p)]

    def _left(self):
        left = self.ends - time.monotonic()
        if left <= 0:
            raise OutOfTime
        return left

    # --- Running code -------------------------------------------------------------------------

    def execute(self, code, seconds=None):
        """Run one cell, for at most ``seconds`` of processor time (a cell's if not given).

        Returns
        -------
        outputs : list of nbformat outputs
        problem : str or None
            ``time`` if it was interrupted, ``output`` if it printed too much.

        Raises
        ------
        OutOfTime, KernelEnded
        """
        if self.manager is None:
            self.start()
        seconds = seconds or self.limits.cell_seconds
        ends = time.monotonic() + min(PATIENCE * seconds, self._left())
        allowed = self._usage()[1] + seconds
        message = self.client.execute(code, store_history=False, allow_stdin=False)
        outputs, printed, problem = [], 0, None
        while True:
            used = self._usage()
            if used[0] > self.limits.memory:
                self.stop()
                raise KernelEnded("memory")
            if time.monotonic() > ends or (not problem and used[1] > allowed):
                if problem:  # it was asked to stop and did not
                    self.stop()
                    raise KernelEnded(problem)
                problem, ends = "time", time.monotonic() + 5
                self.manager.interrupt_kernel()
            try:
                reply = self.client.get_iopub_msg(timeout=0.2)
            except queue.Empty:
                if not self.manager.is_alive():
                    self.stop()
                    raise KernelEnded("ended") from None
                continue
            if reply["parent_header"].get("msg_id") != message:
                continue
            kind, content = reply["msg_type"], reply["content"]
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind in ("stream", "display_data", "execute_result", "error"):
                printed += len(json.dumps(content))
                if printed > 20 * self.limits.output:  # pictures are long; an endless print longer
                    if problem is None:
                        problem, ends = "output", time.monotonic() + 5
                        self.manager.interrupt_kernel()
                    continue
                outputs.append(nbformat.v4.output_from_msg(reply))
        # `exit()` lets the cell end and the kernel with it, a moment later.
        self._reply(message)
        return outputs, problem

    def _reply(self, message):
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            try:
                reply = self.client.get_shell_msg(timeout=0.2)
            except queue.Empty:
                if not self.manager.is_alive():
                    break
                continue
            if reply["parent_header"].get("msg_id") == message:
                payload = reply["content"].get("payload", [])
                if any(item.get("source") == "ask_exit" for item in payload):
                    break
                return
        self.stop()
        raise KernelEnded("ended")

    def _usage(self):
        """Return memory in bytes and processor seconds, of the kernel and what it started."""
        memory = processor = 0
        for process in self._processes():
            try:
                memory += process.memory_info().rss
                processor += sum(process.cpu_times()[:2])
            except psutil.Error:
                continue
        return memory, processor

    def run(self, code, seconds=None, **inputs):
        """Run lines of the grader beside the student's functions and return their ``result``.

        Parameters
        ----------
        code : str
            Sees what the student defined, and ``inputs``. Holds no expected value.
        seconds : float, optional
            As in :meth:`execute`.
        inputs
            Arrays, numbers, text, None, and lists and dicts of these.

        Returns
        -------
        object
            What the code called ``result``.

        Raises
        ------
        StudentError
            If the code raised or ``result`` is none of the above.
        OutOfTime, KernelEnded
        """
        packed = json.dumps(_pack(inputs))
        outputs, problem = self.execute(_PROBE.format(code=code, inputs=packed), seconds)
        if problem == "time":
            limit = seconds or self.limits.cell_seconds
            raise StudentError("TimeoutError", f"no result within {limit:g} s")
        if problem:
            raise StudentError("OutputError", "it printed without end")
        for output in outputs:
            data = output.get("data", {}).get("application/x-grader+json")
            if data is not None:
                answer = data if isinstance(data, dict) else json.loads(data)
                if "error" in answer:
                    raise StudentError(*map(str, answer["error"]))
                try:
                    return _unpack(answer["result"])
                except (KeyError, TypeError, ValueError) as error:
                    raise StudentError("TypeError", f"unreadable result ({error})") from None
        errors = [output for output in outputs if output.output_type == "error"]
        if errors:
            raise StudentError(errors[0].ename, errors[0].evalue[:300])
        raise StudentError("RuntimeError", "the kernel gave no answer")

    def call(self, name, *args, **kwargs):
        """Call one of the student's functions; as :meth:`run` otherwise."""
        return self.run(f"result = {name}(*args, **kwargs)", args=list(args), kwargs=kwargs)


def _is_tracker(process):
    """Tell Python's own helper of multiprocessing from what a submission started."""
    try:
        return any("multiprocessing.resource_tracker" in word for word in process.cmdline())
    except psutil.Error:
        return False


# --- Values as JSON ---------------------------------------------------------------------------


def _pack(value):
    if isinstance(value, np.ndarray):
        buffer = io.BytesIO()
        np.save(buffer, value, allow_pickle=False)
        return {"array": base64.b64encode(buffer.getvalue()).decode()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"dict": [[_pack(k), _pack(v)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_pack(v) for v in value]}
    return value


def _unpack(value):
    if isinstance(value, dict):
        ((kind, inside),) = value.items()
        if kind == "array":
            return np.load(io.BytesIO(base64.b64decode(inside)), allow_pickle=False)
        if kind == "dict":
            return {_unpack(k): _unpack(v) for k, v in inside}
        return (tuple if kind == "tuple" else list)(_unpack(v) for v in inside)
    return value


# Runs in the kernel. Student code could replace any of it, and would only lose its own answers.
_PROBE = """
def __grader(inputs, code, theirs):
    import base64, io, json
    import numpy as np
    from IPython.display import publish_display_data

    def unpack(value):
        if isinstance(value, dict):
            ((kind, inside),) = value.items()
            if kind == "array":
                return np.load(io.BytesIO(base64.b64decode(inside)), allow_pickle=False)
            if kind == "dict":
                return {{unpack(k): unpack(v) for k, v in inside}}
            return (tuple if kind == "tuple" else list)(unpack(v) for v in inside)
        return value

    def pack(value):
        if hasattr(value, "numpy") and hasattr(value, "dtype"):
            value = value.numpy()
        if isinstance(value, np.ndarray):
            buffer = io.BytesIO()
            np.save(buffer, value, allow_pickle=False)
            return {{"array": base64.b64encode(buffer.getvalue()).decode()}}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            return {{"dict": [[pack(k), pack(v)] for k, v in value.items()]}}
        if isinstance(value, (list, tuple)):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {{kind: [pack(v) for v in value]}}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise TypeError(f"a result of type {{type(value).__name__}}")

    names = {{**theirs, **unpack(inputs)}}
    try:
        exec(code, names)
        answer = {{"result": pack(names["result"])}}
    except (Exception, SystemExit) as error:
        answer = {{"error": [type(error).__name__, str(error)[:300]]}}
    publish_display_data({{"application/x-grader+json": json.dumps(answer)}})


import json as __json
__grader(__json.loads({inputs!r}), {code!r}, dict(globals()))
"""
