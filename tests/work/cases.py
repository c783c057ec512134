"""Alerts and runs as the tests of the work layer need them."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from agents.actions import Risk, Rollback, WorldState
from agents.alerts import Alert
from agents.evidence import Cause, Finding, Hypothesis
from agents.policies import Policies
from agents.proposals import Impact, Proposal
from api.store import runs
from api.store.database import Database
from api.store.records import ApprovalRecord
from api.work.approvals import Approvals
from api.work.intake import Intake
from api.work.progress import Progress
from graphs.state import Outcome, RunState
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


def proposal(
    incident_id: str, run_id: str, *, attempt: int = 1, requested_by: str = "agent:incident", to: str = "1"
) -> Proposal:
    """Roll flights back from version 2."""
    finding = Finding(
        cause=Cause.MODEL_REGRESSION,
        summary="version 2 is worse",
        hypotheses=(Hypothesis(cause=Cause.MODEL_REGRESSION, score=0.9, reason="accuracy fell with the rollout"),),
        evidence=(),
        assessed_at=START,
    )
    return Proposal(
        id=f"{run_id}/{attempt}",
        run_id=run_id,
        incident_id=incident_id,
        requested_by=requested_by,
        title="Roll flights back to version 1",
        action=Rollback(model="flights", from_version="2", to_version=to),
        state=WorldState(champion="2", route_generation=4, weights={"2": 100}),
        finding=finding,
        impact=Impact(
            risk=Risk.MEDIUM,
            blast_radius="all traffic",
            expected_effect="accuracy recovers",
            undo="roll forward",
            runbook="rollback",
        ),
        proposed_at=START,
    )


@dataclass
class Asked:
    """An incident whose run waits for a decision."""

    incident_id: str
    run_id: str
    approval: ApprovalRecord


async def running_case(database: Database, clock: SteppedClock, model: str = "flights") -> tuple[str, str]:
    """Incident and run, the run under way."""
    accepted = await intake(database, clock).accept([alert(severity="critical", model=model)], actor="alertmanager")
    (run_id,) = accepted.runs
    await begin_run(database, run_id, clock.now())
    return accepted.incidents[0], run_id


async def ask(
    database: Database,
    approvals: Approvals,
    clock: SteppedClock,
    about: Proposal,
    *,
    interrupt: str = "i1",
    quorum: int = 1,
    lasts: timedelta = POLICIES.approval.expires_after,
) -> ApprovalRecord:
    async with database.begin() as transaction:
        return await approvals.open(
            transaction,
            interrupt_id=interrupt,
            proposal=about,
            request={"action_requests": [], "review_configs": []},
            narrative="Version 2 is worse.",
            quorum=quorum,
            expires_at=clock.now() + lasts,
        )


async def asked(
    database: Database, approvals: Approvals, clock: SteppedClock, *, quorum: int = 1, requested_by: str = "agent:incident"
) -> Asked:
    incident_id, run_id = await running_case(database, clock)
    about = proposal(incident_id, run_id, requested_by=requested_by)
    return Asked(incident_id, run_id, await ask(database, approvals, clock, about, quorum=quorum))


async def declined(database: Database, approvals: Approvals, clock: SteppedClock, case: Asked) -> None:
    """The run of the question ends: somebody said no."""
    async with database.read() as session:
        run = await runs.get(session, case.run_id)
    assert run is not None
    about, progress = Proposal.model_validate(case.approval.proposal), Progress(database, approvals, clock)
    read = await progress.alerts(run)
    await progress.finish(run, RunState(alerts=read, proposal=about, outcome=Outcome.DECLINED, reason="we roll forward"))
