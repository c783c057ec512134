"""The port of quarantines over its backends: the twin, SQLite, PostgreSQL; and both databases for processes that are killed."""

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from api.store import audit
from api.store.database import Database
from api.store.quarantines import SqlQuarantines
from tests.contract import dying_quarantines
from tests.contract.dying_quarantines import MODEL, When, die, place, release
from tests.twins.clock import SteppedClock
from tests.twins.quarantines import TwinQuarantines
from tools.errors import Conflict, PermanentError
from tools.quarantines.port import Quarantine, Quarantines
from tools.values import Window

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([dying_quarantines.__name__])
CLOCK = SteppedClock()
DAY = timedelta(days=1)
TODAY = Window(start=CLOCK.now() - DAY, end=CLOCK.now())
YESTERDAY = TODAY.shifted(-DAY)


@pytest.fixture(params=["twin", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def backend(request: pytest.FixtureRequest) -> str | None:
    """The URL of a database; None for the twin."""
    if request.param == "twin":
        return None
    url: str = request.getfixturevalue("sqlite_database_url" if request.param == "sqlite" else "postgres_database_url")
    return url


@pytest.fixture
async def quarantines(backend: str | None) -> AsyncIterator[Quarantines]:
    if backend is None:
        yield TwinQuarantines(SteppedClock())
        return
    database = Database(backend)
    yield SqlQuarantines(database, SteppedClock())
    await database.close()


async def placed(on: Quarantines, key: str = "k", window: Window = TODAY, *features: str, **values: Any) -> Quarantine:
    given: dict[str, Any] = {"expected": (), "actor": "ann", "reason": "the sensor hung"} | values
    return await on.place("flights", window, features, key=key, **given)


async def test_it_is_the_port_and_knows_nothing_at_first(quarantines: Quarantines) -> None:
    assert isinstance(quarantines, Quarantines)
    assert await quarantines.in_force("flights") == ()


async def test_what_was_placed_is_in_force_for_its_model_and_the_windows_it_overlaps(quarantines: Quarantines) -> None:
    found = await placed(quarantines, "k", TODAY, "wind")
    assert (found.model, found.window, found.features, found.placed_by) == ("flights", TODAY, ("wind",), "ann")
    assert (found.reason, found.released_at) == ("the sensor hung", None)
    assert await quarantines.in_force("flights") == (found,)
    assert await quarantines.in_force("flights", TODAY.shifted(DAY / 2)) == (found,)
    assert await quarantines.in_force("flights", YESTERDAY) == ()
    assert await quarantines.in_force("loans") == ()


async def test_a_key_places_once_also_after_it_was_released(quarantines: Quarantines) -> None:
    first = await placed(quarantines)
    assert await placed(quarantines) == first
    released = await quarantines.release(first.id, key="r", actor="bob", reason="repaired")
    assert await placed(quarantines) == released
    assert await quarantines.in_force("flights") == ()


async def test_a_key_of_one_quarantine_places_no_other(quarantines: Quarantines) -> None:
    await placed(quarantines)
    with pytest.raises(PermanentError, match="another quarantine"):
        await placed(quarantines, "k", YESTERDAY)


async def test_what_somebody_else_placed_meanwhile_is_a_conflict(quarantines: Quarantines) -> None:
    first = await placed(quarantines)
    with pytest.raises(Conflict, match=first.id):
        await placed(quarantines, "other", TODAY.shifted(DAY / 2))
    assert await quarantines.in_force("flights") == (first,)
    second = await placed(quarantines, "other", TODAY.shifted(DAY / 2), expected=[first.id])
    third = await placed(quarantines, "third", YESTERDAY)
    assert await quarantines.in_force("flights") == (third, first, second)


async def test_it_is_released_once_by_whoever_came_first(quarantines: Quarantines) -> None:
    first = await placed(quarantines)
    released = await quarantines.release(first.id, key="r", actor="bob", reason="repaired")
    assert (released.released_by, released.window) == ("bob", TODAY)
    assert released.released_at is not None
    assert await quarantines.release(first.id, key="r", actor="bob", reason="repaired") == released
    with pytest.raises(Conflict, match="bob"):
        await quarantines.release(first.id, key="s", actor="eve", reason="repaired")
    with pytest.raises(PermanentError, match="there is no quarantine"):
        await quarantines.release("qua_1", key="s", actor="eve", reason="")


async def test_of_two_that_place_at_once_on_one_state_one_does(database: Database, second: Database) -> None:
    places = [SqlQuarantines(each, SteppedClock()) for each in (database, second)]
    done = await asyncio.gather(*(placed(each, f"k{place}") for place, each in enumerate(places)), return_exceptions=True)
    assert sorted(type(each).__name__ for each in done) == ["Conflict", "Quarantine"]
    assert len(await places[0].in_force("flights")) == 1


async def test_every_change_is_in_the_audit_log_once(database: Database) -> None:
    on = SqlQuarantines(database, SteppedClock())
    first = await placed(on)
    await placed(on)
    for _ in range(2):
        await on.release(first.id, key="r", actor="bob", reason="repaired")
    async with database.read() as session:
        lines = (await audit.page(session, subject="model:flights")).items
    assert [(line.action, line.actor) for line in reversed(lines)] == [("data.quarantined", "ann"), ("data.released", "bob")]


def _killed(url: str, when: When, quarantine: str | None = None) -> None:
    process = PROCESSES.Process(target=die, args=(url, when, quarantine))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_at_its_commit_and_repeated_it_has_happened_once(
    database: Database, database_url: str, when: When
) -> None:
    on = SqlQuarantines(database, SteppedClock())
    await asyncio.to_thread(_killed, database_url, when)
    assert len(await on.in_force(MODEL)) == (when == "after")
    first = await place(on)
    assert await on.in_force(MODEL) == (first,)

    await asyncio.to_thread(_killed, database_url, when, first.id)
    assert len(await on.in_force(MODEL)) == (when == "before")
    assert (await release(on, first.id)).released_by == "bob"
    assert await on.in_force(MODEL) == ()
    async with database.read() as session:
        lines = (await audit.page(session, subject=f"model:{MODEL}")).items
    assert [line.action for line in lines] == ["data.released", "data.quarantined"]
