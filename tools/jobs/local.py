"""Jobs as child processes of this machine, each under a supervisor of its own that outlives the service (`tools.jobs.runner`).

For one machine and trusted commands: a job has its own environment, but the files and the network of the user that runs it. The
truth is on disk. What a controller does in a cluster is done here whenever a job is asked about: one that is neither over nor
supervised (the service died before it had started it, the machine went down) gets a supervisor, which goes on with it.
"""

import asyncio
import contextlib
import json
import shutil
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tools.clock import Clock, SystemClock
from tools.costs.port import Pricing
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.jobs import leftovers
from tools.jobs.folder import Folder
from tools.jobs.port import Buying, JobSpec, JobState, Phase, Progress, Reason, Resources, Usage, job_name
from tools.leftovers import Discarded, Leftover

_LOOK_S = 0.1
"""Between two looks at a status that is watched, or at a log that is followed."""
_START_S = 20.0
"""For a supervisor to start, on a machine that has other things to do."""
_GONE = ".gone-"


class LocalJobs:
    """`Jobs`. `secrets`: what jobs may ask for by name; `gpus`: devices they may hold, as CUDA_VISIBLE_DEVICES names them;
    `clock`: when they were submitted by. What they take is real time."""

    def __init__(
        self,
        root: Path,
        *,
        secrets: Mapping[str, str] | None = None,
        gpus: Sequence[str] = (),
        clock: Clock | None = None,
    ) -> None:
        if not sys.platform.startswith("linux"):
            raise PermanentError("jobs as processes of this machine need Linux; elsewhere use a cluster")
        self._root = root.resolve()
        self._secrets = dict(secrets or {})
        self._gpus = tuple(gpus)
        self._clock = clock or SystemClock()

    async def ping(self) -> None:
        try:
            await asyncio.to_thread(self._root.mkdir, parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unwritable(error) from error

    async def submit(self, key: str, spec: JobSpec) -> JobState:
        try:
            name = job_name(key)
        except ValueError as error:
            raise PermanentError(str(error)) from error
        if missing := sorted(spec.secrets - self._secrets.keys()):
            raise PermanentError(f"secrets: {', '.join(missing)} is not among those that jobs may have here")
        await self.ping()
        _require_standard(spec.pricing)
        folder = self._folder(name)
        try:
            await asyncio.to_thread(self._tidy)
            await asyncio.to_thread(self.claim, folder, key, spec)
        except OSError as error:
            raise _unwritable(error) from error
        return await self._attended(folder)

    def claim(self, folder: Folder, key: str, spec: JobSpec) -> None:
        """From here on there is the job. Raises Conflict when there is another one of this key."""
        intent = {
            "key": key,
            "fingerprint": spec.fingerprint,
            "submitted_at": self._clock.now().timestamp(),
            "about": {
                "model": spec.model,
                "team": spec.team,
                "run_id": spec.run_id,
                "keep_seconds": spec.keep.total_seconds(),
                "work": spec.work,
                "data": spec.data.model_dump(mode="json") if spec.data is not None else None,
            },
            "spec": {
                **spec.model_dump(mode="json", include={"command", "environment", "config", "resources", "retries"}),
                "secrets": sorted(spec.secrets),
                "deadline_seconds": spec.deadline.total_seconds(),
                "grace_seconds": spec.grace.total_seconds(),
            },
        }
        if not folder.claim(intent) and _spec(folder)["fingerprint"] != spec.fingerprint:
            raise Conflict(f"key: {key!r} is the job {folder.path.name}, with another spec; another job needs another key")

    async def state(self, name: str) -> JobState:
        return await self._attended(self._known(name))

    async def jobs(self, *, model: str | None = None) -> tuple[JobState, ...]:
        await asyncio.to_thread(self._tidy)
        states = [await self._attended(folder) for folder in await asyncio.to_thread(self._all)]
        chosen = [state.model_copy(update={"progress": None}) for state in states if model in (None, state.model)]
        return tuple(sorted(chosen, key=lambda state: state.submitted_at, reverse=True))

    async def watch(self, name: str) -> AsyncGenerator[JobState]:
        before: JobState | None = None
        while before is None or not before.final:
            state = await self.state(name)
            if state != before:
                yield state
            else:
                await asyncio.sleep(_LOOK_S)
            before = state

    async def logs(self, name: str, *, tail: int | None = None, follow: bool = False) -> AsyncGenerator[str]:
        folder = self._known(name)
        reader = _LogReader(folder)
        try:
            lines = await asyncio.to_thread(lambda: deque(reader.lines(), maxlen=tail))
            for line in lines:
                yield line
            while follow:
                over = (await self._attended(folder)).final  # asked before reading: what was printed until then is read
                for line in await asyncio.to_thread(lambda: list(reader.lines())):
                    yield line
                if over:
                    break
                await asyncio.sleep(_LOOK_S)
            if (rest := reader.rest()) is not None:
                yield rest
        finally:
            reader.close()

    async def usage(self, name: str) -> Usage:
        folder = self._known(name)
        await self._attended(folder)
        status = await asyncio.to_thread(folder.status) or {}
        wall = float(status.get("wall_seconds", 0.0))
        return Usage(
            wall_seconds=wall,
            gpu_seconds=wall * _spec(folder)["spec"]["resources"]["gpus"],
            cpu_seconds=float(status.get("cpu_seconds", 0.0)),
            peak_memory_bytes=int(status.get("peak_memory_bytes", 0)),
            reserved=Resources(**_spec(folder)["spec"]["resources"]),
        )

    async def leftovers(self, model: str) -> tuple[Leftover, ...]:
        def listed() -> tuple[Leftover, ...]:
            return tuple(each for folder in self._all() for each in leftovers.leftovers(folder) if each.model == model)

        return await asyncio.to_thread(listed)

    async def discard(self, item: Leftover) -> Discarded:
        try:
            return await asyncio.to_thread(leftovers.discard, self._known(item.name), item)
        except OSError as error:
            raise _unwritable(error) from error

    async def restore(self, item: Leftover) -> None:
        try:
            await asyncio.to_thread(leftovers.restore, self._known(item.name), item)
        except OSError as error:
            raise _unwritable(error) from error

    async def buying(self, model: str) -> Buying:  # noqa: ARG002  the same for all
        return Buying(pricing=Pricing.STANDARD, offered=(Pricing.STANDARD,))

    async def set_buying(self, model: str, pricing: Pricing, *, expected: Pricing, key: str) -> Buying:  # noqa: ARG002
        """A machine of one's own is bought already: there is nothing to choose."""
        _require_standard(pricing)
        if expected is not Pricing.STANDARD:
            raise Conflict(f"expected: trainings of {model} are bought as standard, not {expected}")
        return await self.buying(model)

    async def cancel(self, name: str, *, reason: str) -> JobState:
        folder = self._known(name)
        if not (await self.state(name)).final:
            try:
                await asyncio.to_thread(folder.cancel, {"reason": reason[:500], "at": time.time()})
            except OSError as error:
                raise _unwritable(error) from error
        return await self._attended(folder)

    async def _attended(self, folder: Folder) -> JobState:
        """Its state, after it was seen to that it gets on."""
        if await asyncio.to_thread(_unattended, folder):
            await self.start_supervisor(folder)
        return await asyncio.to_thread(_state, folder)

    async def start_supervisor(self, folder: Folder) -> None:
        """Returns when one holds the lock; whether it is this one does not matter."""
        given = {"secrets": self._secrets_of(folder), "gpus": self._gpus, "gpu_locks": str(self._root)}
        try:
            with (folder.path / "supervisor.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "tools.jobs.runner", str(folder.path)),
                    # The home of this very package, and nothing of the service's own environment.
                    env={"PYTHONPATH": str(Path(__file__).parents[2]), "LANG": "C.UTF-8"},
                    stdin=PIPE,
                    stdout=DEVNULL,
                    stderr=log,
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            raise TemporaryError(f"{folder.path.name}: its supervisor cannot be started: {error}") from error
        try:
            async with asyncio.timeout(_START_S):
                await process.communicate(json.dumps(given).encode())
        except TimeoutError as error:
            process.kill()
            raise TemporaryError(f"{folder.path.name}: its supervisor did not start in {_START_S:g} s") from error
        if process.returncode:
            raise TemporaryError(f"{folder.path.name}: its supervisor ended with {process.returncode}: {_end_of(folder)}")

    def _secrets_of(self, folder: Folder) -> dict[str, str]:
        return {name: self._secrets[name] for name in _spec(folder)["spec"]["secrets"] if name in self._secrets}

    def _folder(self, name: str) -> Folder:
        return Folder(self._root / name)

    def _known(self, name: str) -> Folder:
        folder = self._folder(name)
        if "/" in name or name.startswith(".") or folder.spec() is None or _expired(folder):
            raise PermanentError(f"no job {name!r} is known here")
        return folder

    def _all(self) -> list[Folder]:
        if not self._root.is_dir():
            return []
        folders = [Folder(path) for path in self._root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return [folder for folder in folders if folder.spec() is not None]

    def _tidy(self) -> None:
        """What nobody may ask about any more goes, with its checkpoints."""
        for folder in self._all():
            if _expired(folder):
                gone = self._root / f"{_GONE}{folder.path.name}-{time.monotonic_ns()}"
                with contextlib.suppress(FileNotFoundError):  # somebody else was faster
                    folder.path.rename(gone)
            else:
                leftovers.empty(folder)
        for path in self._root.glob(f"{_GONE}*"):
            shutil.rmtree(path, ignore_errors=True)


class _LogReader:
    """The lines of both files of a log, each once, also while it turns over."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._file: Any = None
        self._begun = b""

    def lines(self) -> Iterator[str]:
        """Those that are complete and were not read before."""
        if self._file is None:
            for path in (self._folder.older_log, self._folder.log):
                with contextlib.suppress(FileNotFoundError):
                    self.close()
                    self._file = path.open("rb")
                    yield from self._read()
            return
        yield from self._read()
        while self._turned_over():
            yield from self._read()  # what came to it until then
            self.close()
            self._file = self._folder.log.open("rb")
            yield from self._read()

    def rest(self) -> str | None:
        """What stands behind the last end of a line."""
        return _text(self._begun) if self._begun else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> Iterator[str]:
        while piece := self._file.read(1 << 20):
            *complete, self._begun = (self._begun + piece).split(b"\n")
            yield from map(_text, complete)

    def _turned_over(self) -> bool:
        import os

        try:
            return self._folder.log.stat().st_ino != os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False


def _text(line: bytes) -> str:
    return line.decode(errors="replace").removesuffix("\r")


def _spec(folder: Folder) -> dict[str, Any]:
    spec = folder.spec()
    if spec is None:
        raise PermanentError(f"no job {folder.path.name!r} is known here")
    return spec


def _final(status: dict[str, Any] | None) -> bool:
    return (status or {}).get("phase") in {Phase.SUCCEEDED, Phase.FAILED}


def _unattended(folder: Folder) -> bool:
    """In this order: a supervisor that ends between the two glances has written its last word before."""
    return not folder.supervised() and not _final(folder.status())


def _expired(folder: Folder) -> bool:
    spec, status = folder.spec(), folder.status()
    if spec is None or status is None or not _final(status):
        return False
    return bool(time.time() > status["ended_at"] + spec["about"]["keep_seconds"])


def _state(folder: Folder) -> JobState:
    spec, status = _spec(folder), folder.status() or {}
    about = spec["about"]
    try:
        return JobState(
            name=folder.path.name,
            model=about["model"],
            team=about["team"],
            run_id=about["run_id"],
            phase=Phase(status.get("phase", Phase.PENDING)),
            reason=Reason(status["reason"]) if status.get("reason") else None,
            detail=str(status.get("detail", ""))[:1000],
            exit_code=status.get("exit_code"),
            attempts=status.get("attempts", 0),
            progress=Progress(**said) if (said := status.get("progress")) else None,
            submitted_at=_instant(spec["submitted_at"]),
            started_at=_instant(status["started_at"]) if "started_at" in status else None,
            ended_at=_instant(status["ended_at"]) if "ended_at" in status else None,
            work=about.get("work", ""),
            data=about.get("data"),
        )
    except (ValidationError, ValueError) as error:
        raise PermanentError(f"{folder.path.name}: its status on disk is not understood: {error}") from error


def _require_standard(pricing: Pricing) -> None:
    if pricing is not Pricing.STANDARD:
        raise PermanentError(f"pricing: this machine has no {pricing} capacity, only standard")


def _unwritable(error: OSError) -> TemporaryError:
    """A full disk most likely, or a volume that is away."""
    return TemporaryError(f"the jobs' folder cannot be used: {error}")


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)


def _end_of(folder: Folder) -> str:
    return (folder.path / "supervisor.log").read_text(errors="replace")[-500:]
