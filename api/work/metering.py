"""The meters are read every few minutes, and what they say is booked, once.

Each source is read by itself: one that does not answer keeps no other from the bill, and is read again. What a source tells
late corrects the hours that it is about. Nothing is remembered here that the ledger does not know, so that a process killed at
any moment is followed by one that books the same.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
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
_AT_FIRST = timedelta(minutes=1)
"""The same while the process is younger than that: who has just started it wants to see something."""


class Meter(Protocol):
    """How fresh the bill is, and what is missing on it."""

    @property
    def until(self) -> datetime | None:
        """When the meters were last read; None: this process has not read them yet."""
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


class Metering:
    """`Meter`."""

    def __init__(
        self, database: Database, ledger: CostLedger, book: PriceBook, meters: Meters, jobs: JobsReader, clock: Clock
    ) -> None:
        self.unpriced: tuple[str, ...] = ()
        self.until: datetime | None = None
        self._database = database
        self._ledger = ledger
        self._book = book
        self._meters = meters
        self._jobs = jobs
        self._clock = clock
        self._born = clock.now()
        self._over: set[str] = set()
        """Jobs that are booked to their end."""

    async def once(self) -> int:
        """How many lines were booked: between two readings, of jobs that have ended. Raises TemporaryError when the ledger is
        away, when another process reads the meters just now, or, after all others were read, when a source does not answer."""
        now = self._clock.now()
        often = _EVERY if now - self._born > _EVERY else _AT_FIRST
        if self.until is not None and now - self.until < often:
            return await self._book_ended()
        async with self._database.hold(_NAME):
            return await self._read(now)

    async def _book_ended(self) -> int:
        """What a job has cost is asked for as soon as it is over."""
        readings, ended = await self._of_jobs(running=False)
        if not readings:
            return 0
        async with self._database.hold(_NAME):
            booked = await self._settle(readings, self.unpriced)
        self._over |= ended
        return booked

    async def _read(self, now: datetime) -> int:
        first = self.until is None
        sources: dict[str, Callable[[], Awaitable[Sequence[Usage]]]] = {
            "serving": lambda: self._meters.of_serving(now, first=first),
            "storage": lambda: self._meters.of_storage(now),
            "standing": lambda: self._meters.of_standing(now),
        }
        away: list[str] = []
        readings: list[Usage] = []
        ended: set[str] = set()
        try:
            readings, ended = await self._of_jobs(running=True)
        except TemporaryError as error:
            away.append(f"jobs: {error}")
        for name, read in sources.items():
            try:
                readings += await read()
            except TemporaryError as error:
                away.append(f"{name}: {error}")
            except PermanentError as error:
                # It stays so until somebody acts; the others are read.
                log.warning("meter.failed", meter=name, reason=str(error))
        booked = await self._settle(readings, ())
        self._over |= ended
        if away:
            raise TemporaryError(f"{len(away)} of what is metered cannot be read for now ({'; '.join(away)[:300]})")
        self.until = now
        return booked

    async def _of_jobs(self, *, running: bool) -> tuple[list[Usage], set[str]]:
        """Of all but those that are booked to their end, and the names of those that are with this."""
        states = await self._jobs.jobs()
        self._over &= {job.name for job in states}
        readings: list[Usage] = []
        ended: set[str] = set()
        for job in states:
            if job.name not in self._over and (running or job.final):
                readings += await self._meters.of_job(job)
                if job.final:
                    ended.add(job.name)
        return readings, ended

    async def _settle(self, readings: Sequence[Usage], unpriced: tuple[str, ...]) -> int:
        settled = await settle(self._ledger, readings, self._book)
        unpriced = tuple(sorted({*unpriced, *settled.unpriced}))
        if unpriced != self.unpriced:
            log.warning("costs.unpriced", resources=unpriced)
        self.unpriced = unpriced
        return settled.booked
