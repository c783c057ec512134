"""Looks at what everything costs by itself, and raises what is unusual, or more than its budget, through intake.

See `api/work/standings.py`. A look judges the last two weeks anew, by what is booked now: a correction that comes late takes an
alert back, and a spike of the night is still told in the morning, for a day.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from agents.cost.alarms import Judged, strained, told, unusual
from agents.cost.budgets import burn
from agents.cost.forecasts import period
from agents.cost.rules import Budget, CostSignals
from agents.monitoring import Check
from agents.policies import Policies
from api.store.database import Database
from api.store.records import MonitorRecord
from api.work.intake import Intake
from api.work.standings import Standings, Watched, nameable
from graphs.spending import forecast_of, judged, origin_of, until
from tools.clock import Clock
from tools.costs.port import CostReader, Dimension
from tools.errors import PermanentError
from tools.jobs.port import JobsReader

log = structlog.get_logger()

_MONITOR = "cost"
"""Value of the label `monitor`: whoever takes alerts about money knows them by it."""
_STALE = timedelta(days=1)
"""A ledger that was told nothing for longer says nothing of now."""
_MOST_EXPLAINED = 10
"""In one look, the dearest first: each takes several questions to the ledger."""
_LONGEST_SUBJECT = 220
"""Of a row of `monitors`."""
_AT_ONCE = 1
"""How many looks raise an alert: what is unusual has been so over hours, and a look an hour later says little more."""


class CostWatch:
    def __init__(
        self,
        database: Database,
        intake: Intake,
        costs: CostReader,
        jobs: JobsReader,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._standings = Standings(database, intake, clock)
        self._costs = costs
        self._jobs = jobs
        self._policies = policies
        self._clock = clock
        self._rest_until: datetime | None = None

    async def once(self) -> int:
        """How many series and budgets were looked at. Raises TemporaryError when the ledger or the database is away.

        Between two windows the ledger is left alone.
        """
        rules, now = self._policies().cost, self._clock.now()
        if not rules.enabled or (self._rest_until is not None and now < self._rest_until):
            return 0
        tick = self._standings.tick(rules.every)
        try:
            looked = await self._look(rules, tick)
        except PermanentError as error:
            # It stays so until somebody acts; the next window is tried all the same.
            log.warning("monitor.failed", monitor=_MONITOR, reason=str(error))
            looked = 0
        self._rest_until = tick + rules.every
        return looked

    async def _look(self, rules: CostSignals, tick: datetime) -> int:
        end = await until(self._costs, rules, tick)
        if end is None or tick - end > rules.settle + _STALE:
            return 0
        looked = 0
        found = [each for each in await judged(self._costs, rules, end) if nameable(each.spending.name)]
        saying = [each for currency in {each.spending.currency for each in found} for each in told(_of(found, currency))]
        explained = sorted(saying, key=lambda each: -each.open.excess if each.open else 0.0)[:_MOST_EXPLAINED]
        for each in found:
            looked += await self._settle(each, tick, says=each in saying, explained=each in explained)
        for budget in rules.budgets:
            looked += await self._budget(budget, rules, tick, end)
        return looked

    async def _settle(self, found: Judged, tick: datetime, *, says: bool, explained: bool) -> bool:
        watched = watched_cost(found)
        due = await self._standings.due(watched.subject, ("cost",), tick)
        if "cost" not in due:
            return False
        came_from = None
        if explained and found.open is not None:
            came_from = await origin_of(found.spending, found.open, self._costs, self._jobs)
        await self._raise(watched, unusual(found, came_from, silent=not says), due["cost"], tick)
        return True

    async def _budget(self, budget: Budget, rules: CostSignals, tick: datetime, end: datetime) -> bool:
        watched = watched_budget(budget)
        due = await self._standings.due(watched.subject, ("budget",), tick)
        if "budget" not in due:
            return False
        window = period(budget.every, end)
        forecasts = await forecast_of(self._costs, rules, window, end, budget.where)
        own = next((each for each in forecasts if each.currency == budget.currency), None)
        if own is not None:
            await self._raise(watched, strained(burn(budget, own)), due["budget"], tick)
        return own is not None

    async def _raise(self, watched: Watched, check: Check, record: MonitorRecord, tick: datetime) -> None:
        await self._standings.settle(watched, check, record, tick, _AT_ONCE, self._policies().monitors.repeat)


def _of(found: list[Judged], currency: str) -> list[Judged]:
    return [each for each in found if each.spending.currency == currency]


def watched_cost(found: Judged) -> Watched:
    spending, now = found.spending, found.open
    dimension = spending.dimension.value if spending.dimension is not None else "whole"
    subject = _subject("cost", dimension, spending.currency, spending.name)
    labels = {"kind": "cost", "dimension": dimension, "currency": spending.currency}
    if now is not None:
        labels |= {"excess": f"{now.excess:.2f}", "rule": now.rule}
        labels |= {"excess_share": f"{now.share:.4f}"} if now.share is not None else {}
    return Watched(subject=subject, identity=subject, labels=labels | _whose(dimension, spending.name))


def watched_budget(budget: Budget) -> Watched:
    subject = _subject("budget", budget.of, budget.every, budget.currency, budget.name)
    labels = {"kind": "budget", "monitor": _MONITOR, "dimension": budget.of, "currency": budget.currency}
    return Watched(subject=subject, identity=subject, labels=labels | _whose(budget.of, budget.name))


def _subject(*words: str) -> str:
    said = ":".join(words)
    if len(said) <= _LONGEST_SUBJECT:
        return said
    return f"{said[: _LONGEST_SUBJECT - 13]}~{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _whose(dimension: str, name: str) -> dict[str, str]:
    """What a model costs is a case of its own, as `agents/subjects.py` says; and so is what a team, or everything, costs."""
    if dimension == Dimension.MODEL.value:
        return {"model": name}
    return {"component": f"costs:{dimension}:{name}", dimension: name} if name else {"component": "costs"}
