"""`python -m tools.jobs.runner FOLDER`: the supervisor of one local job, from its first attempt to its end.

It outlives the service that started it. Whoever holds the lock of the folder is the supervisor, so however many are started,
one runs the job; it writes the status, and nobody else does. The command is not begun before its process is on record, and the
kernel kills it when the supervisor ends, so a supervisor that is killed leaves at most strays, which the next one finds by the
mark in their environment and ends before it goes on.

On its standard input, so that it is written nowhere: `{"secrets": {...}, "gpus": [...], "gpu_locks": FOLDER}`.
Standard library alone: it starts in a tenth of a second, and stays small beside the job.
"""

import contextlib
import fcntl
import json
import math
import os
import resource
import select
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from tools.jobs import processes
from tools.jobs.folder import Folder
from tools.jobs.output import Output

MARK = "OPPEN_JOB_CHECKPOINTS"
"""Is in the environment of all that the job starts, and holds its own folder."""
_LOOK_S = 0.05
"""Between two looks at its memory: what one process can allocate meanwhile is some 100 MB."""
_SAVE_S = 1.0
_DRAIN_S = 1.0
_BACKOFF_S = (0.5, 30.0)
"""Before the second attempt, doubled for each further one, and at most."""
_NICENESS = 5
"""Serving goes first."""
_SPARE_BYTES = 1024**3
_FREE_RESTARTS = 5
"""Of the machine or the container that cost a job no attempt: perhaps it is the job that brings them down."""
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


@dataclass(frozen=True)
class Ending:
    reason: str | None
    detail: str = ""
    exit_code: int | None = None
    again: bool = False
    """Another attempt may come out otherwise."""


_INTERRUPTED = Ending("lost", "its supervisor was told to end; it goes on when it is started again")
_WENT_DOWN = "the machine or the container went down; it goes on"


