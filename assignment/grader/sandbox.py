"""A place for one submission that nothing leaves but data: bubblewrap, and a runner in it.

No network, no other process, a read-only system, a small disk in memory, no host path that can be
written. Marks are given on this side, from answers that arrive as JSON over a pipe.
"""

import base64
import contextlib
import functools
import json
import os
import re
import selectors
import shutil
import site
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from assignment.grader.runner import pack, unpack

RUNNER = Path(__file__).resolve().parent / "runner.py"
OLDEST = (0, 8)  # the first bubblewrap with --disable-userns and --size
# Calls that reach memory no limit counts, other processes, the kernel's less tested parts, or a
# network. NumPy, TensorFlow and matplotlib need none of them.
DENIED = """
    memfd_create memfd_secret shmget shmat shmctl msgget msgsnd msgrcv msgctl semget semop
    semtimedop semctl mq_open mq_unlink socket socketpair ptrace process_vm_readv
    process_vm_writev kcmp pidfd_getfd process_madvise bpf perf_event_open keyctl add_key
    request_key io_uring_setup io_uring_enter io_uring_register userfaultfd unshare setns mount
    umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr
    name_to_handle_at open_by_handle_at fanotify_init personality quotactl swapon swapoff reboot
    kexec_load kexec_file_load init_module finit_module delete_module acct syslog mknod mknodat
    vmsplice landlock_create_ruleset seccomp
""".split()
ADVICE = {
    "root": "grading does not run as root: log in as an ordinary user",
    "system": (
        "found {system}; grading needs Linux. On macOS and Windows use a Linux virtual machine "
        "(Lima, WSL 2) or a Linux server"
    ),
    "missing": (
        "found no {what}; expected it installed. Debian, Ubuntu: "
        "sudo apt-get install bubblewrap libseccomp2"
    ),
    "old": "found bubblewrap {found}; expected 0.8 or newer (Debian 12, Ubuntu 24.04)",
    "forbidden": (
        "bubblewrap cannot build the sandbox here. It says: {said}\n"
        "  Ubuntu 24.04: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an "
        "AppArmor profile that gives bwrap `userns`\n"
        "  Debian: sudo sysctl kernel.unprivileged_userns_clone=1\n"
        "  Docker: run --user 1000 --security-opt seccomp=unconfined --security-opt "
        "apparmor=unconfined --security-opt systempaths=unconfined\n"
        "  JupyterHub in pods: seccompProfile Unconfined and procMount Unmasked, or grade on "
        "another machine"
    ),
}


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes
    ----------
    seconds : float
        Processor time of the whole submission, so that a busy machine costs nobody points; by the
        clock, four times that.
    cell_seconds : float
        Processor time of one cell; by the clock, ten times that.
    memory : int
        Bytes, of all its processes together.
    output : int
        Characters that one cell may print.
    disk : int
        Bytes of its files, which lie in memory.
    message : int
        Bytes of one answer.
    """

    seconds: float = 300
    cell_seconds: float = 60
    memory: int = 4 << 30
    output: int = 100_000
    disk: int = 512 << 20
    message: int = 8 << 20


class NoSandbox(Exception):
    """There is none here; the message says what to install or to change."""


class StudentError(Exception):
    """Student code raised, returned what cannot be read, or did not return."""

    def __init__(self, kinds, message=""):
        self.kinds, self.message = list(kinds), message
        super().__init__(f"{self.kinds[0]}: {message}" if message else self.kinds[0])


class Ended(Exception):
    """The runner is gone: killed for time, memory or output, or ended by the code it ran."""


class OutOfTime(Exception):
    """The submission has used its time."""


# --- The command ------------------------------------------------------------------------------


def packages():
    """Return the folders with installed packages, without this repository."""
    found = [*site.getsitepackages(), sysconfig.get_paths()["purelib"]]
    return [path for path in dict.fromkeys(map(os.path.realpath, found)) if os.path.isdir(path)]


def arguments(given, limits):
    """Return the arguments of bwrap, up to the command that it runs."""
    out = "--unshare-user --unshare-all --disable-userns --die-with-parent --new-session".split()
    out += "--cap-drop ALL --uid 1000 --gid 1000 --hostname sandbox --proc /proc --dev /dev".split()
    out += ["--size", str(64 << 20), "--tmpfs", "/dev/shm"]
    out += ["--size", str(limits.disk), "--tmpfs", "/tmp", "--dir", "/tmp/work"]
    for path in ("/usr", "/etc/ld.so.cache", "/etc/alternatives"):
        out += ["--ro-bind-try", path, path]
    for path in ("/bin", "/lib", "/lib64", "/sbin"):
        if os.path.islink(path):
            out += ["--symlink", os.readlink(path), path]
        else:
            out += ["--ro-bind-try", path, path]
    for path in dict.fromkeys([os.path.realpath(sys.base_prefix), interpreter().parent.as_posix()]):
        if not path.startswith("/usr/"):
            out += ["--ro-bind", path, path]
    for number, path in enumerate(packages()):
        out += ["--ro-bind", path, f"/packages/{number}"]
    out += ["--ro-bind", str(given), "/given", "--ro-bind", str(RUNNER), "/runner.py"]
    return [*out, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp/work"]


def interpreter():
    """Return the Python behind the virtual environment's link."""
    return Path(os.path.realpath(sys.executable))


