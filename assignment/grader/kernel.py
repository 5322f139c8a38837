"""Started for every submission: give up rights, then become the kernel that runs student code.

Needs the standard library alone. ``python -I -S kernel.py SETTINGS.json -f CONNECTION.json``
"""

import ctypes
import json
import os
import resource
import sys

# linux/landlock.h. System calls 444 to 446 have the same numbers on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
RIGHTS_OF_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many file rights each version knows
NO_NEW_PRIVILEGES = 38


def landlock(readable, writable):
    """Forbid this process and its children every file outside these folders, for good.

    Also, where the kernel knows how: TCP connections (Linux 6.7), and signals to processes outside
    (6.12).

    Parameters
    ----------
    readable, writable : list of str
        Folders or files to read and execute below, or to do anything below.

    Returns
    -------
    bool
        False if this system has no Landlock (Linux before 5.13, macOS, Windows).
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    abi = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if abi < 1:
        return False
    files = (1 << RIGHTS_OF_ABI.get(abi, 16)) - 1
    rules = [files, 0b11 if abi >= 4 else 0, 0b11 if abi >= 6 else 0]
    rules = (ctypes.c_uint64 * 3)(*rules)
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = libc.syscall(CREATE_RULESET, rules, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False

    class PathBeneath(ctypes.Structure):
        _pack_ = 1
        _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]

    for paths, allowed in ((readable, EXECUTE | READ_FILE | READ_DIR), (writable, files)):
        for path in filter(os.path.exists, paths):
            here = allowed
            if not os.path.isdir(path):
                here &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = PathBeneath(here, parent)
            done = libc.syscall(ADD_RULE, ruleset, 1, ctypes.byref(rule), 0)
            os.close(parent)
            if done < 0:
                raise OSError(ctypes.get_errno(), "landlock_add_rule", path)
    restricted = libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    restricted = restricted and libc.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return restricted


def limit(memory, file_size, cpu_seconds):
    """Limit memory and file size (bytes) and processor time (seconds) of this process."""
    for name, value in (
        ("RLIMIT_DATA", memory),
        ("RLIMIT_FSIZE", file_size),
        ("RLIMIT_CPU", cpu_seconds),
        ("RLIMIT_CORE", 0),
    ):
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (value, value))


def main():
    """Read the settings, give up rights, start the kernel."""
    with open(sys.argv.pop(1)) as file:
        settings = json.load(file)
    os.chdir(settings["folder"])
    limit(**settings["limits"])
    landlock(settings["readable"], settings["writable"])
    # Without the site module no .pth file was read: this repository's own packages are not there.
    sys.path[:] = [settings["folder"], *sys.path, *settings["packages"]]
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(sys.argv[1:])
    app.start()


if __name__ == "__main__":
    main()