class Supervisor:
    def __init__(self, folder: Folder, spec: dict[str, Any], given: dict[str, Any]) -> None:
        self._folder, self._intent, self._spec, self._given = folder, spec, spec["spec"], given
        self._terminated = False
        before, told_at, life = folder.status() or {}, folder.saved_at(), processes.life()
        self._went_down = before.get("phase") == "running" and before.get("life", life) != life
        if told_at is not None and (self._went_down or before.get("interrupted")):
            # Its deadline is on what it takes, and not on how long a machine was away.
            before["since"] += max(time.time() - told_at, 0.0)
        self._status: dict[str, Any] = {
            "phase": "pending",
            "attempts": 0,
            "restarts": 0,
            "since": time.time(),
            "wall_seconds": 0.0,
            "cpu_seconds": 0.0,
            "peak_memory_bytes": 0,
            **before,
            "interrupted": False,
            "life": life,
            "supervisor": [os.getpid(), processes.started(os.getpid()), processes.boot()],
        }
        self._cpu_before = self._status["cpu_seconds"]
        self._gpu_locks: list[int] = []

    def run(self) -> None:
        processes.become_reaper()
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._end_strays()
        ending = self._before_any()
        while ending is None and not self._terminated:
            ending = self._attempt()
            if ending.again and self._status["attempts"] <= self._spec["retries"]:
                ending = self._pause(ending)
        if ending is None or ending is _INTERRUPTED:
            self._interrupted()
        else:
            self._finish(ending)

    def _stop(self, *_: object) -> None:
        """The machine is going down, or somebody tidies up: the job is asked to end, and goes on when we are started again."""
        self._terminated = True

    def _before_any(self) -> Ending | None:
        """What ends it without an attempt."""
        if self._status["phase"] == "running":  # and the supervisor that ran it is dead
            if self._went_down and self._status["restarts"] < _FREE_RESTARTS:
                self._status |= {"restarts": self._status["restarts"] + 1, "attempts": self._status["attempts"] - 1}
                self._status |= {"phase": "pending", "reason": "lost", "detail": _WENT_DOWN}
            elif self._status["attempts"] > self._spec["retries"]:
                return self._asked() or Ending("lost", "its supervisor died, and no attempt is left")
            else:
                self._status |= {"phase": "pending", "reason": "lost", "detail": "its supervisor died; it is tried again"}
        wanted, available = self._spec["resources"], _machine(self._given)
        for name, unit in (("cpu", "cores"), ("memory_bytes", "bytes of memory"), ("gpus", "GPUs")):
            if wanted[name] > available[name]:
                return Ending("unschedulable", f"it asks for {wanted[name]} {unit}, this machine has {available[name]}")
        self._folder.save(self._status)
        return self._asked() or self._reserve()

    def _asked(self) -> Ending | None:
        if (wish := self._folder.cancelled()) is not None:
            return Ending("cancelled", wish["reason"])
        if time.time() >= self._status["since"] + self._spec["deadline_seconds"]:
            return Ending("deadline", f"it took longer than {self._spec['deadline_seconds']:g} s")
        return None

    def _reserve(self) -> Ending | None:
        """Its GPUs, held for as long as we live; until they are free it is pending."""
        wanted = self._spec["resources"]["gpus"]
        while not self._terminated:
            for device in self._given["gpus"]:
                if len(self._gpu_locks) < wanted:
                    self._take(device)
            if len(self._gpu_locks) == wanted:
                return None
            for descriptor in self._gpu_locks:  # all or none, or two jobs wait for each other
                os.close(descriptor)
            self._gpu_locks = []
            if (ending := self._asked()) is not None:
                return (
                    Ending("unschedulable", f"{wanted} GPUs were not free in time") if ending.reason == "deadline" else ending
                )
            if self._status.get("reason") != "unschedulable":
                self._status |= {"reason": "unschedulable", "detail": f"it waits for {wanted} GPUs that others hold"}
                self._folder.save(self._status)
            time.sleep(_LOOK_S * 4)
        return None

    def _take(self, device: str) -> None:
        path = Path(self._given["gpu_locks"]) / f"gpu-{device}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, device.encode())
            self._gpu_locks.append(descriptor)

    def _attempt(self) -> Ending:
        self._prepare()
        output = Output(self._folder.log, self._folder.older_log)
        go_read, go_write = os.pipe()
        lines_read, lines_write = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            self._become_command(parent, go_read, go_write, lines_write)
        os.close(go_read)
        os.close(lines_write)
        self._status |= {
            "phase": "running",
            "reason": None,
            "detail": "",
            "attempts": self._status["attempts"] + 1,
            "started_at": self._status.get("started_at") or time.time(),
            "child": [child, processes.started(child), processes.boot()],
            "progress": None,
        }
        self._folder.save(self._status)
        with contextlib.suppress(BrokenPipeError):
            os.write(go_write, b"g")
        os.close(go_write)
        try:
            return self._accompany(child, lines_read, output)
        finally:
            os.close(lines_read)
            output.close()
            self._measure(output)

    def _become_command(self, parent: int, go_read: int, go_write: int, lines: int) -> NoReturn:
        """In the fresh child: never returns."""
        code = _NOT_EXECUTABLE
        try:
            os.close(go_write)
            os.setsid()
            processes.die_with(parent)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(lines, 1)
            os.dup2(lines, 2)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            self._limit()
            os.chdir(self._folder.work)
            if os.read(go_read, 1) == b"g":  # else the supervisor died before this process was on record
                os.execvpe(self._spec["command"][0], self._spec["command"], self._environment())  # noqa: S606
        except FileNotFoundError:
            os.write(2, f"{self._spec['command'][0]}: there is no such program\n".encode())
            code = _NOT_FOUND
        except BaseException as error:  # noqa: BLE001 - this process must not go on as a second supervisor
            os.write(2, f"{self._spec['command'][0]}: it cannot be run: {error}\n".encode())
        os._exit(code)

    def _limit(self) -> None:
        wanted = self._spec["resources"]
        allowed = sorted(os.sched_getaffinity(0))
        cores = math.ceil(wanted["cpu"])
        if cores < len(allowed):
            first = sum(self._folder.path.name.encode()) % len(allowed)
            os.sched_setaffinity(0, (allowed + allowed)[first : first + cores])
        os.nice(_NICENESS)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if wanted["gpus"]:
            return  # a GPU's driver maps its memory too
        # Far above the limit, which is on what is resident and measured: this stops one that allocates between two looks.
        ceiling = 2 * wanted["memory_bytes"] + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        devices = [os.pread(descriptor, 64, 0).decode() for descriptor in self._gpu_locks]
        return {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin")),
            "HOME": str(folder.work),
            "TMPDIR": str(folder.work / "tmp"),
            "LANG": "C.UTF-8",
            "CUDA_VISIBLE_DEVICES": ",".join(devices),
            **self._spec["environment"],
            **{name: self._given["secrets"][name] for name in self._spec["secrets"]},
            "OPPEN_JOB": folder.path.name,
            "OPPEN_JOB_CONFIG": str(folder.config),
            "OPPEN_JOB_USAGE": str(folder.usage),
            MARK: str(folder.checkpoints),
        }

    def _prepare(self) -> None:
        folder = self._folder
        if folder.log.exists():
            folder.log.replace(folder.path / f"log.attempt-{self._status['attempts']}")
        folder.older_log.unlink(missing_ok=True)
        shutil.rmtree(folder.config, ignore_errors=True)
        shutil.rmtree(folder.work, ignore_errors=True)
        for path in (folder.config, folder.checkpoints, folder.work / "tmp"):
            path.mkdir(parents=True, exist_ok=True)
        for name, text in self._spec["config"].items():
            (folder.config / name).write_text(text)
            (folder.config / name).chmod(0o444)

    def _accompany(self, child: int, lines: int, output: Output) -> Ending:
        """Until it has ended and nothing of it runs any more."""
        started = seen = saved = time.monotonic()
        wall_before = self._status["wall_seconds"]
        stopping: Ending | None = None
        kill_at = math.inf
        reading = [lines]
        while True:
            readable, _, _ = select.select(reading, [], [], _LOOK_S)
            if readable:
                piece = os.read(lines, 65536)
                output.take(piece)
                reading = reading if piece else []
            now = time.monotonic()
            if now - seen < _LOOK_S and readable:
                continue
            seen = now
            self._status["wall_seconds"] = wall_before + now - started
            code = _reaped(child)
            if code is not None:
                break
            if stopping is None and (stopping := self._over_memory()) is not None:
                kill_at = now
            if stopping is None and (stopping := self._asked() or (_INTERRUPTED if self._terminated else None)) is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, signal.SIGTERM)
                kill_at = now + self._spec["grace_seconds"]
            if now >= kill_at:
                processes.kill(processes.descendants(os.getpid()), signal.SIGKILL)
            if now - saved >= _SAVE_S:
                saved = now
                self._measure(output)
                self._folder.save(self._status)
        self._clear(lines if reading else None, output)
        if stopping is not None:
            return stopping
        detail = "" if code == 0 else f"signal {signal.Signals(code - 128).name}" if code > 128 else ""
        return Ending(None if code == 0 else "exit_code", detail, code, again=code != 0)

    def _over_memory(self) -> Ending | None:
        limit = self._spec["resources"]["memory_bytes"]
        pids = processes.descendants(os.getpid())
        used = processes.memory(pids)
        if used > limit:
            used = processes.shared_fairly(pids)
        self._status["peak_memory_bytes"] = max(self._status["peak_memory_bytes"], used)
        if used <= limit:
            return None
        return Ending("out_of_memory", f"it used {used} bytes of memory, and may use {limit}", again=True)

    def _measure(self, output: Output) -> None:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        running = processes.cpu_seconds(processes.descendants(os.getpid()))
        self._status["cpu_seconds"] = self._cpu_before + ended.ru_utime + ended.ru_stime + running
        # The kernel's own peak of the largest process sees what is between two looks.
        self._status["peak_memory_bytes"] = max(self._status["peak_memory_bytes"], ended.ru_maxrss * 1024)
        self._status["progress"] = output.progress or self._status.get("progress")

    def _clear(self, lines: int | None, output: Output) -> None:
        """The command has ended: what it left running ends too, and what was printed last is read."""
        limit = time.monotonic() + _DRAIN_S
        while (left := processes.descendants(os.getpid())) or lines is not None:
            processes.kill(left, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass
            if lines is None:
                time.sleep(_LOOK_S / 10)
            elif select.select([lines], [], [], _LOOK_S / 10)[0]:
                piece = os.read(lines, 65536)
                output.take(piece)
                lines = lines if piece else None
            if time.monotonic() > limit:
                lines = None

    def _pause(self, ending: Ending) -> Ending | None:
        """None when it is time for the next attempt."""
        base, most = _BACKOFF_S
        until = time.monotonic() + min(base * 2 ** (self._status["attempts"] - 1), most)
        self._status |= {"phase": "pending", "reason": ending.reason, "detail": f"{ending.detail} It is tried again.".strip()}
        self._folder.save(self._status)
        while time.monotonic() < until:
            if (asked := self._asked()) is not None:
                return asked
            if self._terminated:
                return None
            time.sleep(_LOOK_S)
        return None

    def _interrupted(self) -> None:
        """Not its fault, so not its attempt."""
        if self._status["phase"] == "running":
            self._status["attempts"] -= 1
        self._status |= {"phase": "pending", "reason": _INTERRUPTED.reason, "detail": _INTERRUPTED.detail, "interrupted": True}
        self._folder.save(self._status)

    def _finish(self, ending: Ending) -> None:
        self._status |= {
            "phase": "succeeded" if ending.reason is None else "failed",
            "reason": ending.reason,
            "detail": ending.detail,
            "exit_code": ending.exit_code,
            "ended_at": time.time(),
        }
        self._folder.save(self._status)
        shutil.rmtree(self._folder.work, ignore_errors=True)
        if ending.reason is None:  # they are for a next attempt; those of a failure may tell why
            shutil.rmtree(self._folder.checkpoints, ignore_errors=True)

    def _end_strays(self) -> None:
        while strays := processes.marked(MARK, str(self._folder.checkpoints)):
            processes.kill(strays, signal.SIGKILL)
            time.sleep(_LOOK_S / 10)


def _reaped(child: int) -> int | None:
    """The code of `child` once it has ended; orphans that came to us are buried on the way."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = os.waitstatus_to_exitcode(status)
                code = ended if ended >= 0 else 128 - ended
    return code


def _machine(given: dict[str, Any]) -> dict[str, float]:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"cpu": len(os.sched_getaffinity(0)), "memory_bytes": memory, "gpus": len(given["gpus"])}


def main() -> None:
    """Returns once the job is in the hands of a supervisor, us or another one."""
    given = json.loads(sys.stdin.buffer.read())  # cut short, the one who wrote it died: it fails, and the next one tries again
    folder = Folder(Path(sys.argv[1]))
    spec = folder.spec()
    if spec is None:
        sys.exit(f"{folder.path}: there is no job")
    if folder.lock() is None:
        return
    if (folder.status() or {}).get("phase") in {"succeeded", "failed"}:
        return
    if os.fork():
        os._exit(0)  # the lock lives on in the child, which has no parent to be buried by
    Supervisor(folder, spec, given).run()


if __name__ == "__main__":
    main()
