"""Any sequence of questions, votes, edits, rejections and sweeps: an approval is decided once, and moves its run on once."""

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from agents.actions import Rollback
from agents.proposals import Approve, Decision, Edit, Reject, Verdict
from api.problems import AlreadyDecided, Expired, OwnRequest, Problem, WrongFingerprint
from api.store import approvals as rows
from api.store import audit, events, runs
from api.store.database import Database
from api.work.approvals import Approvals
from tests.twins.clock import SteppedClock
from tests.work.cases import POLICIES, ask, proposal, running_case

PEOPLE = st.sampled_from(["alice", "bob", "carol"])
DECISIONS: st.SearchStrategy[Decision] = st.sampled_from(
    [Approve(), Approve(), Reject(reason="no"), Edit(action=Rollback(model="flights", from_version="2", to_version="0"))]
)
LASTS = timedelta(minutes=10)


class ApprovalsMachine(RuleBasedStateMachine):
    """The model: what is pending, until when, with which votes; and how often the run was moved on."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="oppen-machine-"))
        shutil.copyfile(self.template, self.folder / "oppen.db")
        self.loop = asyncio.Runner()
        self.database = Database(f"sqlite:///{self.folder / 'oppen.db'}")
        self.clock = SteppedClock()
        self.approvals = Approvals(self.database, lambda: POLICIES, self.clock)
        self.pending: str | None = None
        self.over: dict[str, str] = {}
        self.voters: list[str] = []
        self.attempt = 0
        self.moves = 0

    @initialize()
    def incident(self) -> None:
        self.incident_id, self.run_id = self.loop.run(running_case(self.database, self.clock))
        self.event = runs.START

    @rule(quorum=st.integers(1, 2), requester=st.sampled_from(["agent:incident", "alice"]))
    def a_question_is_put(self, quorum: int, requester: str) -> None:
        if self.pending is None and self.moves:
            assert self.loop.run(self._take())
        self.attempt += 1
        about = proposal(self.incident_id, self.run_id, attempt=self.attempt, requested_by=requester)
        if self.pending is not None:
            self.over[self.pending] = "superseded"
        row = self.loop.run(
            ask(self.database, self.approvals, self.clock, about, interrupt=f"i{self.attempt}", quorum=quorum, lasts=LASTS)
        )
        self.pending, self.fingerprint, self.quorum, self.requester = row.id, row.fingerprint, quorum, requester
        self.expires_at, self.voters = row.expires_at, []

    @precondition(lambda self: self.pending is not None)
    @rule(who=PEOPLE, decision=DECISIONS, right=st.sampled_from([True, True, True, False]))
    def somebody_decides(self, who: str, decision: Decision, right: bool) -> None:
        assert self.pending is not None
        expected = self._expected(who, decision, right)
        shown = self.fingerprint if right else "0" * 64
        deciding = self.approvals.decide(self.pending, principal=who, decision=decision, fingerprint=shown)
        if isinstance(expected, type):
            with pytest.raises(expected):
                self.loop.run(deciding)
            return
        decided = self.loop.run(deciding)
        assert decided.status == expected
        self.voters.append(who)
        if expected is not None:
            self._settle(expected)

    @rule(minutes=st.integers(1, 7))
    def time_passes(self, minutes: int) -> None:
        self.clock.pass_(timedelta(minutes=minutes))

    @rule()
    def the_sweep_comes_by(self) -> None:
        moved = self.loop.run(self.approvals.expire_due())
        due = self.pending is not None and self.clock.now() >= self.expires_at
        assert moved == ([self.run_id] if due else [])
        if due:
            self._settle("expired")

    @precondition(lambda self: bool(self.over))
    @rule(who=PEOPLE, decision=DECISIONS)
    def what_is_over_stays_over(self, who: str, decision: Decision) -> None:
        for approval_id in self.over:
            with pytest.raises((AlreadyDecided, Expired)):
                self.loop.run(self.approvals.decide(approval_id, principal=who, decision=decision, fingerprint=None))

    @invariant()
    def the_record_is_what_happened(self) -> None:
        if not hasattr(self, "run_id"):
            return
        self.loop.run(self._compare())

    def _expected(self, who: str, decision: Decision, right: bool) -> type[Problem] | str | None:
        if self.clock.now() >= self.expires_at:
            return Expired
        if not right:
            return WrongFingerprint
        if isinstance(decision, Approve) and who == self.requester:
            return OwnRequest
        if who in self.voters:
            return AlreadyDecided
        if isinstance(decision, Approve):
            return "approved" if len(self.voters) + 1 >= self.quorum else None
        return "rejected" if isinstance(decision, Reject) else "edited"

    def _settle(self, status: str) -> None:
        assert self.pending is not None
        self.over[self.pending] = status
        self.event = f"decision:{self.pending}"
        self.pending = None
        self.moves += 1

    async def _take(self) -> bool:
        async with self.database.begin() as transaction:
            return await runs.take(transaction, self.run_id, self.event, at=self.clock.now())

    async def _compare(self) -> None:
        async with self.database.read() as session:
            records = await rows.of_run(session, self.run_id)
            run = await runs.get(session, self.run_id)
            told = [event.name for event in await events.after(session, self.incident_id, 0)]
            assert (await audit.verify(session)).ok
        expected = self.over | ({self.pending: "pending"} if self.pending is not None else {})
        assert {record.id: record.status for record in records} == expected
        assert told.count("approval.decided") == self.moves
        assert run is not None
        assert run.event == self.event
        if self.pending is not None:
            assert (run.status, run.interrupt_id) == ("waiting", f"i{self.attempt}")
        for record in records:
            if record.status == "approved":
                assert Verdict.model_validate(record.verdict).fingerprint == record.fingerprint

    def teardown(self) -> None:
        self.loop.run(self.database.close())
        self.loop.close()
        shutil.rmtree(self.folder)


def test_an_approval_is_decided_once_whatever_happens(sqlite_template: Path) -> None:
    ApprovalsMachine.template = sqlite_template
    limits = settings(
        max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
    )
    run_state_machine_as_test(ApprovalsMachine, settings=limits)  # type: ignore[no-untyped-call]
