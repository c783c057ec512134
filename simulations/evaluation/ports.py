"""What of a scenario's platform comes from the world: traffic in the real store, the machine's metrics, and training jobs."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from simulations.worlds.world import World
from tools.clock import Clock
from tools.costs.port import Pricing
from tools.errors import Conflict, PermanentError
from tools.jobs.port import Buying, JobSpec, JobState, Phase, Reason, Usage, job_name
from tools.leftovers import Discarded, Leftover
from tools.predictions.clickhouse import ClickHouseStore
from tools.telemetry.port import Sample, Series
from tools.values import Window

METRICS = {"machine_processors_share": "processors", "process_memory_share": "memory"}
"""The metrics that the installation's exporters have, and what the world calls them."""
_SELECTOR = re.compile(r'([a-z_]+)\{model="([^"]*)"\}')


class SimulatedClock:
    """Stands still until the drive moves it."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def real_seconds(self, simulated: timedelta) -> float:
        return simulated.total_seconds()

    def move_to(self, moment: datetime) -> None:
        if moment < self._now:
            raise ValueError(f"time does not run back from {self._now} to {moment}")
        self._now = moment


class OwnStore(ClickHouseStore):
    """The store as this installation has it: with the traffic of its one model."""

    def __init__(self, shared: ClickHouseStore, model: str) -> None:
        super().__init__(shared.engine)
        self._model = model

    async def models(self) -> tuple[str, ...]:
        return tuple(each for each in await super().models() if each == self._model)

    async def close(self) -> None:
        """It is shared: whoever opened it closes it."""


class WorldTelemetry:
    """`Telemetry` over the world's machine; it knows two metrics, and the selector that policy asks them with."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ping(self) -> None:
        return None

    async def query(self, promql: str, at: datetime) -> tuple[Sample, ...]:
        name, model = self._parsed(promql)
        if model != self._world.model:
            return ()
        return (Sample(labels={"__name__": name, "model": model}, at=at, value=self._world.reading(METRICS[name], at)),)

    async def query_range(self, promql: str, window: Window, step: timedelta) -> tuple[Series, ...]:
        name, model = self._parsed(promql)
        if model != self._world.model:
            return ()
        count = int((window.length - timedelta(microseconds=1)) / step) + 1
        moments = [window.start + place * step for place in range(count)]
        points = tuple((at, self._world.reading(METRICS[name], at)) for at in moments)
        return (Series(labels={"__name__": name, "model": model}, points=points),)

    def _parsed(self, promql: str) -> tuple[str, str]:
        found = _SELECTOR.fullmatch(promql)
        if found is None or found[1] not in METRICS:
            raise PermanentError(f"bad_data: {promql!r} is no selector of {', '.join(METRICS)}")
        return found[1], found[2]


@dataclass
class _Job:
    spec: JobSpec
    state: JobState
    ends_at: datetime


class WorldJobs:
    """`Jobs` on the world's time. A training learns the world of its end, and registers what it has learnt."""

    def __init__(self, clock: Clock, takes: timedelta, made: Callable[[str, datetime], Awaitable[None]]) -> None:
        """`made`: registers the version that the job of that name has trained."""
        self._clock = clock
        self._takes = takes
        self._made = made
        self._jobs: dict[str, _Job] = {}

    @property
    def due(self) -> datetime | None:
        return min((job.ends_at for job in self._jobs.values() if not job.state.final), default=None)

    @property
    def spent(self) -> timedelta:
        """By all of them together, until now."""
        now, total = self._clock.now(), timedelta(0)
        for job in self._jobs.values():
            total += min(job.state.ended_at or now, now) - job.state.submitted_at
        return total

    async def settle(self) -> None:
        """End those whose time has come."""
        for name, job in self._jobs.items():
            if not job.state.final and job.ends_at <= self._clock.now():
                await self._made(name, job.ends_at)
                job.state = job.state.model_copy(update={"phase": Phase.SUCCEEDED, "ended_at": job.ends_at})

    async def ping(self) -> None:
        return None

    async def submit(self, key: str, spec: JobSpec) -> JobState:
        name = job_name(key)
        if name not in self._jobs:
            now = self._clock.now()
            state = JobState(
                name=name,
                model=spec.model,
                team=spec.team,
                run_id=spec.run_id,
                phase=Phase.RUNNING,
                attempts=1,
                submitted_at=now,
                started_at=now,
            )
            self._jobs[name] = _Job(spec, state, now + self._takes)
        elif self._jobs[name].spec.fingerprint != spec.fingerprint:
            raise Conflict(f"key: {key!r} is the job {name}, with another spec; another job needs another key")
        return self._jobs[name].state

    async def leftovers(self, model: str) -> tuple[Leftover, ...]:  # noqa: ARG002
        return ()

    async def discard(self, item: Leftover) -> Discarded:
        raise PermanentError(f"{item} is nowhere here: a world's jobs leave no files")

    async def restore(self, item: Leftover) -> None:
        raise PermanentError(f"{item} is nowhere here: a world's jobs leave no files")

    async def buying(self, model: str) -> Buying:  # noqa: ARG002
        return Buying(pricing=Pricing.STANDARD, offered=(Pricing.STANDARD,))

    async def set_buying(self, model: str, pricing: Pricing, *, expected: Pricing, key: str) -> Buying:  # noqa: ARG002
        raise PermanentError(f"capacity for {model} is not offered as {pricing.value} here")

    async def cancel(self, name: str, *, reason: str) -> JobState:
        job = self._known(name)
        if not job.state.final:
            ended = {"phase": Phase.FAILED, "reason": Reason.CANCELLED, "detail": reason, "ended_at": self._clock.now()}
            job.state = job.state.model_copy(update=ended)
        return job.state

    async def jobs(self, *, model: str | None = None) -> tuple[JobState, ...]:
        return tuple(job.state for job in reversed(self._jobs.values()) if model in (None, job.state.model))

    async def state(self, name: str) -> JobState:
        return self._known(name).state

    async def watch(self, name: str) -> AsyncGenerator[JobState]:
        yield self._known(name).state

    async def logs(self, name: str, *, tail: int | None = None, follow: bool = False) -> AsyncGenerator[str]:  # noqa: ARG002
        self._known(name)
        for line in tuple[str]():
            yield line

    async def usage(self, name: str) -> Usage:
        state = self._known(name).state
        wall = ((state.ended_at or self._clock.now()) - state.submitted_at).total_seconds()
        return Usage(wall_seconds=wall, gpu_seconds=0.0)

    def _known(self, name: str) -> _Job:
        if name not in self._jobs:
            raise PermanentError(f"no job {name!r} is known here")
        return self._jobs[name]
