"""Trainings and reviews of costs that nobody asks for by hand: by the clock, and when enough new labels have come. They enter
as requests do.

Missed moments after downtime are one: only the latest is asked for. Where each stands is kept beside the monitors, so that a
model that is met for the first time is not trained for a moment that lies behind it, and two replicas ask once.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import structlog

from agents import schedules
from agents.policies import Policies, Training
from agents.requests import REVIEW, SCHEDULED, Request, to_alert
from api.store import events, experiments, monitors, rollouts
from api.store.database import Database
from api.work.intake import Intake
from api.work.standings import Watched, nameable
from tools.clock import Clock
from tools.errors import PermanentError, TemporaryError
from tools.predictions.port import PredictionReader
from tools.quality.arrivals import Arrivals
from tools.registry.port import Alias, RegistryReader
from tools.values import Window

log = structlog.get_logger()

SCHEDULE, NEW_DATA = "schedule", "new_data"
"""Beside the monitors of a model: the latest moment that was asked for."""
_LEAST_PAUSE = timedelta(hours=1)
"""Between two times that new data asks beside the same champion, where the cool-down is shorter: each is an incident."""


class Schedules:
    def __init__(
        self,
        database: Database,
        intake: Intake,
        predictions: PredictionReader,
        registry: RegistryReader,
        policies: Callable[[], Policies],
        clock: Clock,
        arrivals: Arrivals | None = None,
    ) -> None:
        """`arrivals`: of the lake; None: there is none."""
        self._arrivals = arrivals
        self._database = database
        self._intake = intake
        self._predictions = predictions
        self._registry = registry
        self._policies = policies
        self._clock = clock

    async def once(self) -> int:
        """How many trainings and reviews were asked for. Raises TemporaryError when database, store or registry are away."""
        asked = await self._reviews()
        for model, own in self._policies().models.items():
            if own.training.command is None or not nameable(model):
                continue
            try:
                async for request, name, tick in self._due(model, own.training):
                    if not await self._held_back(request, name):
                        await self._ask(request, name, tick)
                        asked += 1
            except PermanentError as error:
                log.warning("schedule.failed", model=model, reason=str(error))
        return asked

    async def _reviews(self) -> int:
        """How many models' cost is to be looked through. A review under way is not begun twice: it is joined."""
        asked, now, policies = 0, self._clock.now(), self._policies()
        # What has no policy of its own falls under that of all.
        named = set(await self._registry.models()) if policies.optimizations.review is not None else set()
        for model in sorted({*policies.models, *named}):
            expression = policies.optimizations_of(model).review
            if expression is None or not nameable(model):
                continue
            if await self._reached(model, tick := schedules.latest(expression, now), REVIEW):
                reason = f"by its schedule, {expression}"
                request = Request(kind=REVIEW, model=model, by=f"{SCHEDULED}{REVIEW}", reason=reason)
                await self._ask(request, REVIEW, tick)
                asked += 1
        return asked

    async def _due(self, model: str, rules: Training) -> AsyncIterator[tuple[Request, str, datetime]]:
        now = self._clock.now()
        if rules.schedule is not None and await self._reached(model, tick := schedules.latest(rules.schedule, now)):
            reason = f"by its schedule, {rules.schedule}"
            yield Request(kind="retrain", model=model, by=f"{SCHEDULED}cron", reason=reason), SCHEDULE, tick
        if rules.new_predictions is None and rules.new_batches is None:
            return
        champion = await self._registry.alias(model, Alias.CHAMPION)
        learnt_until = await self._learnt_until(model, champion) if champion is not None else None
        if champion is None or learnt_until is None or learnt_until >= now:
            return
        moment = await self._next(model, learnt_until, max(rules.cooldown, _LEAST_PAUSE), now)
        if moment is None:
            return
        if (come := await self._come(model, rules, Window(start=learnt_until, end=now))) is not None:
            reason = f"{come} have come since the data of version {champion} ended"
            yield Request(kind="retrain", model=model, by=f"{SCHEDULED}new_data", reason=reason), NEW_DATA, moment

    async def _come(self, model: str, rules: Training, window: Window) -> str | None:
        """What has come, where that is enough; None: it is not."""
        if rules.new_predictions is not None:
            labelled = sum(each.labelled for each in await self._predictions.versions(model, window))
            if labelled >= rules.new_predictions:
                return f"{labelled:,} labelled predictions"
        tables = {table: own.every for table, own in self._policies().datasets_feeding(model).items()}
        if rules.new_batches is None or not tables or self._arrivals is None:
            return None
        try:
            batches = await self._arrivals.since(window.start, tables)
        except TemporaryError as error:
            # Most often whoever brings data in has it; that holds up no other model.
            log.warning("schedule.lake_unread", model=model, reason=str(error))
            return None
        return f"{batches:,} batches of {', '.join(sorted(tables))}" if batches >= rules.new_batches else None

    async def _held_back(self, request: Request, name: str) -> bool:
        """Whether a rollout or an experiment of the model is under way: what is trained now could not be tried beside it, and
        would be paid for in vain. Its incident is told so, once; what is due is asked for when it is over."""
        async with self._database.begin() as transaction:
            rolling = await rollouts.page(transaction, model=request.model, open_only=True, limit=1)
            found = await experiments.open_of_model(transaction, request.model) or next(iter(rolling.items), None)
            if found is None:
                return False
            reason = f"a training of {request.model}, {request.reason}, waits until {found.id} is over"
            data, now = {"by": request.by, "reason": reason}, self._clock.now()
            key = f"{found.id}/held-back/{name}"
            events.append(transaction, found.incident_id, "training.held_back", data, at=now, run_id=found.run_id, key=key)
        return True

    async def _next(self, model: str, learnt_until: datetime, pause: timedelta, now: datetime) -> datetime | None:
        """The moment that new data is asked about under; None: what was asked for last has its time still.

        A training that failed, or whose version was not wanted, leaves the champion as it was. It is asked for again after a
        pause, at moments that every replica finds the same.
        """
        async with self._database.read() as session:
            known = (await monitors.of_subject(session, Watched.model(model).subject)).get(NEW_DATA)
        if known is None or known.tick < learnt_until:
            return learnt_until
        asked_at = known.checked_at or known.tick
        passed = (now - asked_at) // pause
        return asked_at + passed * pause if passed > 0 else None

    async def _learnt_until(self, model: str, version: str) -> datetime | None:
        """When the data of a version ended: its own word, else when it was made."""
        found = await self._registry.version(model, version)
        told = found.tags.get("data.to")
        try:
            until = datetime.fromisoformat(told) if told is not None else found.created_at
        except ValueError:
            return found.created_at
        # Whoever trains writes the tag, and not everybody writes a zone.
        return until if until.tzinfo is not None else until.replace(tzinfo=UTC)

    async def _reached(self, model: str, tick: datetime, name: str = SCHEDULE) -> bool:
        """Whether this moment was not asked for yet; a schedule that is met begins with its next one."""
        subject = Watched.model(model).subject
        async with self._database.read() as session:
            known = (await monitors.of_subject(session, subject)).get(name)
        if known is not None:
            return known.tick < tick
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
        log.info("schedule.requested", kind=request.kind, model=request.model, by=request.by)
