"""Processes as the kernel knows them: told apart from whoever gets their number later, measured, ended with all they started.

Linux: /proc, prctl and sub-reapers. Standard library alone, as the supervisor imports it.
"""

import contextlib
import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICK = os.sysconf("SC_CLK_TCK")


def started(pid: int) -> int | None:
    """When it started, in clock ticks since the machine did; None when it is not there, or dead and not yet buried."""
    fields = _stat(pid)
    return int(fields[19]) if fields is not None and fields[0] not in {"Z", "X"} else None


def boot() -> str:
    """Of this run of the machine: ticks of another one say nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def life() -> list[str | int | None]:
    """Of this machine, or of this container: another one after a restart of either. What ran in an earlier one was not killed
    by itself. (The boot, the space of process numbers, and when its first process started: a container keeps the boot.)"""
    space: str | None
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = None
    return [boot(), space, started(1)]


def become_reaper() -> None:
    """Orphans among our descendants come to us, and not to the machine's first process: none gets lost."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """In a fresh child: the kernel kills it when its parent ends, however that ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def descendants(root: int) -> list[int]:
    """All that `root` has started and that still run, directly or not."""
    found: list[int] = []
    waiting = [root]
    while waiting:
        for child in _children(waiting.pop()):
            found.append(child)
            waiting.append(child)
    return found


def memory(pids: list[int]) -> int:
    """Bytes resident, with what several of them share counted in each: an upper bound."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    return total


def shared_fairly(pids: list[int]) -> int:
    """Bytes resident, with what several share divided among them: right, and a hundred times as dear."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if row.startswith("Pss:"):
                    total += int(row.split()[1]) * 1024
    return total


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of those that run now."""
    ticks = 0
    for pid in pids:
        if (fields := _stat(pid)) is not None:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICK


def marked(name: str, value: str) -> list[int]:
    """Processes of this user that were started with the variable `name` set to `value`."""
    wanted = f"{name}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found


def kill(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _stat(pid: int) -> list[str] | None:
    """The fields behind the name, which may itself hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _prctl(option: int, value: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
