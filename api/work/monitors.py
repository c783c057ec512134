"""Looks at every model by itself, and raises what is wrong through intake. See `api/work/standings.py`."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

import structlog

from agents import monitoring
from agents.drift.causes import explain, pairs
from agents.drift.verdicts import compare
from agents.monitoring import Check
from agents.policies import Monitors, Policies
from api.store.database import Database
from api.work.intake import Intake
from api.work.patience import Patience
from api.work.standings import Standings, Watched, nameable
from graphs.drifting import beside_training, drift_windows, left_out, observe_drift
from graphs.lasting import lasts, lasts_beside
from tools.clock import Clock
from tools.errors import PermanentError, TemporaryError
from tools.predictions.port import PredictionReader
from tools.quarantines.port import QuarantineReader
from tools.registry.port import Alias, RegistryReader
from tools.values import Window

log = structlog.get_logger()

_PARTS: dict[str, frozenset[str]] = {
    "data": frozenset({"drift", "data_quality"}),
    "skew": frozenset({"skew"}),
    "performance": frozenset({"performance"}),
    "freshness": frozenset({"freshness"}),
}
"""Monitors that are asked by the same questions; where one of these fails, the others are still asked."""


class _Look(NamedTuple):
    looked: bool
    """Whether there was a window that had not been looked at."""
    delayed: tuple[str, ...]
    """What the store could not tell for now, and why."""


class Watch:
    def __init__(
        self,
        database: Database,
        intake: Intake,
        predictions: PredictionReader,
        registry: RegistryReader,
        quarantines: QuarantineReader,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._standings = Standings(database, intake, clock)
        self._predictions = predictions
        self._registry = registry
        self._quarantines = quarantines
        self._policies = policies
        self._patience = Patience(clock)
        self._delayed: dict[tuple[str, str], tuple[str, ...]] = {}
        """Why a part of a model rests; nothing where only a person can help."""

    async def once(self) -> int:
        """How many models were looked at. Raises TemporaryError when the store or the database is away; or, after all others
        were looked at, when one could not be or rests because of that."""
        looked, delayed = 0, list[str]()
        for model in await self._predictions.models():
            if nameable(model):
                found = await self._look(model)
                looked += found.looked
                delayed += [f"{model}: {each}" for each in found.delayed]
        if delayed:
            raise TemporaryError(f"{len(delayed)} of what is looked at cannot be read for now ({'; '.join(delayed[:3])})")
        return looked

    async def _look(self, model: str) -> _Look:
        rules = self._policies().monitors_of(model)
        tick = self._standings.tick(rules.every)
        watched = Watched.model(model)
        due = await self._standings.due(watched.subject, rules.enabled, tick)
        looked, delayed = False, list[str]()
        for part, names in _PARTS.items():
            asked = names & set(due)
            if not asked:
                continue
            if self._patience.resting(model, part):
                delayed += self._delayed.get((model, part), ())
                continue
            try:
                checks = await self._checks(model, part, tick, rules, asked)
            except PermanentError as error:
                # It stays so for this model until somebody acts; the others are looked at.
                log.warning("monitor.failed", model=model, reason=str(error))
                self._rest(model, part)
                continue
            except TemporaryError as error:
                await self._predictions.ping()  # Raises where the store is away for all.
                log.warning("monitor.delayed", model=model, part=part, reason=str(error))
                self._rest(model, part, f"{part}: {str(error)[:200]}")
                delayed += self._delayed[model, part]
                continue
            self._patience.worked(model, part)
            for check in checks:
                in_a_row = self._in_a_row(model, check)
                await self._standings.settle(watched, check, due[check.monitor], tick, in_a_row, rules.repeat)
            looked = True
        return _Look(looked=looked, delayed=tuple(delayed))

    def _rest(self, model: str, part: str, *reasons: str) -> None:
        self._patience.failed(model, part)
        self._delayed[model, part] = reasons

    async def _checks(self, model: str, part: str, tick: datetime, rules: Monitors, due: frozenset[str]) -> list[Check]:
        policies = self._policies()
        match part:
            case "data":
                return [each for each in await self._data(model, tick, policies, rules, "drift" in due) if each.monitor in due]
            case "skew":
                return [await self._skew(model, drift_windows(policies.drift_of(model), tick)[1], policies, rules)]
            case "performance":
                window = Window(start=tick - policies.investigation.window, end=tick)
                versions = await self._predictions.versions(model, window)
                return [monitoring.performance(versions, policies.slo_of(model), policies)]
            case _:
                silence = Window(start=tick - rules.max_silence, end=tick)
                before = silence.shifted(-silence.length)
                volumes = [await self._predictions.volume(model, window, window.length) for window in (before, silence)]
                return [monitoring.freshness(volumes[0], volumes[1])]

    async def _data(self, model: str, tick: datetime, policies: Policies, rules: Monitors, drifts: bool) -> tuple[Check, Check]:
        """Drift and quality: of one count of the same windows."""
        drift = policies.drift_of(model)
        reference, current = drift_windows(drift, tick)
        without = await left_out(model, reference, current, drift, self._quarantines)
        seen = await observe_drift(model, reference, current, self._predictions, drift, without=without)
        found = await asyncio.to_thread(explain, seen, drift.rules)
        fresh = await lasts(model, seen, found, self._predictions, drift, rules.every, without) if drifts else True
        return monitoring.drift(found, fresh=fresh), monitoring.data_quality(found)

    async def _skew(self, model: str, window: Window, policies: Policies, rules: Monitors) -> Check:
        try:
            champion = await self._registry.alias(model, Alias.CHAMPION)
            both = await beside_training(model, champion, window, self._registry, self._predictions) if champion else None
        except PermanentError as error:
            # Predictions may be of a model that the registry does not know, or not any more.
            return Check(monitor="skew", bad=None, summary=str(error)[:1_000])
        if both is None:
            return monitoring.skew(None, champion)
        drift = policies.drift_of(model)
        found = await asyncio.to_thread(compare, pairs(both[0].features, both[1].features), drift.rules)
        moved = found.cause == "covariate_drift"
        fresh = await lasts_beside(model, *both, found, self._predictions, drift, rules.every) if moved else True
        return monitoring.skew(found, champion, fresh=fresh)

    def _in_a_row(self, model: str, check: Check) -> int:
        policies = self._policies()
        about_data = check.monitor in ("drift", "data_quality", "skew")
        return policies.drift_of(model).in_a_row if about_data else policies.monitors_of(model).in_a_row
