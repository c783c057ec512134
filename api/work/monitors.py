"""Looks at every model by itself, and raises what is wrong through intake. See `api/work/standings.py`."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

import structlog

from agents import monitoring
from agents.drift.causes import explain, pairs
from agents.drift.verdicts import compare
from agents.monitoring import Check
from agents.policies import Monitors, Policies
from api.store.database import Database
from api.work.intake import Intake
from api.work.standings import Standings, Watched, nameable
from graphs.drifting import beside_training, drift_windows, left_out, observe_drift
from graphs.lasting import lasts, lasts_beside
from tools.clock import Clock
from tools.errors import PermanentError
from tools.predictions.port import PredictionReader
from tools.quarantines.port import QuarantineReader
from tools.registry.port import Alias, RegistryReader
from tools.values import Window

log = structlog.get_logger()


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

    async def once(self) -> int:
        """How many models were looked at. Raises TemporaryError when the store or the database is away."""
        looked = 0
        for model in await self._predictions.models():
            if not nameable(model):
                continue
            try:
                looked += await self._look(model)
            except PermanentError as error:
                # It stays so for this model until somebody acts; the others are looked at.
                log.warning("monitor.failed", model=model, reason=str(error))
        return looked

    async def _look(self, model: str) -> bool:
        """Whether its latest window had not been looked at."""
        rules = self._policies().monitors_of(model)
        tick = self._standings.tick(rules.every)
        watched = Watched.model(model)
        due = await self._standings.due(watched.subject, rules.enabled, tick)
        if not due:
            return False
        async for check in self._checks(model, tick, rules, set(due)):
            in_a_row = self._in_a_row(model, check)
            await self._standings.settle(watched, check, due[check.monitor], tick, in_a_row, rules.repeat)
        return True

    async def _checks(self, model: str, tick: datetime, rules: Monitors, due: set[str]) -> AsyncIterator[Check]:
        policies = self._policies()
        if due & {"drift", "data_quality"}:
            drift = policies.drift_of(model)
            reference, current = drift_windows(drift, tick)
            without = await left_out(model, reference, current, drift, self._quarantines)
            seen = await observe_drift(model, reference, current, self._predictions, drift, without=without)
            found = explain(seen, drift.rules)
            fresh = await lasts(model, seen, found, self._predictions, drift, rules.every, without) if "drift" in due else True
            for check in (monitoring.drift(found, fresh=fresh), monitoring.data_quality(found)):
                if check.monitor in due:
                    yield check
        if "skew" in due:
            yield await self._skew(model, drift_windows(policies.drift_of(model), tick)[1], policies, rules)
        if "performance" in due:
            window = Window(start=tick - policies.investigation.window, end=tick)
            versions = await self._predictions.versions(model, window)
            yield monitoring.performance(versions, policies.slo_of(model), policies)
        if "freshness" in due:
            silence = Window(start=tick - rules.max_silence, end=tick)
            before = silence.shifted(-silence.length)
            volumes = [await self._predictions.volume(model, window, window.length) for window in (before, silence)]
            yield monitoring.freshness(volumes[0], volumes[1])

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
        found = compare(pairs(both[0].features, both[1].features), drift.rules)
        moved = found.cause == "covariate_drift"
        fresh = await lasts_beside(model, *both, found, self._predictions, drift, rules.every) if moved else True
        return monitoring.skew(found, champion, fresh=fresh)

    def _in_a_row(self, model: str, check: Check) -> int:
        policies = self._policies()
        about_data = check.monitor in ("drift", "data_quality", "skew")
        return policies.drift_of(model).in_a_row if about_data else policies.monitors_of(model).in_a_row
