"""Looks at every table of the lake by itself, and raises what gets worse through intake. See `api/work/standings.py`."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from agents import monitoring
from agents.datasets import judge
from agents.policies import Policies
from api.store.database import Database
from api.work.intake import Intake
from api.work.patience import Patience
from api.work.standings import Standings, Watched, nameable
from tools.clock import Clock
from tools.errors import PermanentError, TemporaryError
from tools.quality.history import Histories

log = structlog.get_logger()

_AT_ONCE = 1
"""How many windows in a row raise an alert: the judgement itself asks for several batches in a row, and of the same batches one
more look says nothing more."""


class _Unread(TemporaryError):
    """One table could not be read; the database is there."""


class DatasetWatch:
    def __init__(
        self, database: Database, intake: Intake, histories: Histories, policies: Callable[[], Policies], clock: Clock
    ) -> None:
        self._standings = Standings(database, intake, clock)
        self._histories = histories
        self._policies = policies
        self._clock = clock
        self._patience = Patience(clock)
        self._rest_until: datetime | None = None

    async def once(self) -> int:
        """How many tables were looked at. Raises TemporaryError when the lake or the database is away; or, after all others
        were looked at, when a table could not be read or rests because of that.

        Between two windows the lake is left alone: it may be one that only one process at a time can have.
        """
        if self._rest_until is not None and self._clock.now() < self._rest_until:
            return 0
        policies = self._policies()
        next_window = min(
            self._standings.tick(each.every) + each.every for each in (policies.dataset, *policies.datasets.values())
        )
        looked, delayed = 0, list[str]()
        for table in await self._histories.tables():
            if not nameable(table):
                continue
            if self._patience.resting(table):
                delayed.append(table)
                continue
            try:
                looked += await self._look(table)
            except PermanentError as error:
                # It stays so for this table until somebody acts; the others are looked at.
                log.warning("monitor.failed", table=table, reason=str(error))
            except _Unread as error:
                log.warning("monitor.delayed", table=table, reason=str(error))
                self._patience.failed(table)
                delayed.append(table)
            else:
                self._patience.worked(table)
        if delayed:
            raise TemporaryError(f"{len(delayed)} tables cannot be read for now ({', '.join(delayed[:3])})")
        self._rest_until = next_window
        return looked

    async def _look(self, table: str) -> bool:
        """Whether its latest window had not been looked at."""
        rules = self._policies().dataset_of(table)
        tick = self._standings.tick(rules.every)
        watched = Watched.dataset(table, rules.model)
        due = await self._standings.due(watched.subject, rules.enabled, tick)
        if not due:
            return False
        try:
            batches = await self._histories.batches(table, rules.history)
        except TemporaryError as error:
            raise _Unread(str(error)) from error
        found = await asyncio.to_thread(judge, batches, rules, tick)
        for check in (monitoring.dataset_quality(found), monitoring.dataset_freshness(found.freshness)):
            if check.monitor in due:
                await self._standings.settle(watched, check, due[check.monitor], tick, _AT_ONCE, rules.repeat)
        return True
