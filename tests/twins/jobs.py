"""Jobs in memory. They run on until a test ends them, or come to the end that it has foretold for their command."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tools.clock import Clock, SystemClock
from tools.costs.port import Pricing
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.jobs.port import Buying, JobSpec, JobState, Phase, Progress, Reason, Usage, job_name
from tools.leftovers import KEPT, Discarded, Leftover

OFFERED = (Pricing.STANDARD, Pricing.SPOT)


@dataclass(frozen=True)
class Play:
    """What comes of a command."""

    phase: Phase = Phase.RUNNING
    reason: Reason | None = None
    exit_code: int | None = None
    detail: str = ""
    lines: tuple[str, ...] = ()
    progress: Progress | None = None
    attempts: int = 1


@dataclass
class _Job:
    spec: JobSpec
    fingerprint: str
    state: JobState
    lines: list[str] = field(default_factory=list)


class TwinJobs:
    def __init__(
        self,
        clock: Clock | None = None,
        *,
        secrets: frozenset[str] = frozenset(),
        offered: tuple[Pricing, ...] = OFFERED,
    ) -> None:
        self._offered = offered
        self._bought: dict[str, Pricing] = {}
        self._left: dict[tuple[str, str], Leftover] = {}
        self._discarded: dict[tuple[str, str], datetime] = {}
        self._choices: dict[tuple[str, str], Pricing] = {}
        self._clock = clock or SystemClock()
        self._jobs: dict[str, _Job] = {}
        self._plays: dict[tuple[str, ...], Play] = {}
        self._secrets = secrets
        self._moved = asyncio.Event()
        self._down = False
        self.submissions: list[tuple[str, JobSpec]] = []
        """Every call, repetitions too."""
        self.watched = 0
        """States that watchers have been told."""

    # What a test does to it from outside.

    def foretell(self, command: tuple[str, ...], play: Play) -> None:
        self._plays[command] = play

    def go_on(self, name: str, play: Play) -> None:
        """From now on it is so."""
        job = self._known(name)
        now = self._clock.now()
        started = job.state.started_at or (None if play.phase is Phase.PENDING else now)
        changes = {
            "phase": play.phase,
            "reason": play.reason,
            "exit_code": play.exit_code,
            "detail": play.detail,
            "progress": play.progress or job.state.progress,
            "attempts": play.attempts,
            "started_at": started,
            "ended_at": now if play.phase in (Phase.SUCCEEDED, Phase.FAILED) else None,
        }
        job.state = job.state.model_copy(update=changes)
        job.lines += play.lines
        self._stir()

    def go_down(self) -> None:
        self._down = True

    def come_back(self) -> None:
        self._down = False

    # The port.

    async def ping(self) -> None:
        if self._down:
            raise TemporaryError("the jobs are out of reach")

    async def submit(self, key: str, spec: JobSpec) -> JobState:
        await self.ping()
        self.submissions.append((key, spec))
        try:
            name = job_name(key)
        except ValueError as error:
            raise PermanentError(str(error)) from error
        if missing := sorted(spec.secrets - self._secrets):
            raise PermanentError(f"secrets: {', '.join(missing)} is not among those that jobs may have here")
        self._require_offered(spec.pricing)
        self._tidy()
        if name in self._jobs:
            if self._jobs[name].fingerprint != spec.fingerprint:
                raise Conflict(f"key: {key!r} is the job {name}, with another spec; another job needs another key")
            return self._jobs[name].state
        state = JobState(
            name=name,
            model=spec.model,
            team=spec.team,
            run_id=spec.run_id,
            phase=Phase.PENDING,
            submitted_at=self._clock.now(),
            work=spec.work,
            data=spec.data,
            pricing=spec.pricing,
        )
        self._jobs[name] = _Job(spec, spec.fingerprint, state)
        self.go_on(name, self._plays.get(spec.command, Play()))
        return self._jobs[name].state

    async def state(self, name: str) -> JobState:
        await self.ping()
        return self._known(name).state

    async def jobs(self, *, model: str | None = None) -> tuple[JobState, ...]:
        await self.ping()
        self._tidy()
        states = [job.state.model_copy(update={"progress": None}) for job in self._jobs.values()]
        return tuple(reversed([state for state in states if model in (None, state.model)]))

    async def watch(self, name: str) -> AsyncGenerator[JobState]:
        before: JobState | None = None
        while before is None or not before.final:
            moved = self._moved
            state = await self.state(name)
            if state != before:
                before = state
                self.watched += 1
                yield state
            else:
                await moved.wait()

    async def logs(self, name: str, *, tail: int | None = None, follow: bool = False) -> AsyncGenerator[str]:
        job = self._known(name)
        place = 0 if tail is None else max(len(job.lines) - tail, 0)
        while True:
            moved, over = self._moved, job.state.final
            for line in job.lines[place:]:
                yield line
            place = len(job.lines)
            if over or not follow:
                return
            await moved.wait()

    async def usage(self, name: str) -> Usage:
        job = self._known(name)
        ended = job.state.ended_at or self._clock.now()
        wall = (ended - job.state.started_at).total_seconds() if job.state.started_at else 0.0
        return Usage(wall_seconds=wall, gpu_seconds=wall * job.spec.resources.gpus, reserved=job.spec.resources)

    def leave(self, item: Leftover) -> None:
        """Of a job that has ended."""
        self._left[item.kind, item.name] = item

    async def leftovers(self, model: str) -> tuple[Leftover, ...]:
        await self.ping()
        return tuple(each for place, each in self._left.items() if each.model == model and place not in self._discarded)

    async def discard(self, item: Leftover) -> Discarded:
        await self.ping()
        if not self._known(item.name).state.final:
            raise Conflict(f"{item.name} has not ended")
        if self._left.get((item.kind, item.name)) != item:
            raise Conflict(f"{item.name} is not the job that was listed")
        at = self._discarded.setdefault((item.kind, item.name), self._clock.now())
        return Discarded(size_bytes=item.size_bytes, undo_until=at + KEPT)

    async def restore(self, item: Leftover) -> None:
        await self.ping()
        self._discarded.pop((item.kind, item.name), None)

    async def buying(self, model: str) -> Buying:
        await self.ping()
        return Buying(pricing=self._bought.get(model, Pricing.STANDARD), offered=self._offered)

    async def set_buying(self, model: str, pricing: Pricing, *, expected: Pricing, key: str) -> Buying:
        await self.ping()
        self._require_offered(pricing)
        known = self._choices.get((model, key))
        if known is not None and known is not pricing:
            raise Conflict(f"key: {key!r} has already asked for {known}")
        if known is None:
            if (now := self._bought.get(model, Pricing.STANDARD)) is not expected:
                raise Conflict(f"expected: trainings of {model} are bought as {now}, not {expected}")
            self._choices[model, key] = self._bought[model] = pricing
        return await self.buying(model)

    def _require_offered(self, pricing: Pricing) -> None:
        if pricing not in self._offered:
            raise PermanentError(f"pricing: jobs are not bought as {pricing} here")

    async def cancel(self, name: str, *, reason: str) -> JobState:
        await self.ping()
        if not self._known(name).state.final:
            self.go_on(name, Play(Phase.FAILED, Reason.CANCELLED, detail=reason))
        return self._known(name).state

    def _known(self, name: str) -> _Job:
        self._tidy()
        if name not in self._jobs:
            raise PermanentError(f"no job {name!r} is known here")
        return self._jobs[name]

    def _tidy(self) -> None:
        never = datetime.max.replace(tzinfo=UTC) - timedelta(days=400)
        for name, job in list(self._jobs.items()):
            if self._clock.now() > (job.state.ended_at or never) + job.spec.keep:
                del self._jobs[name]

    def _stir(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
