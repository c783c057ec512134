"""The smaller tables: pages, runs, keys, remembered answers, sent messages."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.problems import Invalid
from api.store import idempotency, ids, incidents, keys, runs
from api.store.database import Database
from api.store.notifications import SentMessages
from api.store.records import ApiKeyRecord
from api.store.text import all_storable, storable
from tests.twins.clock import START, SteppedClock
from tests.work.cases import alert, intake, running_case
from tools.errors import Conflict
from tools.notify.port import Message

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS, st.timedeltas(timedelta(microseconds=1), timedelta(days=1000)))
def test_ids_sort_by_time(moment: datetime, later: timedelta) -> None:
    if moment <= datetime(9990, 1, 1, tzinfo=UTC):
        assert ids.new("inc", moment) < ids.new("inc", moment + later)


@given(MOMENTS)
def test_ids_of_one_moment_differ_and_are_version_seven(moment: datetime) -> None:
    one, other = ids.new("inc", moment), ids.new("inc", moment)
    assert one != other
    assert ids.well_formed(one)
    assert (one[16], one[20] in "89ab") == ("7", True)


@pytest.mark.parametrize(
    "text", ["", "inc_1", "inc_" + "g" * 32, "inc_" + "0" * 33, "INC_" + "0" * 32, "inc_" + "0" * 31 + "\n"]
)
def test_other_text_is_no_id(text: str) -> None:
    assert not ids.well_formed(text)


@given(st.lists(st.text()))
def test_text_that_both_databases_keep_is_told_from_what_they_refuse(texts: list[str]) -> None:
    def encodes(text: str) -> bool:
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
        return "\0" not in text

    assert [storable(text) for text in texts] == [encodes(text) for text in texts]
    assert all_storable(texts) == all(encodes(text) for text in texts)


async def test_pages_of_incidents_are_stable_under_inserts(database: Database) -> None:
    clock = SteppedClock()
    desk = intake(database, clock)
    for number in range(5):
        clock.pass_(timedelta(milliseconds=1))
        await desk.accept([alert(str(number), model=f"m{number}")], actor="test")
    seen, cursor = [], None
    while True:
        async with database.read() as session:
            page = await incidents.page(session, limit=2, cursor=cursor)
        seen += [incident.model for incident in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        clock.pass_(timedelta(milliseconds=1))
        await desk.accept([alert(f"late {cursor}", model=f"late {cursor}")], actor="test")
    assert seen == ["m4", "m3", "m2", "m1", "m0"]


@pytest.mark.parametrize("cursor", ["x", "inc_", "\0", "inc_" + "0" * 31])
async def test_a_cursor_that_was_never_handed_out_is_refused(database: Database, cursor: str) -> None:
    async with database.read() as session:
        with pytest.raises(Invalid):
            await incidents.page(session, cursor=cursor)


async def test_a_filter_that_no_row_can_match_finds_nothing(database: Database) -> None:
    async with database.read() as session:
        assert (await incidents.page(session, model="a\0b")).items == []
        assert await incidents.get(session, "inc_\0") is None


async def test_a_run_is_taken_for_its_event_again_after_a_crash_and_for_no_other(database: Database) -> None:
    clock = SteppedClock()
    _, run_id = await running_case(database, clock)
    async with database.begin() as transaction:
        assert await runs.take(transaction, run_id, runs.START, at=clock.now())
        assert not await runs.take(transaction, run_id, "decision:apr_1", at=clock.now())


async def test_a_waiting_run_is_woken_at_its_moment_once(database: Database) -> None:
    clock = SteppedClock()
    _, run_id = await running_case(database, clock)
    moment = clock.now() + timedelta(minutes=5)
    async with database.begin() as transaction:
        assert await runs.wait_until(transaction, run_id, "i1", moment, at=clock.now())
        assert not await runs.wait_until(transaction, run_id, "i2", moment, at=clock.now())
        assert await runs.wake_due(transaction, moment - timedelta(seconds=1)) == []
        woken = await runs.wake_due(transaction, moment)
        assert await runs.wake_due(transaction, moment) == []
    assert [run for run, _ in woken] == [run_id]
    async with database.read() as session:
        assert await runs.due(session, moment) == woken


async def test_a_run_ends_once(database: Database) -> None:
    clock = SteppedClock()
    _, run_id = await running_case(database, clock)
    async with database.begin() as transaction:
        assert await runs.end(transaction, run_id, "completed", at=clock.now(), outcome="resolved")
        assert not await runs.end(transaction, run_id, "failed", at=clock.now(), error="late")
        assert not await runs.resume(transaction, run_id, "decision:apr_1", at=clock.now())
    async with database.read() as session:
        run = await runs.get(session, run_id)
    assert run is not None
    assert (run.status, run.outcome, run.error) == ("completed", "resolved", None)


def _key(name: str) -> ApiKeyRecord:
    return ApiKeyRecord(id=f"k-{name}", name=name, role="viewer", secret_hash="0" * 64, created_at=START)


async def test_a_name_holds_one_key_which_is_revoked_once(database: Database) -> None:
    async with database.begin() as transaction:
        await keys.add(transaction, _key("alice"))
        assert await keys.revoke(transaction, "k-alice", at=START)
        assert not await keys.revoke(transaction, "k-alice", at=START)
    async with database.read() as session:
        assert await keys.get(session, "k\0") is None
        assert [key.revoked_at for key in await keys.all_keys(session)] == [START]


async def test_a_second_key_of_a_name_is_a_conflict(database: Database) -> None:
    async def add() -> None:
        async with database.begin() as transaction:
            transaction.expunge_all()
            await keys.add(transaction, _key("alice"))

    await add()
    with pytest.raises(Conflict):
        await add()


async def test_the_first_answer_to_a_key_stands_until_it_is_forgotten(database: Database) -> None:
    async with database.begin() as transaction:
        for status in (201, 500):
            await idempotency.remember(
                transaction, "alice", "POST /v1/x", "k", request_hash="h", status=status, body={"n": status}, at=START
            )
    async with database.read() as session:
        found = await idempotency.find(session, "alice", "POST /v1/x", "k")
        assert await idempotency.find(session, "bob", "POST /v1/x", "k") is None
    assert found is not None
    assert (found.status, found.body) == (201, {"n": 201})
    async with database.begin() as transaction:
        await idempotency.forget(transaction, START + timedelta(seconds=1))
    async with database.read() as session:
        assert await idempotency.find(session, "alice", "POST /v1/x", "k") is None


async def test_a_message_is_recorded_once(database: Database) -> None:
    sent = SentMessages(database, SteppedClock())
    assert not await sent.already("k")
    await sent.record("k", "ops", Message(title="t", body="b"))
    await sent.record("k", "other", Message(title="t", body="b"))
    assert await sent.already("k")
