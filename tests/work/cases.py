"""Alerts and runs as the tests of the work layer need them."""

from datetime import datetime, timedelta
from typing import Any

from agents.alerts import Alert
from agents.policies import Policies
from api.store import runs
from api.store.database import Database
from api.work.intake import Intake
from tests.twins.clock import START, SteppedClock

POLICIES = Policies()
DEBOUNCE = POLICIES.intake.debounce
SECOND = timedelta(seconds=1)


def alert(fingerprint: str = "a", *, model: str = "flights", status: str = "firing", **values: Any) -> Alert:
    content: dict[str, Any] = {
        "source": "alertmanager",
        "fingerprint": fingerprint,
        "status": status,
        "name": "ModelAccuracyLow",
        "severity": "warning",
        "labels": {"alertname": "ModelAccuracyLow", "model": model},
        "annotations": {"summary": f"Accuracy of {model} is low"},
        "starts_at": START - timedelta(minutes=1),
        "ends_at": START if status == "resolved" else None,
    }
    return Alert.model_validate(content | values)


def intake(database: Database, clock: SteppedClock, policies: Policies = POLICIES) -> Intake:
    return Intake(database, lambda: policies, clock)


async def begin_run(database: Database, run_id: str, at: datetime) -> None:
    async with database.begin() as transaction:
        assert await runs.take(transaction, run_id, runs.START, at=at)
