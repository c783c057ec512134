"""Where the monitors of a subject stand, and what they raise: through intake, as anybody else would.

Windows end at multiples of the policy's interval. Only the latest one is looked at: after a night without the service there is
one look, not one for each hour. An alert is taken in before its monitor moves on, under an identity that follows from subject,
monitor and window: killed in between, or run by two replicas at once, it is one alert.
"""

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import structlog

from agents import monitoring
from agents.alerts import Alert
from agents.monitoring import NAMES, Check, Standing
from agents.subjects import MAX_NAME
from api.store import monitors
from api.store.database import Database
from api.store.records import MonitorRecord
from api.store.text import storable
from api.work.intake import Intake
from tools.clock import Clock
from tools.values import Frozen

log = structlog.get_logger()

SOURCE = "monitor"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Watched(Frozen):
    """What monitors look at."""

    subject: str
    """`model:NAME` or `data:TABLE`: where its monitors stand."""
    identity: str
    """Of its alerts, with monitor and window."""
    labels: dict[str, str]
    """Of its alerts: they say whose incident it is."""

    @classmethod
    def model(cls, name: str) -> "Watched":
        return cls(subject=f"model:{name}", identity=name, labels={"model": name})

    @classmethod
    def dataset(cls, table: str, feeds: str) -> "Watched":
        """`feeds`: the model whose incident it is; empty: it is one of its own."""
        subject = f"data:{table}"
        labels = {"component": subject, "table": table} | ({"model": feeds} if feeds else {})
        return cls(subject=subject, identity=subject, labels=labels)


def nameable(name: str) -> bool:
    return storable(name) and len(name) <= MAX_NAME


class Standings:
    def __init__(self, database: Database, intake: Intake, clock: Clock) -> None:
        self._database = database
        self._intake = intake
        self._clock = clock

    def tick(self, every: timedelta) -> datetime:
        """The end of the latest window."""
        now = self._clock.now()
        return now - (now - _EPOCH) % every

    async def due(self, subject: str, enabled: Collection[str], tick: datetime) -> dict[str, MonitorRecord]:
        """Monitors that have not looked at the window yet, by name. One that was never met looks from the next one on."""
        async with self._database.read() as session:
            known = await monitors.of_subject(session, subject)
        fresh = [name for name in enabled if name not in known]
        if fresh:
            async with self._database.begin() as transaction:
                for name in fresh:
                    await monitors.meet(transaction, subject, name, tick)
        return {name: record for name, record in known.items() if name in enabled and record.tick < tick}

    async def settle(
        self, watched: Watched, check: Check, record: MonitorRecord, tick: datetime, in_a_row: int, repeat: timedelta
    ) -> None:
        """`repeat`: what is still bad is raised again so often, as the same alert."""
        standing = Standing(streak=record.streak, raised_at=record.raised_at)
        step = monitoring.advance(standing, check, tick, in_a_row, since=record.tick, repeat=repeat)
        if step.alert is not None and step.raised_at is not None:
            alert = Alert(
                source=SOURCE,
                fingerprint=hashlib.sha256(f"{check.monitor}:{watched.identity}".encode()).hexdigest()[:32],
                status=step.alert,
                name=NAMES[check.monitor],
                severity=check.severity,
                labels={"alertname": NAMES[check.monitor], "monitor": check.monitor, **watched.labels},
                annotations={"summary": check.summary[:1_000]},
                starts_at=step.raised_at,
                ends_at=tick if step.alert == "resolved" else None,
            )
            await self._intake.accept([alert], actor=f"source:{SOURCE}")
            log.info("monitor.raised", subject=watched.subject, monitor=check.monitor, status=step.alert)
        async with self._database.begin() as transaction:
            await monitors.move(transaction, watched.subject, check, step.standing, tick, at=self._clock.now())
