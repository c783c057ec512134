"""What each source of usage tells at one moment, as it is to be booked: its hours as a whole, each key once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from agents.policies import Policies
from agents.training import made_by
from tools.costs.meters import idle, jobs, serving, storage
from tools.costs.meters.holding import Holding, accrued, since
from tools.costs.meters.hours import HOUR, hour_of
from tools.costs.port import Component, CostLedger, Owner, Usage
from tools.costs.prices import PriceBook
from tools.costs.units import Resource
from tools.errors import PermanentError, TemporaryError
from tools.jobs.port import JobsReader, JobState, Phase
from tools.predictions.port import PredictionReader
from tools.registry.port import RegistryReader
from tools.serving.port import ServingReader
from tools.values import Window

LATE = timedelta(hours=6)
"""So far back what is held is taken up again after a stop, and what was answered is looked at anew each time: records come
within seconds, but a gateway writes on while the service is away."""
VERY_LATE = timedelta(days=7)
"""So far back what was answered is looked at when a process starts, and once a day: segments that had waited for it, or were
brought from elsewhere, are of any age."""


@dataclass(frozen=True)
class Places:
    """Folders that take room; None: it is none of this machine's."""

    artifacts: Path | None = None
    checkpoints: Path | None = None
    lake: Path | None = None


@dataclass(frozen=True)
class Sources:
    jobs: JobsReader
    predictions: PredictionReader
    serving: ServingReader
    registry: RegistryReader
    places: Places = Places()
    load_balancers: int = 0
    monitored: bool = False
    """Whether a metrics system and its dashboards run for us."""
    real_time: bool = True
    """Whether the clock is that of the machine which the jobs' times are told by."""


class Meters:
    def __init__(
        self,
        ledger: CostLedger,
        book: PriceBook,
        sources: Sources,
        policies: Callable[[], Policies],
        trials: Callable[[str, Window], Awaitable[Sequence[serving.Trial]]],
    ) -> None:
        self._ledger = ledger
        self._book = book
        self._sources = sources
        self._policies = policies
        self._trials = trials
        self._first_seen: dict[tuple[str, ...], datetime] = {}
        self._sizes: tuple[datetime, tuple[Holding, ...]] | None = None

    async def of_job(self, job: JobState) -> Sequence[Usage]:
        """So far; nothing before it has begun, or once it is forgotten."""
        if job.started_at is None:
            return ()
        try:
            used = await self._sources.jobs.usage(job.name)
        except PermanentError:
            return ()
        # On a clock that runs at another pace than the machine's: when it was asked for.
        begun = job.started_at if self._sources.real_time else job.submitted_at
        return jobs.usages(job, used, begun, job.pricing, await self._made(job))

    async def of_serving(self, now: datetime, *, first: bool, far: bool) -> Sequence[Usage]:
        """`first`: what is held goes on where the process before this one left it. `far`: as far back as `VERY_LATE`."""
        back = VERY_LATE if far else LATE
        start = hour_of(now - back)
        served = await self._served()
        found: list[Usage] = []
        for model in sorted({*await self._sources.predictions.models(), *served}):
            window = Window(start=start, end=now)
            works = await self._sources.predictions.works(model, window, HOUR)
            trials = await self._trials(model, window) if works else ()
            used = serving.usages(model, works, self._team(model), now, self._book, trials)
            found += used
            if model in served:
                found += await self._idle(model, used, now, back, first=first)
        return found

    async def of_storage(self, now: datetime) -> Sequence[Usage]:
        if self._sizes is None or hour_of(self._sizes[0]) != hour_of(now):
            # Folders are walked once an hour: what is kept for months changes little in one.
            self._sizes = now, await self._measured()
        return await self._accrued(self._sizes[1], now)

    async def of_standing(self, now: datetime) -> Sequence[Usage]:
        """What is paid by the hour for being there."""
        held = []
        if self._sources.load_balancers:
            owner = Owner(component=Component.SERVING, part="load balancer", workload="load balancer")
            number = Decimal(self._sources.load_balancers)
            held.append(Holding(name=("load balancer",), resource=Resource.LOAD_BALANCER, rate=number, owner=owner))
        if self._sources.monitored:
            owner = Owner(component=Component.MONITORING, part="Prometheus and Grafana", workload="Prometheus")
            held.append(Holding(name=("monitoring",), resource=Resource.MONITORING, rate=Decimal(1), owner=owner))
        return await self._accrued(held, now)

    async def _made(self, job: JobState) -> str:
        """The version that it has registered: it has by the time it has ended well."""
        if job.phase is not Phase.SUCCEEDED:
            return ""
        try:
            return made_by(job.name, await self._sources.registry.versions(job.model)) or ""
        except PermanentError:  # a name that no registry takes
            return ""

    async def _served(self) -> frozenset[str]:
        """Models that the gateway holds workers for; where it is away it holds nothing, and what it answered is in its log."""
        try:
            return frozenset(await self._sources.serving.models())
        except TemporaryError:
            for name in [each for each in self._first_seen if each[0] == idle.NAME]:
                del self._first_seen[name]
            return frozenset()

    async def _idle(self, model: str, used: Sequence[Usage], now: datetime, back: timedelta, *, first: bool) -> Sequence[Usage]:
        held = idle.workers(model, (await self._sources.serving.capacity(model)).workers, self._team(model))
        compute = {each.key: each for each in used if each.resource is Resource.CPU}
        first_seen = self._first_seen.setdefault(held.name, now)
        told = await self._ledger.told([*held.keys(now, back), *compute])
        start = since(held, told, now, LATE, first_seen)
        if not first:  # what a process before this one has seen may have been held since; what was away has not been
            start = max(start, first_seen)
        return idle.usages(held, compute, told, start, now, back)

    async def _measured(self) -> tuple[Holding, ...]:
        places, team = self._sources.places, self._team
        found = [*storage.held("prediction log", await self._sources.predictions.stored(), team, logged=True)]
        if places.lake is not None:
            found += storage.held("lake", {"": await asyncio.to_thread(storage.folder_bytes, places.lake)}, team)
        if places.checkpoints is not None:
            found += storage.held("checkpoints", await asyncio.to_thread(storage.checkpoint_bytes, places.checkpoints), team)
        if places.artifacts is not None:
            of_runs = await asyncio.to_thread(storage.artifact_bytes, places.artifacts)
            found += storage.held("artifacts", await self._by_model(of_runs), team)
        return tuple(found)

    async def _by_model(self, of_runs: Mapping[str, int]) -> Mapping[str, int]:
        if not any(of_runs.values()):
            return {}
        made: dict[str, str] = {}
        for model in await self._sources.registry.models():
            for version in await self._sources.registry.versions(model):
                if version.run_id is not None:
                    made.setdefault(version.run_id, model)
        sizes: dict[str, int] = {}
        for run, size in of_runs.items():
            model = made.get(run, "")
            sizes[model] = sizes.get(model, 0) + size
        return sizes

    async def _accrued(self, holdings: Sequence[Holding], now: datetime) -> Sequence[Usage]:
        told = await self._ledger.told([key for each in holdings for key in each.keys(now, LATE)])
        found: list[Usage] = []
        for each in holdings:
            first_seen = self._first_seen.setdefault(each.name, now)
            found += accrued(each, told, since(each, told, now, LATE, first_seen), now)
        return found

    def _team(self, model: str) -> str:
        """Who pays for it, where policy names one."""
        own = self._policies().models.get(model)
        return own.training.team if own is not None else ""
