"""Trainings that nobody asks for by hand: by the clock, and when enough new labels have come. They enter as requests do.

Missed moments after downtime are one: only the latest is asked for. Where each stands is kept beside the monitors, so that a
model that is met for the first time is not trained for a moment that lies behind it, and two replicas ask once.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime

import structlog

from agents import schedules
from agents.policies import Policies, Training
from agents.requests import SCHEDULED, Request, to_alert
from api.store import monitors
from api.store.database import Database
from api.work.intake import Intake
from api.work.standings import Watched, nameable
from tools.clock import Clock
from tools.errors import PermanentError
from tools.predictions.port import PredictionReader
from tools.registry.port import Alias, RegistryReader
from tools.values import Window

log = structlog.get_logger()

SCHEDULE, NEW_DATA = "schedule", "new_data"
"""Beside the monitors of a model: the latest moment that was asked for."""


class Schedules:
    def __init__(
        self,
        database: Database,
        intake: Intake,
        predictions: PredictionReader,
        registry: RegistryReader,
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._database = database
        self._intake = intake
        self._predictions = predictions
        self._registry = registry
        self._policies = policies
        self._clock = clock

    async def once(self) -> int:
        """How many trainings were asked for. Raises TemporaryError when the database, the store or the registry is away."""
        asked = 0
        for model, own in self._policies().models.items():
            if own.training.command is None or not nameable(model):
                continue
            try:
                async for request, name, tick in self._due(model, own.training):
                    await self._ask(request, name, tick)
                    asked += 1
            except PermanentError as error:
                log.warning("schedule.failed", model=model, reason=str(error))
        return asked

    async def _due(self, model: str, rules: Training) -> AsyncIterator[tuple[Request, str, datetime]]:
        now = self._clock.now()
        if rules.schedule is not None and await self._reached(model, SCHEDULE, tick := schedules.latest(rules.schedule, now)):
            reason = f"by its schedule, {rules.schedule}"
            yield Request(kind="retrain", model=model, by=f"{SCHEDULED}cron", reason=reason), SCHEDULE, tick
        if rules.new_predictions is None:
            return
        champion = await self._registry.alias(model, Alias.CHAMPION)
        learnt_until = await self._learnt_until(model, champion) if champion is not None else None
        if champion is None or learnt_until is None or learnt_until >= now:
            return
        window = Window(start=learnt_until, end=now)
        labelled = sum(each.labelled for each in await self._predictions.versions(model, window))
        if labelled >= rules.new_predictions and await self._reached(model, NEW_DATA, learnt_until):
            reason = f"{labelled:,} labelled predictions have come since the data of version {champion} ended"
            yield Request(kind="retrain", model=model, by=f"{SCHEDULED}new_data", reason=reason), NEW_DATA, learnt_until

    async def _learnt_until(self, model: str, version: str) -> datetime | None:
        """When the data of a version ended: its own word, else when it was made."""
        found = await self._registry.version(model, version)
        told = found.tags.get("data.to")
        try:
            return datetime.fromisoformat(told) if told is not None else found.created_at
        except ValueError:
            return found.created_at

    async def _reached(self, model: str, name: str, tick: datetime) -> bool:
        """Whether this moment is one that was not asked for yet; a schedule that is met begins with the next one."""
        subject = Watched.model(model).subject
        async with self._database.read() as session:
            known = (await monitors.of_subject(session, subject)).get(name)
        if known is not None:
            return known.tick < tick
        if name != SCHEDULE:
            return True
        async with self._database.begin() as transaction:
            await monitors.meet(transaction, subject, name, tick)
        return False

    async def _ask(self, request: Request, name: str, tick: datetime) -> None:
        """Taken in before it is noted: killed in between, the same is asked again, and is the same."""
        subject = Watched.model(request.model).subject
        key = hashlib.sha256(f"{name}:{request.model}".encode()).hexdigest()[:32]
        await self._intake.accept([to_alert(request, key, tick)], actor=request.by)
        now = self._clock.now()
        async with self._database.begin() as transaction:
            await monitors.reach(transaction, subject, name, tick, request.reason[:1_000], at=now)
        log.info("training.requested", model=request.model, by=request.by)
