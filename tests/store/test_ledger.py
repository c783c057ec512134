"""The ledger of actions: what makes an action happen once."""

import asyncio

import pytest

from agents.actions import WorldState
from agents.proposals import Receipt
from api.store import audit, events
from api.store.actions import ActionLedger, of_incident
from api.store.database import Database
from graphs.context import Ledger
from tests.twins.clock import START, SteppedClock
from tests.work.cases import proposal
from tools.errors import PermanentError

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