@functools.cache
def system_calls():
    """Return the filter of system calls, as the kernel reads it."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        raise NoSandbox(ADVICE["missing"].format(what="libseccomp")) from None
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for name in DENIED:
        with contextlib.suppress(ValueError, OSError, RuntimeError):  # not of this architecture
            rules.add_rule(pyseccomp.ERRNO(1), name)
    # ENOSYS: the C library then uses `clone`, whose flags the user namespace settles.
    rules.add_rule(pyseccomp.ERRNO(38), "clone3")
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def environment():
    """Name neither this repository nor any secret of the shell."""
    home = dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "MPLCONFIGDIR", "KERAS_HOME"), "/tmp")
    return {
        **home,
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "GRADING": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        # The same on every machine.
        **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "2"),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "2",
    }


def launch(command, given, limits, **options):
    """Start a command inside; the arguments travel through a pipe, not the process table."""
    pipes = []
    try:
        for content in (
            "".join(f"{word}\0" for word in arguments(given, limits)).encode(),
            system_calls(),
        ):
            read, write = os.pipe()
            pipes.append(read)
            os.write(write, content)  # both are shorter than what a pipe holds
            os.close(write)
        names = [str(descriptor) for descriptor in pipes]
        return subprocess.Popen(
            ["bwrap", "--args", names[0], "--seccomp", names[1], "--", *command],
            **{"env": environment(), "pass_fds": pipes, "cwd": "/", **options},
        )
    finally:
        for descriptor in pipes:
            os.close(descriptor)


def probe():
    """Build the sandbox once around nothing.

    Raises
    ------
    NoSandbox
        There is no falling back to less protection.
    """
    if not sys.platform.startswith("linux"):
        raise NoSandbox(ADVICE["system"].format(system=sys.platform))
    if 0 in (os.getuid(), os.geteuid()):
        raise NoSandbox(ADVICE["root"])
    if not shutil.which("bwrap"):
        raise NoSandbox(ADVICE["missing"].format(what="bubblewrap"))
    said = subprocess.run(["bwrap", "--version"], capture_output=True, encoding="utf-8").stdout
    found = re.findall(r"\d+", said)[:2]
    if tuple(map(int, found)) < OLDEST:
        raise NoSandbox(ADVICE["old"].format(found=said.strip() or "of no version"))
    with tempfile.TemporaryDirectory() as given:
        process = launch(
            [str(interpreter()), "-I", "-S", "-c", "print(6 * 7)"],
            given,
            Limits(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        out, errors = process.communicate()
    if out != "42\n":
        said = errors.strip().splitlines()
        raise NoSandbox(ADVICE["forbidden"].format(said=said[-1] if said else "nothing"))


# --- The sandbox ------------------------------------------------------------------------------


class Sandbox:
    """Runs one submission's code; started anew as often as it has to be.

    Parameters
    ----------
    given : Path
        The folder that was handed out; its files lie in the working folder.
    files : dict of bytes
        What else lies there.
    limits : Limits
    """

    def __init__(self, given, files=None, limits=None):
        self.given, self.files, self.limits = given, files or {}, limits or Limits()
        self.process, self.number, self.spent = None, 0, 0.0
        self.ends = time.monotonic() + 4 * self.limits.seconds

    def __enter__(self):
        """Start nothing yet."""
        return self

    def __exit__(self, *_):
        """End everything."""
        self.stop()

    def start(self):
        """Start afresh; what ran before is ended."""
        self.stop()
        self.process = launch(
            [str(interpreter()), "-I", "-S", "/runner.py"],
            self.given,
            self.limits,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        for pipe in (self.process.stdin, self.process.stdout):
            os.set_blocking(pipe.fileno(), False)
        settings = {
            "resources": {
                "memory": self.limits.memory,
                "file_size": self.limits.disk,
                "processor": int(2 * self.limits.seconds),
            },
            "limits": {"output": self.limits.output},
            "packages": [f"/packages/{number}" for number in range(len(packages()))],
            "files": {
                name: base64.b64encode(content).decode() for name, content in self.files.items()
            },
        }
        self._exchange(settings, 30)

    def stop(self):
        """End the runner and everything it started: its first process takes all along."""
        if self.process is None:
            return
        self.spent += self._usage()[1]
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children():
                child.kill()
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        self.process = None

    def used(self):
        """Return the processor seconds of the submission so far."""
        return self.spent + (self._usage()[1] if self.process else 0)

    def _usage(self):
        """Return memory in bytes and processor seconds, of all processes inside."""
        memory = processor = 0
        try:
            processes = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.Error:
            return 0, 0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                processor += sum(process.cpu_times()[:4])  # with those of ended children
                memory += process.memory_info().rss
        if memory > self.limits.memory:  # forks share pages; this is slower and counts them once
            memory = 0
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    memory += process.memory_full_info().pss
        return memory, processor

    def _end(self, why):
        self.stop()
        raise Ended(why)

    def _exchange(self, request, seconds):
        """Send a request and wait for its answer, within every limit."""
        content = json.dumps(request).encode()
        left = memoryview(struct.pack(">I", len(content)) + content)
        received, size = bytearray(), None
        started, allowed = time.monotonic(), self._usage()[1] + 1.5 * seconds + 2
        checked = 0.0
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            selector.register(self.process.stdin, selectors.EVENT_WRITE)
            while size is None or len(received) < size:
                if time.monotonic() - checked > 0.1:
                    checked = time.monotonic()
                    memory, processor = self._usage()
                    if memory > self.limits.memory:
                        self._end("memory")
                    if processor > allowed or checked - started > 11 * seconds + 5:
                        self._end("time")
                    if checked > self.ends or self.spent + processor > self.limits.seconds:
                        self.stop()
                        raise OutOfTime
                for key, _ in selector.select(0.1):
                    try:
                        if key.fileobj is self.process.stdin:
                            left = left[os.write(key.fd, left[: 1 << 16]) :]
                            if not left:
                                selector.unregister(self.process.stdin)
                            continue
                        piece = os.read(key.fd, 1 << 16)
                    except BlockingIOError:
                        continue
                    except OSError:
                        piece = b""
                    if not piece:
                        self._end("ended")
                    received += piece
                    if size is None and len(received) >= 4:
                        size = struct.unpack(">I", received[:4])[0] + 4
                        if size > self.limits.message:
                            self._end("output")
        try:
            answer = json.loads(received[4:size])
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or len(received) != size:
            self._end("ended")
        return answer

    def _request(self, do, seconds, **request):
        if self.process is None:
            self.start()
        self.number += 1
        answer = self._exchange(
            {"do": do, "number": self.number, "seconds": seconds, **request}, seconds
        )
        if answer.get("number") != self.number:
            self._end("ended")
        return answer

    def execute(self, code, mark=None):
        """Run a cell.

        Parameters
        ----------
        code : str
        mark : str, optional
            Keep the names as they are after this cell, for questions of this mark.

        Returns
        -------
        outputs : list
            What arrived; not yet looked at.
        problem : str or None
            ``time`` or ``output``: the cell was stopped.

        Raises
        ------
        Ended, OutOfTime
        """
        answer = self._request("cell", self.limits.cell_seconds, code=code, mark=mark)
        if "outputs" not in answer:
            self._end("ended")
        problem = answer.get("problem")
        return answer["outputs"], str(problem)[:20] if problem else None

    def run(self, code, seconds=5, mark=None, **inputs):
        """Run lines of a question beside the student's functions and return their ``result``.

        Parameters
        ----------
        code : str
            Sees what the student defined, and ``inputs``. Holds no expected value.
        seconds : float
            Of processor time.
        mark : str, optional
            Of :meth:`execute`.
        **inputs
            Arrays, numbers, text, None, and collections of these.

        Raises
        ------
        StudentError
            If the code raised or ``result`` is none of the above.
        Ended, OutOfTime
        """
        answer = self._request("ask", seconds, code=code, inputs=pack(inputs), mark=mark)
        try:
            if "error" in answer:
                kinds, message = answer["error"]
                kinds = [str(kind)[:60] for kind in kinds][:20]
                if kinds == ["TimeoutError"]:
                    message = f"no result within {seconds:g} s"
                raise StudentError(kinds, " ".join(str(message).split())[:2000])
            return unpack(answer["result"])
        except StudentError:
            raise
        except Exception:  # whatever a forged answer makes of this
            raise StudentError(["TypeError"], "an unreadable result") from None
