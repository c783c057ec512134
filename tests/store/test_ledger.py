"""The ledger of actions: what makes an action happen once."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update

from agents.actions import Retrain, WorldState
from agents.proposals import Failure, Proposal, Receipt
from api.store import audit, events, runs
from api.store.actions import ActionLedger, of_incident
from api.store.database import Database
from api.store.records import ActionRecord
from graphs.context import Ledger
from tests.twins.clock import START, SteppedClock
from tests.work.cases import proposal, running_case
from tools.errors import Claimed, PermanentError

ABOUT = proposal("inc_" + "1" * 32, "run_" + "1" * 32)
BEFORE = WorldState(champion="2", route_generation=4, weights={"2": 100})
RECEIPT = Receipt(
    key=ABOUT.id,
    action=ABOUT.action,
    before=BEFORE,
    after=WorldState(champion="1", route_generation=5, weights={"1": 100}),
    undo=None,
    started_at=START,
    finished_at=START,
)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return ActionLedger(database, SteppedClock())


async def _told(database: Database) -> list[str]:
    async with database.read() as session:
        told = [event.name for event in await events.after(session, ABOUT.incident_id, 0)]
        lines = [line.action for line in (await audit.page(session)).items[::-1]]
    assert told == lines
    return told


async def test_an_intent_is_written_once_and_keeps_the_world_it_first_saw(database: Database, ledger: Ledger) -> None:
    half_way = BEFORE.model_copy(update={"route_generation": 5})
    assert await ledger.intend(ABOUT, BEFORE) == (BEFORE, None)
    assert await ledger.intend(ABOUT, half_way) == (BEFORE, None)
    assert await _told(database) == ["action.intended"]


async def test_what_is_done_answers_with_its_receipt(database: Database, ledger: Ledger) -> None:
    await ledger.intend(ABOUT, BEFORE)
    await ledger.complete(RECEIPT)
    await ledger.complete(RECEIPT)
    assert await ledger.intend(ABOUT, WorldState()) == (BEFORE, RECEIPT)
    assert await _told(database) == ["action.intended", "action.done"]
    async with database.read() as session:
        (record,) = await of_incident(session, ABOUT.incident_id)
    assert record.state == "done"


async def test_what_was_given_up_is_not_done_after_all(database: Database, ledger: Ledger) -> None:
    await ledger.intend(ABOUT, BEFORE)
    await ledger.fail(ABOUT.id, "the gateway refused")
    await ledger.fail(ABOUT.id, "again")
    with pytest.raises(PermanentError, match="the gateway refused"):
        await ledger.intend(ABOUT, BEFORE)
    with pytest.raises(PermanentError, match="given up"):
        await ledger.complete(RECEIPT)
    assert await _told(database) == ["action.intended", "action.failed"]


async def test_how_it_was_given_up_is_kept_for_whoever_repeats_it(database: Database, ledger: Ledger) -> None:
    await ledger.intend(ABOUT, BEFORE)
    assert await ledger.failure(ABOUT.id) is None
    await ledger.fail(ABOUT.id, "somebody else was there", kind="conflict", route=7)
    await ledger.fail(ABOUT.id, "again", kind="denied")
    assert await ledger.failure(ABOUT.id) == Failure(kind="conflict", reason="somebody else was there", route=7)
    # As an earlier build has left it.
    async with database.begin() as transaction:
        await transaction.execute(update(ActionRecord).values(failure=None))
    assert await ledger.failure(ABOUT.id) == Failure(kind="broke", reason="somebody else was there")


async def test_what_is_done_cannot_be_given_up(database: Database, ledger: Ledger) -> None:
    await ledger.intend(ABOUT, BEFORE)
    await ledger.complete(RECEIPT)
    await ledger.fail(ABOUT.id, "too late")
    assert await ledger.intend(ABOUT, BEFORE) == (BEFORE, RECEIPT)


async def test_what_was_never_intended_is_neither_done_nor_given_up(database: Database, ledger: Ledger) -> None:
    await ledger.fail(ABOUT.id, "nothing")
    with pytest.raises(PermanentError, match="never intended"):
        await ledger.complete(RECEIPT)
    assert await _told(database) == []


async def test_actions_of_one_moment_are_in_the_order_of_their_attempts(database: Database, ledger: Ledger) -> None:
    attempts = [proposal(ABOUT.incident_id, ABOUT.run_id, attempt=number) for number in (1, 9, 10)]
    for attempt in attempts:
        await ledger.intend(attempt, BEFORE)
    async with database.read() as session:
        assert [record.key for record in await of_incident(session, ABOUT.incident_id)] == [each.id for each in attempts]


async def test_a_key_stands_for_one_action(ledger: Ledger) -> None:
    await ledger.intend(ABOUT, BEFORE)
    other = proposal(ABOUT.incident_id, ABOUT.run_id, to="0")
    with pytest.raises(PermanentError, match="another action"):
        await ledger.intend(other, BEFORE)


async def test_processes_that_intend_at_once_see_one_before(database: Database, second: Database) -> None:
    ledgers = [ActionLedger(each, SteppedClock()) for each in (database, second)]
    worlds = [WorldState(champion=str(number)) for number in range(10)]
    answers = await asyncio.gather(*(ledgers[number % 2].intend(ABOUT, world) for number, world in enumerate(worlds)))
    assert len({before.champion for before, _ in answers}) == 1
    assert await _told(database) == ["action.intended"]


def training(run_id: str, model: str = "flights") -> Proposal:
    action = Retrain(model=model, version="2", window_start=START - timedelta(days=1), window_end=START)
    return proposal(ABOUT.incident_id, run_id).model_copy(update={"action": action})


RUNS = [f"run_{number:032x}" for number in range(8)]


async def test_of_trainings_of_one_model_that_begin_at_once_one_does(database: Database, second: Database) -> None:
    ledgers = [ActionLedger(each, SteppedClock()) for each in (database, second)]
    tries = (ledgers[place % 2].intend(training(run), BEFORE) for place, run in enumerate(RUNS))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    (winner,) = [run for run, answer in zip(RUNS, answers, strict=True) if not isinstance(answer, BaseException)]
    losers = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {(type(each), getattr(each, "holder", ""), getattr(each, "pending", False)) for each in losers} == {
        (Claimed, f"{winner}/1", True)
    }
    assert await ledgers[0].intend(training(winner), BEFORE) == (BEFORE, None)
    assert await _told(database) == ["action.intended"]


@pytest.mark.parametrize("ended", ["released", "given up"])
async def test_what_a_training_has_claimed_is_let_go_when_it_is_over(ledger: Ledger, ended: str) -> None:
    first, other = training(RUNS[0]), training(RUNS[1])
    await ledger.intend(first, BEFORE)
    await ledger.intend(training(RUNS[2], model="other"), BEFORE)
    with pytest.raises(Claimed):
        await ledger.intend(other, BEFORE)
    await (ledger.release(first.id) if ended == "released" else ledger.fail(first.id, "no such command"))
    assert await ledger.intend(other, BEFORE) == (BEFORE, None)


async def test_a_claim_is_not_pending_any_more_once_its_run_is_over(database: Database, ledger: Ledger) -> None:
    _, run_id = await running_case(database, SteppedClock())
    await ledger.intend(training(run_id), BEFORE)
    with pytest.raises(Claimed) as before:
        await ledger.intend(training(RUNS[1]), BEFORE)
    async with database.begin() as transaction:
        await runs.end(transaction, run_id, "failed", at=START, error="broke")
    with pytest.raises(Claimed) as after:
        await ledger.intend(training(RUNS[1]), BEFORE)
    assert (before.value.pending, after.value.pending) == (True, False)
