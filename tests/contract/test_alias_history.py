"""The record of alias moves in SQL: the same on both databases, also for processes that are killed on the way."""

import asyncio
import contextlib
import multiprocessing
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.contract import dying_moves
from tests.contract.dying_moves import BOUNDARIES, MODEL, FileAliases, move, move_and_die
from tests.twins.clock import SteppedClock
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.registry.history import METADATA, SqlHistory
from tools.registry.moves import Moves
from tools.registry.port import AliasChange

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload([dying_moves.__name__])


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/oppen.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
async def url(empty_url: str) -> str:
    parsed = make_url(empty_url)
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}[parsed.get_backend_name()]
    engine = create_async_engine(parsed.set(drivername=driver))
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    await engine.dispose()
    return empty_url


@pytest.fixture
async def history(url: str) -> AsyncIterator[SqlHistory]:
    opened = SqlHistory(url)
    yield opened
    await opened.close()


@pytest.fixture
async def second(url: str) -> AsyncIterator[SqlHistory]:
    """The same record, as another process would open it."""
    opened = SqlHistory(url)
    yield opened
    await opened.close()


@pytest.fixture
def aliases(tmp_path: Path) -> FileAliases:
    return FileAliases(tmp_path / "registry")


async def test_what_was_recorded_is_read_as_it_was(history: SqlHistory, second: SqlHistory, aliases: FileAliases) -> None:
    clock = SteppedClock()
    change = await move(Moves(aliases, history, clock), "1", expected=None, key="k")
    assert await Moves(aliases, second, clock).changes(MODEL) == (change,)
    assert await Moves(aliases, second, clock).changes("another") == ()


@pytest.mark.parametrize("end", BOUNDARIES)
async def test_killed_anywhere_the_same_key_moves_the_alias_exactly_once(
    end: str, url: str, history: SqlHistory, aliases: FileAliases, tmp_path: Path
) -> None:
    process = PROCESSES.Process(target=move_and_die, args=(url, tmp_path / "registry", end))
    process.start()
    await asyncio.to_thread(process.join, 30)
    assert process.exitcode == -signal.SIGKILL
    moves = Moves(aliases, history, SteppedClock())
    change = await move(moves, "1", expected=None, key="k")
    assert await move(moves, "1", expected=None, key="k") == change
    assert aliases.writes() == ["1"]
    assert await moves.changes(MODEL) == (change,)


async def test_of_rivals_that_share_nothing_but_the_database_one_wins(
    history: SqlHistory, second: SqlHistory, aliases: FileAliases
) -> None:
    desks = [Moves(aliases, record, SteppedClock()) for record in (history, second)]
    await move(desks[0], "0", expected=None, key="first")
    tried = await asyncio.gather(
        *(move(desks[n % 2], str(n), expected="0", key=f"rival {n}") for n in range(1, 11)), return_exceptions=True
    )
    won = [result for result in tried if isinstance(result, AliasChange)]
    assert len(won) == 1
    assert sum(isinstance(result, Conflict) for result in tried) == 9
    assert aliases.writes() == ["0", won[0].after]


async def test_a_key_has_one_entry(history: SqlHistory, aliases: FileAliases) -> None:
    await move(Moves(aliases, history, SteppedClock()), "1", expected=None, key="k")
    (entry,) = await history.entries(MODEL)
    with pytest.raises(Conflict):
        await history.add(entry)


async def test_a_database_without_the_table_says_what_to_do(empty_url: str) -> None:
    history = SqlHistory(empty_url)
    with pytest.raises(PermanentError, match="oppen migrate"):
        await history.entries(MODEL)
    await history.close()


async def test_a_database_that_is_away_is_a_temporary_error() -> None:
    history = SqlHistory("postgresql://oppen@127.0.0.1:1/oppen")
    with pytest.raises(TemporaryError):
        await history.entries(MODEL)
    await history.close()


async def test_a_database_that_is_written_by_others_for_too_long_is_a_temporary_error(
    tmp_path: Path, aliases: FileAliases
) -> None:
    path = tmp_path / "oppen.db"
    METADATA.create_all(create_engine(f"sqlite:///{path}", poolclass=NullPool))
    history = SqlHistory(f"sqlite:///{path}?timeout=0.1")
    assert await history.entries(MODEL) == ()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TemporaryError, match="locked"):
            await move(Moves(aliases, history, SteppedClock()), "1", expected=None, key="k")
    assert aliases.writes() == []
    await history.close()
