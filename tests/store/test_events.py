"""The timeline: in the order of commits, each event once, and readers are woken."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import pytest
from sqlalchemy import text

from api.problems import Invalid
from api.store import events, journal
from api.store.database import Database
from api.store.records import EventRecord
from tests.twins.clock import START

INCIDENT = "inc_1"


async def _tell(database: Database, *names: str, incident: str = INCIDENT, key: str | None = None) -> None:
    async with database.begin() as transaction:
        for name in names:
            events.append(transaction, incident, name, {"name": name}, at=START, key=key)


async def _names(database: Database) -> list[str]:
    async with database.read() as session:
        return [event.name for event in await events.after(session, INCIDENT, 0)]


async def _take(followed: AsyncIterator[EventRecord], count: int) -> list[str]:
    return [(await asyncio.wait_for(anext(followed), 10)).name for _ in range(count)]


async def test_a_key_is_told_once(database: Database) -> None:
    await _tell(database, "a", "again", key="k")
    await _tell(database, "again", key="k")
    await _tell(database, "b")
    assert await _names(database) == ["a", "b"]


async def test_pages_are_stable_while_events_come_in(database: Database) -> None:
    await _tell(database, "a", "b", "c")
    async with database.read() as session:
        first = await events.page(session, INCIDENT, limit=2)
    await _tell(database, "d")
    async with database.read() as session:
        rest = await events.page(session, INCIDENT, limit=5, cursor=first.next_cursor)
    assert [event.name for event in first.items + rest.items] == ["a", "b", "c", "d"]
    assert rest.next_cursor is None


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30, "\0"])
async def test_a_cursor_that_was_never_handed_out_is_refused(database: Database, cursor: str) -> None:
    async with database.read() as session:
        with pytest.raises(Invalid):
            await events.page(session, INCIDENT, cursor=cursor)


async def test_a_follower_gets_what_was_told_and_is_woken_by_what_is_being_told(database: Database) -> None:
    await _tell(database, "a")
    # A poll that would come too late: only the wake-up can bring the second event in time.
    async with aclosing(events.follow(database, INCIDENT, 0, poll=timedelta(hours=1))) as followed:
        assert await _take(followed, 1) == ["a"]
        waiting = asyncio.create_task(_take(followed, 2))
        await _tell(database, "somebody else's", incident="inc_2")
        await _tell(database, "b", "c")
        assert await waiting == ["b", "c"]


async def test_a_follower_sees_what_another_replica_tells(database: Database, second: Database) -> None:
    async with aclosing(events.follow(database, INCIDENT, 0, poll=timedelta(milliseconds=20))) as followed:
        waiting = asyncio.create_task(_take(followed, 1))
        await _tell(second, "a")
        assert await waiting == ["a"]


async def test_a_follower_that_comes_back_goes_on_where_it_was(database: Database) -> None:
    await _tell(database, "a", "b", "c")
    async with aclosing(events.follow(database, INCIDENT, 0)) as followed:
        seen = [await anext(followed), await anext(followed)]
    async with aclosing(events.follow(database, INCIDENT, seen[-1].seq)) as followed:
        assert await _take(followed, 1) == ["c"]


async def test_what_is_rolled_back_wakes_nobody_and_is_not_seen(database: Database) -> None:
    async def fail() -> None:
        async with database.begin() as transaction:
            events.append(transaction, INCIDENT, "lost", {}, at=START)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    await _tell(database, "kept")
    assert await _names(database) == ["kept"]


@pytest.mark.postgres
async def test_a_number_is_drawn_only_when_those_before_it_are_committed(postgres_database_url: str) -> None:
    """The danger: seq 1 is drawn, seq 2 is drawn and committed, a reader goes past 2, and 1 comes to light behind it."""
    slow, quick = Database(postgres_database_url), Database(postgres_database_url)
    drawn, go_on = asyncio.Event(), asyncio.Event()

    async def tell_slowly() -> None:
        async with slow.begin() as transaction:
            events.append(transaction, INCIDENT, "slow", {}, at=START)
            await journal.write(transaction)
            drawn.set()
            await go_on.wait()

    first = asyncio.create_task(tell_slowly())
    await drawn.wait()
    second = asyncio.create_task(_tell(quick, "quick"))
    # It waits at the lock, where the server can see it, and has drawn nothing.
    async with slow.read() as session:
        while not await session.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")):
            await asyncio.sleep(0.01)
    assert await _names(slow) == []
    go_on.set()
    await asyncio.gather(first, second)
    assert await _names(slow) == ["slow", "quick"]
    await slow.close()
    await quick.close()


async def test_a_follower_misses_nothing_while_two_replicas_write(database: Database, second: Database) -> None:
    total = 60

    async def write(replica: Database, start: int) -> None:
        for number in range(start, total, 2):
            await _tell(replica, str(number))

    async with aclosing(events.follow(database, INCIDENT, 0, poll=timedelta(milliseconds=5))) as followed:
        reading = asyncio.create_task(_take(followed, total))
        await asyncio.gather(write(database, 0), write(second, 1))
        names = await reading
    assert sorted(map(int, names)) == list(range(total))
