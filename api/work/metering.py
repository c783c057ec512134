"""The meters are read every few minutes, and what they say is booked, once.

Each source is read by itself: one that does not answer keeps no other from the bill, and is read again. What a source tells
late corrects the hours that it is about. Nothing is remembered here that the ledger does not know, so that a process killed at
any moment is followed by one that books the same.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from api.store.database import Database
from api.work.meters import Meters
from tools.clock import Clock
from tools.costs.meters.settling import settle
from tools.costs.port import CostLedger, Usage
from tools.costs.prices import PriceBook
from tools.errors import PermanentError, TemporaryError
from tools.jobs.port import JobsReader

log = structlog.get_logger()

_NAME = "the reading of the meters"
"""What one process of all does at a time."""
_EVERY = timedelta(minutes=10)
"""Between two readings, by the platform's clock. The hour under way is booked anew with each, which is two lines for each key:
so often they are a million a year for ten models."""
_FAR_EVERY = timedelta(days=1)
"""Between two looks for what was logged days late."""
_AT_FIRST = timedelta(minutes=1)
"""The same while the process is younger than that: who has just started it wants to see something."""


_JOBS, _SERVING, _STORAGE, _STANDING = SOURCES = ("jobs", "serving", "storage", "standing")


class Meter(Protocol):
    """How fresh the bill is, and what is missing on it."""

    @property
    def until(self) -> datetime | None:
        """Until when all that can be read is booked; None: not since this process was started."""
        ...

    @property
    def unread(self) -> tuple[str, ...]:
        """What could not be read at the latest try: sources, or single jobs."""
        ...

    @property
    def unpriced(self) -> tuple[str, ...]:
        """What is metered that the price book has no price of."""
        ...


@dataclass(frozen=True)
class Billing:
    book: PriceBook
    source: str
    """In words: where the prices are from."""
    meter: Meter


@dataclass
class _OfJobs:
    readings: list[Usage] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    silent: dict[str, str] = field(default_factory=dict)
    """By job: why it could not be asked."""


class Metering:
    """`Meter`."""

    def __init__(
        self, database: Database, ledger: CostLedger, book: PriceBook, meters: Meters, jobs: JobsReader, clock: Clock
    ) -> None:
        self.unpriced: tuple[str, ...] = ()
        self._database = database
        self._ledger = ledger
        self._book = book
        self._meters = meters
        self._jobs = jobs
        self._clock = clock
        self._born = clock.now()
        self._tried: dict[str, datetime] = {}
        """By source: when it was last asked."""
        self._booked: dict[str, datetime] = {}
        """By source: up to when it is."""
        self._away: set[str] = set()
        """Sources that did not answer, and are asked again before it is their time."""
        self._broken: set[str] = set()
        """Sources that will not answer until somebody acts."""
        self._far_tried: datetime | None = None
        self._far_booked: datetime | None = None
        self._over: set[str] = set()
        """Jobs that are booked to their end."""
        self._silent: set[str] = set()
        """Jobs that could not be asked what they have used."""

    @property
    def until(self) -> datetime | None:
        booked = [self._booked.get(name) for name in SOURCES if name not in self._broken]
        known = [each for each in booked if each is not None]
        return min(known) if known and len(known) == len(booked) else None

    @property
    def unread(self) -> tuple[str, ...]:
        return (
            *(name for name in SOURCES if name in self._away | self._broken),
            *(f"job {name}" for name in sorted(self._silent)),
        )

    async def once(self) -> int:
        """How many lines were booked: between two readings, of jobs that have ended. Raises TemporaryError when the ledger is
        away, when another process reads the meters just now, or, after all others were read, when a source does not answer."""
        now = self._clock.now()
        due = [name for name in SOURCES if self._due(name, now)]
        if not due:
            return await self._book_ended()
        async with self._database.hold(_NAME):
            return await self._read(due, now)

    def _due(self, name: str, now: datetime) -> bool:
        often = _EVERY if now - self._born > _EVERY else _AT_FIRST
        return name in self._away or name not in self._tried or now - self._tried[name] >= often

    async def _book_ended(self) -> int:
        """What a job has cost is asked for as soon as it is over."""
        jobs = await self._of_jobs(running=False)
        booked = 0
        if jobs.readings:
            async with self._database.hold(_NAME):
                booked = await self._settle(jobs.readings, self.unpriced)
        self._note(jobs)
        return booked

    async def _read(self, due: Sequence[str], now: datetime) -> int:
        """Only what is due: one that is away has no other read more often."""
        far = _SERVING in due and self._looks_far_back(now)
        if far:
            self._far_tried = now
        sources: dict[str, Callable[[], Awaitable[Sequence[Usage]]]] = {
            _SERVING: lambda: self._meters.of_serving(now, first=_SERVING not in self._booked, far=far),
            _STORAGE: lambda: self._meters.of_storage(now),
            _STANDING: lambda: self._meters.of_standing(now),
        }
        away: dict[str, str] = {}
        broken: set[str] = set()
        readings: list[Usage] = []
        jobs: _OfJobs | None = None
        try:
            jobs = await self._of_jobs(running=_JOBS in due)
            readings += jobs.readings
        except TemporaryError as error:
            away[_JOBS] = str(error)
        for name, read in sources.items():
            if name not in due:
                continue
            try:
                readings += await read()
            except TemporaryError as error:
                away[name] = str(error)
            except PermanentError as error:
                # It stays so until somebody acts; the others are read.
                log.warning("meter.failed", meter=name, reason=str(error))
                broken.add(name)
        self._away = (self._away - set(due)) | away.keys()
        self._broken = (self._broken - set(due)) | broken
        booked = await self._settle(readings, () if len(due) == len(SOURCES) else self.unpriced)
        self._tried |= dict.fromkeys(due, now)
        self._booked |= {name: now for name in due if name not in away and name not in broken}
        if far and self._booked.get(_SERVING) == now:
            self._far_booked = now
        if jobs is not None:
            self._note(jobs)
        if away:
            said = "; ".join(f"{name}: {reason}" for name, reason in away.items())
            raise TemporaryError(f"{len(away)} of what is metered cannot be read for now ({said[:300]})")
        return booked

    def _looks_far_back(self, now: datetime) -> bool:
        """A week is much to read: it is done once a day, and while that does not come to a booking, not with each try."""
        if self._far_booked is not None and now - self._far_booked < _FAR_EVERY:
            return False
        return self._far_tried is None or now - self._far_tried >= _EVERY

    async def _of_jobs(self, *, running: bool) -> _OfJobs:
        """Of all but those that are booked to their end. One that cannot be asked keeps no other from the bill."""
        states = await self._jobs.jobs()
        self._over &= {job.name for job in states}
        found = _OfJobs()
        for job in states:
            if job.name not in self._over and (running or job.final or job.name in self._silent):
                try:
                    found.readings += await self._meters.of_job(job)
                except TemporaryError as error:
                    found.silent[job.name] = str(error)
                    continue
                if job.final:
                    found.ended.add(job.name)
        return found

    def _note(self, jobs: _OfJobs) -> None:
        """Once they are booked."""
        self._over |= jobs.ended
        for name in jobs.silent.keys() - self._silent:
            log.warning("meter.failed", meter=f"job {name}", reason=jobs.silent[name])
        self._silent = set(jobs.silent)

    async def _settle(self, readings: Sequence[Usage], unpriced: tuple[str, ...]) -> int:
        settled = await settle(self._ledger, readings, self._book)
        unpriced = tuple(sorted({*unpriced, *settled.unpriced}))
        if unpriced != self.unpriced:
            log.warning("costs.unpriced", resources=unpriced)
        self.unpriced = unpriced
        return settled.booked
