"""What a run's state has to tell: timeline events and audit lines, each with the key that makes it told once."""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from agents.actions import CHANGES_NOTHING, StartExperiment, StartRollout
from agents.guard import Ask, Auto, Deny
from api.store import audit, events, optimizations
from api.store.database import Database
from api.store.records import RunRecord
from api.store.sessions import Transaction
from graphs.state import RunState
from tools.clock import Clock


class Told(NamedTuple):
    name: str
    key: str
    data: dict[str, Any]
    audited: bool = False
    """Whether it is also a line of the audit log: what was decided, not what was looked at."""


def tell(transaction: Transaction, run: RunRecord, values: RunState, at: datetime) -> None:
    """Everything the run has come to so far. Repeating it adds nothing."""
    for told in _lines(values):
        events.append(transaction, run.incident_id, told.name, told.data, at=at, run_id=run.id, key=told.key)
        if told.audited:
            audit.append(
                transaction,
                at=at,
                actor=_actor(values),
                action=told.name,
                subject=run.incident_id,
                data=told.data,
                key=told.key,
            )


class RunTimeline:
    """The timeline of one run's incident, each telling a transaction of its own."""

    def __init__(self, database: Database, run: RunRecord, clock: Clock) -> None:
        self._database = database
        self._run = run
        self._clock = clock

    async def tell(self, state: RunState) -> None:
        async with self._database.begin() as transaction:
            tell(transaction, self._run, state, self._clock.now())

    async def not_announced(self, channel: str, key: str, reason: str) -> None:
        async with self._database.begin() as transaction:
            events.append(
                transaction,
                self._run.incident_id,
                "announcement.failed",
                {"channel": channel, "message": key, "reason": reason},
                at=self._clock.now(),
                run_id=self._run.id,
                key=f"{key}/announcement.failed",
            )


def _lines(values: RunState) -> Iterator[Told]:
    yield from _examination(values)
    if (optimization := values.get("optimization")) is not None:
        data = optimization.model_dump(mode="json")
        said = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
        yield Told(optimizations.CHANGED, f"{values['run_id']}/optimization/{said}", {"optimization": data})
    proposal = values.get("proposal")
    if proposal is None:
        return
    finding = proposal.finding
    yield Told(
        "finding.made",
        f"{proposal.run_id}/finding/{finding.assessed_at.isoformat()}",
        {
            "cause": finding.cause,
            "summary": finding.summary,
            "hypotheses": [{"cause": h.cause, "score": h.score} for h in finding.hypotheses],
            "evidence": len(finding.evidence),
            "missing": [missing.source for missing in finding.missing],
        },
    )
    yield Told(
        "proposal.made",
        f"{proposal.id}/made",
        {
            "proposal": proposal.id,
            "title": proposal.title,
            "action": proposal.action.model_dump(mode="json"),
            "fingerprint": proposal.fingerprint,
            "requested_by": proposal.requested_by,
        },
        audited=True,
    )
    if (judgement := values.get("judgement")) is not None:
        yield Told("proposal.judged", f"{proposal.id}/judged", {"proposal": proposal.id, **_judged(judgement)}, audited=True)
    yield from _rollout(values)
    yield from _experiment(values)
    if values.get("receipt") is not None and not isinstance(proposal.action, (*CHANGES_NOTHING, StartRollout, StartExperiment)):
        yield Told(
            "verification.begun",
            f"{proposal.id}/verifying",
            {"proposal": proposal.id, "first_look": values["wake_at"].isoformat()},
        )
    if (verification := values.get("verification")) is not None:
        yield Told(
            "verification.checked",
            f"{proposal.id}/checked/{verification.at.isoformat()}",
            {"proposal": proposal.id, **verification.model_dump(mode="json")},
        )


def _examination(values: RunState) -> Iterator[Told]:
    """An evaluation that has begun, and how it ended."""
    examination = values.get("examination")
    if examination is None:
        return
    told = {"model": examination.model, "version": examination.candidate, "champion": examination.champion}
    told |= {"job": examination.job}
    if examination.submitted:
        yield Told("evaluation.begun", f"{examination.job}/begun", told)
    if examination.ended:
        yield Told("evaluation.ended", f"{examination.job}/ended", {**told, "reason": examination.unproven})


def _rollout(values: RunState) -> Iterator[Told]:
    """Each stage once, and each change of mind within a stage; not each look."""
    rollout = values.get("rollout")
    if rollout is None:
        return
    for stage, started in enumerate(rollout.started[:-1] if rollout.moving else rollout.started):
        told = {"rollout": rollout.key, "stage": stage, "weight": rollout.action.stages[stage].weight}
        yield Told("rollout.stage", f"{rollout.key}/stage/{stage}", {**told, "since": started.isoformat()})
    if (decision := rollout.decision) is not None:
        data = {"rollout": rollout.key, "stage": decision.stage, "choice": decision.choice.value, "reason": decision.reason}
        yield Told("rollout.decided", f"{rollout.key}/stage/{decision.stage}/{decision.choice.value}", data)


def _experiment(values: RunState) -> Iterator[Told]:
    """That it began, and each change of what is called of an arm; not each look."""
    experiment = values.get("experiment")
    if experiment is None:
        return
    told = {"experiment": experiment.key, "arms": experiment.action.weights, "since": experiment.started.isoformat()}
    yield Told("experiment.begun", f"{experiment.key}/begun", told)
    if (look := experiment.look) is not None:
        calls = {name: call.value for name, call in look.calls.items()}
        data = {"experiment": experiment.key, "call": look.outcome.call.value, "arms": calls, "reason": look.outcome.reason}
        named = ",".join(f"{name}={call}" for name, call in sorted(calls.items()))
        yield Told("experiment.called", f"{experiment.key}/{look.outcome.call.value}/{named}"[:300], data)
    if experiment.ending:
        ended = {"experiment": experiment.key, "ending": experiment.ending}
        yield Told("experiment.ending", f"{experiment.key}/ending/{experiment.ending}", ended)


def _judged(judgement: Auto | Ask | Deny) -> dict[str, Any]:
    return {"judgement": type(judgement).__name__.lower(), **judgement.model_dump(mode="json")}


def _actor(values: RunState) -> str:
    return values["proposal"].requested_by
