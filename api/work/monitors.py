"""Looks at every model by itself, and raises what is wrong through intake, as anybody else would.

Windows end at multiples of the policy's interval. Only the latest one is looked at: after a night without the service there is
one look, not one for each hour. An alert is taken in before its monitor moves on, under an identity that follows from model,
monitor and window: killed in between, or run by two replicas at once, it is one alert.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import structlog

from agents import monitoring
from agents.alerts import Alert
from agents.drift.causes import explain, pairs
from agents.drift.verdicts import compare
from agents.monitoring import NAMES, Check, Standing
from agents.policies import Monitors, Policies
from api.store import monitors
from api.store.database import Database
from api.store.records import MonitorRecord
from api.store.text import storable
from api.work.intake import Intake
from graphs.drifting import beside_training, drift_windows, left_out, observe_drift
from tools.clock import Clock
from tools.errors import PermanentError
from tools.predictions.port import PredictionReader
from tools.quarantines.port import QuarantineReader
from tools.registry.port import Alias, RegistryReader
from tools.values import Window

log = structlog.get_logger()

SOURCE = "monitor"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_NAME = 200


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
        self._database = database
        self._intake = intake
        self._predictions = predictions
        self._registry = registry
        self._quarantines = quarantines
        self._policies = policies
        self._clock = clock

    async def once(self) -> int:
        """How many models were looked at. Raises TemporaryError when the store or the database is away."""
        looked = 0
        for model in await self._predictions.models():
            if not storable(model) or len(model) > _MOST_NAME:
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
        tick = _tick(self._clock.now(), rules.every)
        async with self._database.read() as session:
            known = await monitors.of_model(session, model)
        fresh = [name for name in rules.enabled if name not in known]
        if fresh:
            async with self._database.begin() as transaction:
                for name in fresh:
                    await monitors.meet(transaction, model, name, tick)
        due = {name: record for name, record in known.items() if name in rules.enabled and record.tick < tick}
        if not due:
            return False
        async for check in self._checks(model, tick, rules, set(due)):
            await self._settle(model, check, due[check.monitor], tick)
        return True

    async def _checks(self, model: str, tick: datetime, rules: Monitors, due: set[str]) -> AsyncIterator[Check]:
        policies = self._policies()
        if due & {"drift", "data_quality"}:
            drift = policies.drift_of(model)
            reference, current = drift_windows(drift, tick)
            without = await left_out(model, reference, current, drift, self._quarantines)
            seen = await observe_drift(model, reference, current, self._predictions, drift, without=without)
            found = explain(seen, drift.rules)
            for check in (monitoring.drift(found), monitoring.data_quality(found)):
                if check.monitor in due:
                    yield check
        if "skew" in due:
            yield await self._skew(model, drift_windows(policies.drift_of(model), tick)[1], policies)
        if "performance" in due:
            window = Window(start=tick - policies.investigation.window, end=tick)
            versions = await self._predictions.versions(model, window)
            yield monitoring.performance(versions, policies.slo_of(model), policies)
        if "freshness" in due:
            silence = Window(start=tick - rules.max_silence, end=tick)
            before = silence.shifted(-silence.length)
            volumes = [await self._predictions.volume(model, window, window.length) for window in (before, silence)]
            yield monitoring.freshness(volumes[0], volumes[1])

    async def _skew(self, model: str, window: Window, policies: Policies) -> Check:
        try:
            champion = await self._registry.alias(model, Alias.CHAMPION)
            both = await beside_training(model, champion, window, self._registry, self._predictions) if champion else None
        except PermanentError as error:
            # Predictions may be of a model that the registry does not know, or not any more.
            return Check(monitor="skew", bad=None, summary=str(error)[:1_000])
        rules = policies.drift_of(model).rules
        found = compare(pairs(both[0].features, both[1].features), rules) if both is not None else None
        return monitoring.skew(found, champion)

    async def _settle(self, model: str, check: Check, record: MonitorRecord, tick: datetime) -> None:
        policies = self._policies()
        about_data = check.monitor in ("drift", "data_quality", "skew")
        in_a_row = policies.drift_of(model).in_a_row if about_data else policies.monitors_of(model).in_a_row
        standing, repeat = Standing(streak=record.streak, raised_at=record.raised_at), policies.monitors_of(model).repeat
        step = monitoring.advance(standing, check, tick, in_a_row, since=record.tick, repeat=repeat)
        if step.alert is not None and step.raised_at is not None:
            alert = Alert(
                source=SOURCE,
                fingerprint=hashlib.sha256(f"{check.monitor}:{model}".encode()).hexdigest()[:32],
                status=step.alert,
                name=NAMES[check.monitor],
                severity=check.severity,
                labels={"alertname": NAMES[check.monitor], "model": model, "monitor": check.monitor},
                annotations={"summary": check.summary[:1_000]},
                starts_at=step.raised_at,
                ends_at=tick if step.alert == "resolved" else None,
            )
            await self._intake.accept([alert], actor=f"source:{SOURCE}")
            log.info("monitor.raised", model=model, monitor=check.monitor, status=step.alert)
        async with self._database.begin() as transaction:
            await monitors.move(transaction, model, check, step.standing, tick, at=self._clock.now())


def _tick(now: datetime, every: timedelta) -> datetime:
    return now - (now - _EPOCH) % every
