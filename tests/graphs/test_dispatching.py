"""The outbox: what is queued reaches the engine, however often it is asked for and whoever died in between."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from api.store import runs
from api.store.database import Database
from api.store.records import ApprovalRecord
from api.work.approvals import Approvals
from api.work.chores import Chore
from api.work.dispatching import Dispatcher, Sweep
from tests.twins.clock import SteppedClock
from tests.work.cases import DEBOUNCE, POLICIES, SECOND, alert, asked, begin_run, intake
from tools.errors import TemporaryError


@dataclass
class RememberingEngine:
    """Keeps what it was given, in order; asking twice for the same is noticed by whoever counts."""

    dispatched: list[tuple[str, str]] = field(default_factory=list)
    failure: Exception | None = None
    again: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    async def dispatch(self, run_id: str, event: str, *, again: str = "") -> None:
        if run_id in self.broken:
            raise ZeroDivisionError(run_id)
        if self.failure is not None:
            raise self.failure
        self.dispatched.append((run_id, event))
        if again:
            self.again.append(again)


@dataclass
class Desk:
    database: Database
    clock: SteppedClock
    engine: RememberingEngine
    approvals: Approvals
    dispatcher: Dispatcher
    sweep: Sweep

    async def queued(self, model: str = "flights") -> str:
        """A run that is to start after the debounce."""
        accepted = await intake(self.database, self.clock).accept([alert(model, model=model)], actor="alertmanager")
        async with self.database.read() as session:
            (run,) = await runs.of_incident(session, accepted.incidents[0])
        return run.id


@pytest.fixture
def desk(database: Database) -> Desk:
    clock, engine = SteppedClock(), RememberingEngine()
    approvals = Approvals(database, lambda: POLICIES, clock)
    return Desk(database, clock, engine, approvals, Dispatcher(database, engine), Sweep(database, engine, approvals, clock))


async def swept(sweep: Sweep) -> int:
    """Every part once, as the service does it all the time; how many runs were dispatched."""
    await sweep.expire()
    await sweep.wake()
    return await sweep.dispatch() + await sweep.take_over()


async def test_what_is_queued_is_dispatched_by_its_event(desk: Desk) -> None:
    run_id = await desk.queued()
    await desk.dispatcher.dispatch(run_id)
    assert desk.engine.dispatched == [(run_id, "start")]


async def test_what_moves_already_or_is_not_known_is_not_dispatched(desk: Desk) -> None:
    run_id = await desk.queued()
    await begin_run(desk.database, run_id, desk.clock.now())
    for each in (run_id, "run_00000000000000000000000000000000", "nonsense"):
        await desk.dispatcher.dispatch(each)
    assert desk.engine.dispatched == []


async def test_the_sweep_leaves_what_is_not_due_and_finds_what_is(desk: Desk) -> None:
    run_id = await desk.queued()
    assert await swept(desk.sweep) == 0
    desk.clock.pass_(DEBOUNCE)
    assert await swept(desk.sweep) == 1
    assert desk.engine.dispatched == [(run_id, "start")]


async def test_the_sweep_asks_again_until_the_run_is_taken(desk: Desk) -> None:
    run_id = await desk.queued()
    desk.clock.pass_(DEBOUNCE)
    desk.engine.failure = TemporaryError("the engine's store is away")
    with pytest.raises(TemporaryError):
        await swept(desk.sweep)
    desk.engine.failure = None
    assert [await swept(desk.sweep), await swept(desk.sweep)] == [1, 1]
    await begin_run(desk.database, run_id, desk.clock.now())
    assert await swept(desk.sweep) == 0
    assert set(desk.engine.dispatched) == {(run_id, "start")}


async def test_the_sweep_wakes_a_run_whose_moment_has_come_once(desk: Desk) -> None:
    run_id = await desk.queued()
    await begin_run(desk.database, run_id, desk.clock.now())
    moment = desk.clock.now() + timedelta(minutes=5)
    async with desk.database.begin() as transaction:
        assert await runs.wait_until(transaction, run_id, "i1", moment, at=desk.clock.now())
    desk.clock.pass_(timedelta(minutes=5) - SECOND)
    assert await swept(desk.sweep) == 0
    desk.clock.pass_(SECOND)
    await swept(desk.sweep)
    await swept(desk.sweep)
    ((woken, event),) = set(desk.engine.dispatched)
    assert woken == run_id
    assert event.startswith("wake:")


async def test_the_sweep_declines_what_nobody_answered_in_time(desk: Desk) -> None:
    case = await asked(desk.database, desk.approvals, desk.clock)
    assert await swept(desk.sweep) == 0
    desk.clock.pass_(POLICIES.approval.expires_after)
    assert await swept(desk.sweep) == 1
    assert desk.engine.dispatched == [(case.run_id, f"decision:{case.approval.id}")]


async def test_a_run_that_its_mover_has_left_is_dispatched_anew(desk: Desk) -> None:
    run_id = await desk.queued()
    await begin_run(desk.database, run_id, desk.clock.now())
    patient = Sweep(desk.database, desk.engine, desk.approvals, desk.clock)
    impatient = Sweep(desk.database, desk.engine, desk.approvals, desk.clock, patience=timedelta(0))
    assert await patient.take_over() == 0
    assert await impatient.take_over() == 1
    assert desk.engine.dispatched == [(run_id, "start")]
    assert await impatient.take_over() == 1
    # The same move again is the same workflow; after somebody has taken it, it is another.
    assert len(set(desk.engine.again)) == 1
    desk.clock.pass_(SECOND)
    await begin_run(desk.database, run_id, desk.clock.now())
    await impatient.take_over()
    assert len(set(desk.engine.again)) == 2


async def test_a_question_that_cannot_be_read_keeps_nothing_else_waiting(desk: Desk) -> None:
    broken = await asked(desk.database, desk.approvals, desk.clock)
    async with desk.database.begin() as transaction:
        await transaction.execute(
            update(ApprovalRecord).where(ApprovalRecord.id == broken.approval.id).values(proposal={"of": "another build"})
        )
    accepted = await intake(desk.database, desk.clock).accept([alert("b", model="fraud")], actor="alertmanager")
    desk.clock.pass_(POLICIES.approval.expires_after)
    with capture_logs() as logs:
        await swept(desk.sweep)
        await swept(desk.sweep)
    assert [each["event"] for each in logs] == ["approval.not_expired"]
    async with desk.database.read() as session:
        (run,) = await runs.of_incident(session, accepted.incidents[0])
    assert (run.id, "start") in desk.engine.dispatched


class UnreachableQuestions(Approvals):
    async def expire_due(self) -> list[str]:
        raise TemporaryError("their table is locked")


async def test_a_part_that_is_delayed_keeps_no_other_waiting(desk: Desk) -> None:
    asleep, fresh = await desk.queued(), await desk.queued("fraud")
    await begin_run(desk.database, asleep, desk.clock.now())
    async with desk.database.begin() as transaction:
        assert await runs.wait_until(transaction, asleep, "i1", desk.clock.now() + DEBOUNCE, at=desk.clock.now())
    desk.clock.pass_(DEBOUNCE)
    questions = UnreachableQuestions(desk.database, lambda: POLICIES, desk.clock)
    parts = Sweep(desk.database, desk.engine, questions, desk.clock).parts
    chores = {name: Chore(name, part, timedelta(milliseconds=10)) for name, part in parts.items()}
    with capture_logs() as logs:
        tasks = [asyncio.create_task(chore.forever()) for chore in chores.values()]
        async with asyncio.timeout(20):
            while {run_id for run_id, _ in desk.engine.dispatched} != {asleep, fresh} or not logs:
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert {(each["event"], each["chore"]) for each in logs} == {("chore.delayed", "expire")}
    assert {name: chore.state for name, chore in chores.items()} == {
        "expire": "delayed",
        "wake": "ok",
        "dispatch": "ok",
        "take over": "ok",
    }
    assert chores["expire"].failures["temporary"] > 0


async def test_a_run_that_cannot_be_dispatched_keeps_no_other_waiting(desk: Desk) -> None:
    first, second = await desk.queued(), await desk.queued("fraud")
    desk.clock.pass_(DEBOUNCE)
    desk.engine.broken = {first}
    with capture_logs() as logs, pytest.raises(ZeroDivisionError, match=first):
        await desk.sweep.dispatch()
    assert desk.engine.dispatched == [(second, "start")]
    assert [(each["event"], each["run_id"]) for each in logs] == [("dispatch.broken", first)]
