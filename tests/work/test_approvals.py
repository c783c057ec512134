"""Approvals: one decision, by the right people, in time, on what was shown. On both databases."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from agents.actions import Rollback
from agents.policies import Policies
from agents.proposals import Approve, Decision, Edit, Reject, Verdict
from api.problems import AlreadyDecided, Clash, Expired, Forbidden, Invalid, NotFound, OwnRequest, Problem, WrongFingerprint
from api.store import approvals as rows
from api.store import audit, events, incidents, runs
from api.store.database import Database
from api.store.records import ApprovalRecord, RunRecord
from api.work.approvals import Approvals, Decided, withdraw
from tests.twins.clock import SteppedClock
from tests.work.cases import POLICIES, SECOND, ask, asked, proposal, running_case
from tools.errors import Conflict

YES = Approve()
OTHER = Edit(action=Rollback(model="flights", from_version="2", to_version="0"))


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def approvals(database: Database, clock: SteppedClock) -> Approvals:
    return Approvals(database, lambda: POLICIES, clock)


async def _row(database: Database, approval_id: str) -> ApprovalRecord:
    async with database.read() as session:
        row = await rows.get(session, approval_id)
    assert row is not None
    return row


async def _run(database: Database, run_id: str) -> RunRecord:
    async with database.read() as session:
        run = await runs.get(session, run_id)
    assert run is not None
    return run


async def test_asking_lets_the_run_wait_and_tells_so(database: Database, approvals: Approvals, clock: SteppedClock) -> None:
    case = await asked(database, approvals, clock)
    run = await _run(database, case.run_id)
    async with database.read() as session:
        incident = await incidents.get(session, case.incident_id)
        names = [event.name for event in await events.after(session, case.incident_id, 0)]
    assert (run.status, run.interrupt_id) == ("waiting", "i1")
    assert incident is not None
    assert incident.status == "awaiting_approval"
    assert names[-1] == "approval.requested"
    assert case.approval.fingerprint == proposal(case.incident_id, case.run_id).fingerprint
    assert case.approval.policy_version == POLICIES.version


async def test_asking_the_same_question_again_returns_the_first_row(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)
    again = await ask(database, approvals, clock, proposal(case.incident_id, case.run_id))
    assert again.id == case.approval.id
    assert (await _run(database, case.run_id)).status == "queued"


async def test_a_newer_proposal_supersedes_the_one_that_is_pending(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    newer = await ask(database, approvals, clock, proposal(case.incident_id, case.run_id, attempt=2, to="0"), interrupt="i2")
    assert (await _row(database, case.approval.id)).status == "superseded"
    with pytest.raises(AlreadyDecided, match="superseded"):
        await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)
    assert newer.replaces is None


async def test_yes_is_a_verdict_that_covers_the_proposal_and_moves_the_run_on(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    decided = await approvals.decide(
        case.approval.id, principal="alice", decision=YES, fingerprint=case.approval.fingerprint, comment="go"
    )
    row, run = await _row(database, case.approval.id), await _run(database, case.run_id)
    async with database.read() as session:
        told = (await events.after(session, case.incident_id, 0))[-1]
        line = (await audit.page(session)).items[0]
    verdict = Verdict.model_validate(row.verdict)
    assert (decided.status, decided.run_id, decided.verdict) == ("approved", case.run_id, verdict)
    assert verdict.covers(proposal(case.incident_id, case.run_id))
    assert verdict.decided_by == ("alice",)
    assert (run.status, run.event, run.due_at) == ("queued", f"decision:{case.approval.id}", clock.now())
    assert (told.name, told.data["comment"]) == ("approval.decided", "go")
    assert (line.actor, line.action) == ("alice", "approval.decided")


async def test_no_moves_the_run_on_too(database: Database, approvals: Approvals, clock: SteppedClock) -> None:
    case = await asked(database, approvals, clock, quorum=2)
    decided = await approvals.decide(
        case.approval.id, principal="alice", decision=Reject(reason="not at night"), fingerprint=None
    )
    assert (decided.status, decided.run_id) == ("rejected", case.run_id)
    assert (await _row(database, case.approval.id)).status == "rejected"


async def test_an_edit_keeps_the_original_and_is_replaced_by_the_next_question(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    await approvals.decide(case.approval.id, principal="alice", decision=OTHER, fingerprint=None)
    async with database.begin() as transaction:
        assert await runs.take(transaction, case.run_id, f"decision:{case.approval.id}", at=clock.now())
    edited = proposal(case.incident_id, case.run_id, attempt=2, requested_by="alice", to="0")
    newer = await ask(database, approvals, clock, edited, interrupt="i2")
    original = await _row(database, case.approval.id)
    assert (original.status, original.proposal["action"]["to_version"]) == ("edited", "1")
    assert newer.replaces == original.id
    assert newer.fingerprint != original.fingerprint
    with pytest.raises(OwnRequest):
        await approvals.decide(newer.id, principal="alice", decision=YES, fingerprint=None)
    decided = await approvals.decide(newer.id, principal="bob", decision=YES, fingerprint=None)
    assert decided.status == "approved"


async def test_a_quorum_is_of_different_people(database: Database, approvals: Approvals, clock: SteppedClock) -> None:
    case = await asked(database, approvals, clock, quorum=2)
    first = await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)
    assert (first.status, first.votes, first.quorum, first.run_id) == (None, 1, 2, None)
    assert (await _run(database, case.run_id)).status == "waiting"
    with pytest.raises(AlreadyDecided, match="already voted"):
        await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)
    second = await approvals.decide(case.approval.id, principal="bob", decision=YES, fingerprint=None)
    assert (second.status, second.votes) == ("approved", 2)
    assert second.verdict is not None
    assert set(second.verdict.decided_by) == {"alice", "bob"}


async def test_whoever_asked_may_reject_or_edit_but_not_approve(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock, requested_by="alice")
    with pytest.raises(OwnRequest):
        await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)
    decided = await approvals.decide(case.approval.id, principal="alice", decision=Reject(reason="a mistake"), fingerprint=None)
    assert decided.status == "rejected"


async def test_policy_may_let_the_requester_approve_and_name_who_owns_a_model(database: Database, clock: SteppedClock) -> None:
    policies = Policies.model_validate({"approval": {"four_eyes": False}, "models": {"flights": {"owners": ["alice"]}}})
    approvals = Approvals(database, lambda: policies, clock)
    case = await asked(database, approvals, clock, requested_by="alice")
    with pytest.raises(Forbidden, match="owner"):
        await approvals.decide(case.approval.id, principal="bob", decision=YES, fingerprint=None)
    assert (await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)).status == "approved"


@pytest.mark.parametrize(
    ("decision", "arguments", "problem"),
    [
        (YES, {"fingerprint": "0" * 64}, WrongFingerprint),
        (Reject(reason="  "), {}, Invalid),
        (Reject(reason="no\0"), {}, Invalid),
        (YES, {"comment": "\ud800"}, Invalid),
    ],
)
async def test_a_decision_that_is_not_in_order_changes_nothing(
    database: Database,
    approvals: Approvals,
    clock: SteppedClock,
    decision: Decision,
    arguments: dict[str, Any],
    problem: type[Problem],
) -> None:
    case = await asked(database, approvals, clock)
    with pytest.raises(problem):
        await approvals.decide(case.approval.id, principal="alice", decision=decision, **{"fingerprint": None} | arguments)
    async with database.read() as session:
        assert await rows.votes(session, case.approval.id) == []
    assert (await _row(database, case.approval.id)).status == "pending"


@pytest.mark.parametrize("approval_id", ["apr_" + "0" * 32, "apr_\0", "x"])
async def test_an_approval_that_does_not_exist_is_not_found(approvals: Approvals, approval_id: str) -> None:
    with pytest.raises(NotFound):
        await approvals.decide(approval_id, principal="alice", decision=YES, fingerprint=None)


async def test_after_its_time_it_cannot_be_decided_even_if_no_sweep_has_come_by(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    clock.pass_(POLICIES.approval.expires_after)
    with pytest.raises(Expired):
        await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)
    assert await approvals.expire_due() == [case.run_id]
    with pytest.raises(Expired):
        await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)


async def test_what_nobody_decided_in_time_is_rejected_by_policy_once(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    clock.pass_(POLICIES.approval.expires_after - timedelta(seconds=1))
    assert await approvals.expire_due() == []
    clock.pass_(timedelta(seconds=1))
    assert await approvals.expire_due() == [case.run_id]
    assert await approvals.expire_due() == []
    row = await _row(database, case.approval.id)
    verdict = Verdict.model_validate(row.verdict)
    assert (row.status, verdict.decided_by, verdict.decision) == ("expired", ("policy:expiry",), Reject(reason="expired"))
    assert (await _run(database, case.run_id)).event == f"decision:{case.approval.id}"


async def test_a_run_that_was_cancelled_takes_no_decision(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    async with database.begin() as transaction:
        await runs.end(transaction, case.run_id, "cancelled", at=clock.now())
    with pytest.raises(Clash):
        await approvals.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None)
    assert (await _row(database, case.approval.id)).status == "pending"


async def test_of_fifty_who_decide_at_once_one_wins(database: Database, second: Database, clock: SteppedClock) -> None:
    replicas = [Approvals(each, lambda: POLICIES, clock) for each in (database, second)]
    case = await asked(database, replicas[0], clock)
    choices: list[Decision] = [YES, Reject(reason="no"), OTHER]
    answers = await asyncio.gather(
        *(
            replicas[number % 2].decide(
                case.approval.id, principal=f"person {number}", decision=choices[number % 3], fingerprint=None
            )
            for number in range(50)
        ),
        return_exceptions=True,
    )
    won = [answer for answer in answers if isinstance(answer, Decided)]
    lost = [answer for answer in answers if isinstance(answer, AlreadyDecided)]
    row = await _row(database, case.approval.id)
    async with database.read() as session:
        names = [event.name for event in await events.after(session, case.incident_id, 0)]
    assert (len(won), len(lost)) == (1, 49)
    assert row.status == won[0].status
    assert names.count("approval.decided") == 1


async def test_a_sweep_and_a_decision_at_the_same_moment_do_not_both_count(
    database: Database, second: Database, clock: SteppedClock
) -> None:
    case = await asked(database, Approvals(database, lambda: POLICIES, clock), clock)
    late = SteppedClock(clock.now() + POLICIES.approval.expires_after)
    early, sweeper = Approvals(database, lambda: POLICIES, clock), Approvals(second, lambda: POLICIES, late)
    decided, swept = await asyncio.gather(
        early.decide(case.approval.id, principal="alice", decision=YES, fingerprint=None),
        sweeper.expire_due(),
        return_exceptions=True,
    )
    assert isinstance(decided, Decided) != (swept == [case.run_id])
    async with database.read() as session:
        names = [event.name for event in await events.after(session, case.incident_id, 0)]
    assert names.count("approval.decided") == 1


async def test_questions_of_a_run_are_in_the_order_of_its_attempts(database: Database, clock: SteppedClock) -> None:
    fast, slow = (Approvals(database, lambda: POLICIES, each) for each in (clock, SteppedClock(clock.now() - SECOND)))
    incident_id, run_id = await running_case(database, clock)
    attempts = range(1, 12)
    for attempt in attempts:
        # As two replicas take turns, whose clocks differ by a second and stand still.
        desk = fast if attempt % 3 else slow
        await ask(database, desk, clock, proposal(incident_id, run_id, attempt=attempt), interrupt=f"i{attempt}")
    async with database.read() as session:
        of_run, of_incident = await rows.of_run(session, run_id), await rows.of_incident(session, incident_id)
    assert [each.proposal["id"] for each in of_run] == [f"{run_id}/{attempt}" for attempt in attempts]
    assert of_incident == of_run
    assert [each.status for each in of_run] == [*["superseded"] * 10, "pending"]


async def test_a_question_of_a_run_that_is_over_is_not_put(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    incident_id, run_id = await running_case(database, clock)
    async with database.begin() as transaction:
        await runs.end(transaction, run_id, "failed", at=clock.now())
    with pytest.raises(Clash):
        await ask(database, approvals, clock, proposal(incident_id, run_id))
    async with database.read() as session:
        assert await rows.of_run(session, run_id) == []


async def test_a_question_of_an_unknown_run_is_refused(database: Database, approvals: Approvals, clock: SteppedClock) -> None:
    incident_id, _ = await running_case(database, clock)
    with pytest.raises(Conflict):
        await ask(database, approvals, clock, proposal(incident_id, "run_" + "0" * 32))


async def test_a_question_that_an_order_ends_has_room_for_its_reason_however_long(
    database: Database, approvals: Approvals, clock: SteppedClock
) -> None:
    case = await asked(database, approvals, clock)
    async with database.begin() as transaction:
        await withdraw(transaction, case.run_id, by="ann", reason=f"the experiment is ended: {'x' * 2_000}", at=clock.now())
    row = await _row(database, case.approval.id)
    assert row.status == "superseded"
    assert row.verdict is not None
    assert len(row.verdict["decision"]["reason"]) == 2_000
