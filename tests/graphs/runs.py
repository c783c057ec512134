"""A run on a real database and a platform of twins, moved event by event."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from agents.proposals import Approve, Decision
from api.store import approvals as questions
from api.store import audit, events, incidents, runs
from api.store.actions import ActionLedger
from api.store.database import Database
from api.store.records import ApprovalRecord, IncidentRecord, RunRecord
from api.work.approvals import Approvals
from api.work.intake import Intake
from api.work.progress import Progress
from api.work.runner import Runner
from tests.graphs.platform import Platform, alert, bad_rollout
from tests.twins.clock import SteppedClock


@dataclass
class Case:
    database: Database
    platform: Platform
    approvals: Approvals
    runner: Runner
    incident_id: str
    run_id: str

    async def advance(self) -> str:
        """Move the run by the event that it is queued for; the event."""
        event = (await self.run()).event
        await self.runner.advance(self.run_id, event)
        return event

    async def run(self) -> RunRecord:
        async with self.database.read() as session:
            run = await runs.get(session, self.run_id)
        assert run is not None
        return run

    async def incident(self) -> IncidentRecord:
        async with self.database.read() as session:
            incident = await incidents.get(session, self.incident_id)
        assert incident is not None
        return incident

    async def asked(self) -> list[ApprovalRecord]:
        async with self.database.read() as session:
            return await questions.of_run(session, self.run_id)

    async def decide(self, decision: Decision | None = None, by: str = "alice") -> None:
        pending = [each for each in await self.asked() if each.status == "pending"]
        await self.approvals.decide(pending[0].id, principal=by, decision=decision or Approve(), fingerprint=None)

    async def wake(self) -> None:
        due = (await self.run()).due_at
        assert due is not None
        now = self.platform.clock.now()
        if due > now:
            self.platform.clock.pass_(due - now)
        async with self.database.begin() as transaction:
            assert [each.run_id for each in await runs.wake_due(transaction, self.platform.clock.now())] == [self.run_id]

    async def timeline(self) -> list[str]:
        """The names of its events, in the order in which they were told."""
        async with self.database.read() as session:
            return [event.name for event in await events.after(session, self.incident_id, 0, limit=500)]

    async def told(self) -> Counter[str]:
        return Counter(await self.timeline())

    async def audited(self) -> Counter[str]:
        async with self.database.read() as session:
            return Counter(line.action for line in (await audit.page(session, limit=200)).items)

    async def forgotten(self) -> bool:
        return (await self.platform.graph.checkpointer.aget_tuple(self.platform.config)) is None


async def opened(database: Database, **values: Any) -> Case:
    """An incident about a bad rollout, its run due. `values`: of the platform."""
    clock = SteppedClock()
    platform = await bad_rollout(clock=clock, ledger_on=lambda clock: ActionLedger(database, clock), **values)
    approvals = Approvals(database, lambda: platform.policies, clock)
    accepted = await Intake(database, lambda: platform.policies, clock).accept(
        [alert(clock.now(), severity="critical")], actor="alertmanager"
    )
    (run_id,), (incident_id,) = accepted.runs, accepted.incidents
    platform.run_id = run_id
    runner = Runner(platform.graph, Progress(database, approvals, clock), platform.context_with, clock)
    return Case(database, platform, approvals, runner, incident_id, run_id)
