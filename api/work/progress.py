"""How a run stands, in SQL: what the runner reads before a move and writes after it, one transaction each."""

from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any

from agents.alerts import Alert
from agents.narrative import card
from api.store import alerts, approvals, audit, events, incidents, runs
from api.store.database import Database
from api.store.incidents import ClosedStatus, OpenStatus
from api.store.records import ApprovalRecord, RunRecord
from api.work import experiments, following, rollouts
from api.work.approvals import Approvals, withdraw
from api.work.orders import ordered
from api.work.timeline import RunTimeline, tell
from graphs.state import Outcome, RunState
from tools.clock import Clock

_OVER = frozenset({"completed", "failed", "cancelled"})
_SOLVED = (Outcome.RESOLVED, Outcome.NO_ACTION)
_MAX_ALERTS = 100
"""Of an incident, that an investigation reads."""


class Progress:
    def __init__(self, database: Database, questions: Approvals, clock: Clock) -> None:
        self._database = database
        self._questions = questions
        self._clock = clock

    def hold(self, run_id: str) -> AbstractAsyncContextManager[None]:
        """Be the only process that moves the run. Raises TemporaryError when another one is at it."""
        return self._database.hold(f"run {run_id}")

    def timeline(self, run: RunRecord) -> RunTimeline:
        return RunTimeline(self._database, run, self._clock)

    async def claim(self, run_id: str, event: str) -> RunRecord | None:
        """The run, if this event is the one that moves it; None when it has moved on.

        A run that waits, or is over, under this very event was left by a process that died right after recording so: what was
        to follow that record (people to be told, a thread to be deleted) is still to be done.
        """
        now = self._clock.now()
        async with self._database.begin() as transaction:
            if await runs.take(transaction, run_id, event, at=now):
                run = await runs.get(transaction, run_id)
                if run is not None and event == runs.START:
                    await incidents.move(transaction, run.incident_id, "investigating", at=now)
                    events.append(
                        transaction, run.incident_id, "run.started", {}, at=now, run_id=run_id, key=f"{run_id}/started"
                    )
                return run
            run = await runs.get(transaction, run_id)
        return run if run is not None and run.event == event else None

    async def get(self, run_id: str) -> RunRecord | None:
        async with self._database.read() as session:
            return await runs.get(session, run_id)

    async def over(self, run_id: str) -> RunRecord | None:
        """The run, when it has ended."""
        run = await self.get(run_id)
        return run if run is not None and run.status in _OVER else None

    async def alerts(self, run: RunRecord) -> tuple[Alert, ...]:
        """What the run is about: what has joined its incident and no run of it has read."""
        async with self._database.begin() as transaction:
            records = await alerts.read(transaction, run.incident_id, run.id, limit=_MAX_ALERTS)
        return tuple(alerts.to_alert(record) for record in records)

    async def verdict(self, run: RunRecord, interrupt_id: str) -> dict[str, Any] | None:
        """What was decided on the question of this interrupt; None while it is open."""
        async with self._database.read() as session:
            approval = await approvals.of_interrupt(session, run.id, interrupt_id)
        return approval.verdict if approval is not None else None

    async def await_approval(
        self, run: RunRecord, interrupt_id: str, question: dict[str, Any], values: RunState
    ) -> ApprovalRecord:
        """Put the question to people, once, and let the run wait for their answer."""
        proposal = values["proposal"]
        async with self._database.begin() as transaction:
            tell(transaction, run, values, self._clock.now())
            await rollouts.record(transaction, run, values, self._clock)
            await experiments.record(transaction, run, values, self._clock)
            finding = proposal.finding
            await incidents.describe(
                transaction, run.incident_id, at=self._clock.now(), cause=finding.cause.value, summary=finding.summary
            )
            asked = await self._questions.open(
                transaction,
                interrupt_id=interrupt_id,
                proposal=proposal,
                request=question["request"],
                narrative=card(proposal),
                quorum=question["quorum"],
                expires_at=datetime.fromisoformat(question["expires_at"]),
            )
            order = await ordered(transaction, run.id)
            if order is not None and order.ends:
                # Given while the question was on its way.
                await withdraw(transaction, run.id, by=order.by, reason=order.reason, at=self._clock.now())
            return asked

    async def await_time(self, run: RunRecord, interrupt_id: str, until: datetime, values: RunState) -> None:
        now = self._clock.now()
        async with self._database.begin() as transaction:
            tell(transaction, run, values, now)
            await rollouts.record(transaction, run, values, self._clock)
            await experiments.record(transaction, run, values, self._clock)
            await following.take_in(transaction, run, values)
            if await following.asked_back(transaction, run, values):
                until = now
            if await runs.wait_until(transaction, run.id, interrupt_id, until, at=now):
                # What has proposed nothing yet waits to see more.
                status: OpenStatus = "verifying" if "proposal" in values else "investigating"
                await incidents.move(transaction, run.incident_id, status, at=now)

    async def finish(self, run: RunRecord, values: RunState) -> None:
        """The run is over: its incident is closed with the report, or handed to people."""
        now, outcome = self._clock.now(), Outcome(values["outcome"])
        solved = outcome in _SOLVED
        async with self._database.begin() as transaction:
            tell(transaction, run, values, now)
            await rollouts.record(transaction, run, values, self._clock)
            await experiments.record(transaction, run, values, self._clock)
            # Before what has joined is counted: nothing joins until it is closed.
            await incidents.lock(transaction, run.incident_id)
            if not await runs.end(transaction, run.id, "completed", at=now, outcome=outcome.value):
                return
            await following.take_in(transaction, run, values)
            earlier = [each.outcome for each in await runs.of_incident(transaction, run.incident_id) if each.id != run.id]
            unread = await following.open_next(transaction, run, values, now)
            finding = values["proposal"].finding if "proposal" in values else None
            told = {
                "cause": finding.cause.value if finding else None,
                "summary": finding.summary if finding else None,
                "report": _report(values),
            }
            if unread is following.Next.RUN:
                await incidents.describe(transaction, run.incident_id, at=now, **told)
                await incidents.move(transaction, run.incident_id, "investigating", at=now)
            else:
                # What one run has handed to people is theirs, whatever another has come to since.
                solved = solved and unread is following.Next.NOTHING and set(earlier) <= {each.value for each in _SOLVED}
                status: ClosedStatus = "resolved" if solved else "escalated"
                await incidents.close(transaction, run.incident_id, status, at=now, **told)
            data = {"outcome": outcome.value, "reason": values["reason"]}
            events.append(transaction, run.incident_id, "run.completed", data, at=now, run_id=run.id, key=f"{run.id}/over")
            audit.append(
                transaction,
                at=now,
                actor="engine",
                action="run.completed",
                subject=run.incident_id,
                data=data,
                key=f"{run.id}/over",
            )

    async def fail(self, run: RunRecord, error: str) -> None:
        """The run broke for a reason that nobody foresaw: people get the incident, with the reason."""
        now = self._clock.now()
        async with self._database.begin() as transaction:
            if not await runs.end(transaction, run.id, "failed", at=now, error=error):
                return
            # A question whose run is over would be answered for nobody.
            await approvals.supersede(transaction, run.id, at=now)
            await rollouts.leave(transaction, run, error, self._clock)
            await experiments.leave(transaction, run, error, self._clock)
            await incidents.close(
                transaction, run.incident_id, "escalated", at=now, summary=f"The investigation failed: {error}"
            )
            events.append(
                transaction, run.incident_id, "run.failed", {"error": error}, at=now, run_id=run.id, key=f"{run.id}/over"
            )
            audit.append(
                transaction,
                at=now,
                actor="engine",
                action="run.failed",
                subject=run.incident_id,
                data={"error": error},
                key=f"{run.id}/over",
            )


def _report(values: RunState) -> dict[str, Any]:
    """What stays of the run when its thread is deleted."""
    return {
        name: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for name in ("proposal", "judgement", "verdict", "receipt", "verification", "outcome", "reason", "optimization")
        if (value := values.get(name)) is not None
    }
