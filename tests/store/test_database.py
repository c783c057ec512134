"""The door: one commit at the edge, reads that cannot write, and errors in two words."""

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from api.store import autonomy, events
from api.store.database import Database
from tests.twins.clock import START
from tools.errors import Conflict, PermanentError, TemporaryError


async def _modes(database: Database) -> list[str]:
    async with database.read() as session:
        return [change.mode for change in await autonomy.changes(session)]


async def test_what_a_transaction_wrote_is_there_when_it_is_left(database: Database, second: Database) -> None:
    async with database.begin() as transaction:
        await autonomy.add(transaction, "observe", "alice", "night", at=START)
        assert await _modes(second) == []
    assert await _modes(second) == ["observe"]


async def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    async def fail_half_way() -> None:
        async with database.begin() as transaction:
            await autonomy.add(transaction, "observe", "alice", "night", at=START)
            events.append(transaction, "inc_1", "told", {}, at=START)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail_half_way()
    assert await _modes(database) == []
    async with database.read() as session:
        assert await events.last_seq(session, "inc_1") == 0


async def test_a_reading_session_cannot_write(database: Database) -> None:
    with pytest.raises(PermanentError):
        async with database.read() as session:
            await session.execute(text("DELETE FROM autonomy"))


async def test_transactions_of_one_process_wait_for_each_other(database: Database) -> None:
    async def change(number: int) -> None:
        async with database.begin() as transaction:
            before = len(await autonomy.changes(transaction, limit=100))
            await autonomy.add(transaction, "act", "alice", f"{number} after {before}", at=START)

    await asyncio.gather(*(change(number) for number in range(20)))
    assert len(await _modes(database)) == 20


async def test_a_transaction_within_a_transaction_is_refused_instead_of_waiting_for_itself(database: Database) -> None:
    with pytest.raises(RuntimeError, match="within a transaction"):
        async with database.begin(), database.begin():
            pass
    await database.ping()


async def test_a_cancelled_transaction_frees_the_writer(database: Database) -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        async with database.begin() as transaction:
            await autonomy.add(transaction, "observe", "alice", "night", at=START)
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.begin() as transaction:
        await autonomy.add(transaction, "act", "bob", "day", at=START)
    assert await _modes(database) == ["act"]


async def test_a_broken_constraint_is_a_conflict(database: Database) -> None:
    statement = text("INSERT INTO autonomy (seq, mode, actor, reason, at) VALUES (1, 'act', 'a', 'b', '2026-01-01')")

    async def write() -> None:
        async with database.begin() as transaction:
            await transaction.execute(statement)

    await write()
    with pytest.raises(Conflict):
        await write()


async def test_migrating_again_does_nothing(database: Database) -> None:
    assert await database.migrate() is False


async def test_a_file_that_another_process_holds_is_a_temporary_error(sqlite_database_url: str, tmp_path: Path) -> None:
    database = Database(f"{sqlite_database_url}?timeout=0.05")
    other = sqlite3.connect(tmp_path / "oppen.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(TemporaryError) as caught:
            async with database.begin() as transaction:
                await transaction.execute(text("SELECT 1"))
        assert caught.value.retry_after > timedelta(0)
    finally:
        other.close()
        await database.close()


async def test_a_commit_on_sqlite_waits_for_the_disk(sqlite_database_url: str) -> None:
    database = Database(sqlite_database_url)
    async with database.begin() as transaction:
        settings = [
            await transaction.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    await database.close()
    assert settings == ["wal", 2, 1]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/name"])
def test_what_is_no_file_and_no_postgresql_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///PATH"):
        Database(url)


async def test_a_server_that_is_not_there_is_a_temporary_error() -> None:
    database = Database("postgresql://oppen@127.0.0.1:1/none")
    with pytest.raises(TemporaryError):
        await database.ping()
    await database.close()


@pytest.mark.postgres
async def test_a_lost_connection_is_replaced(postgres_database_url: str) -> None:
    database, other = Database(postgres_database_url), Database(postgres_database_url)
    await database.ping()
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    async with other.begin() as transaction:
        await transaction.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"))
    await database.ping()
    await database.close()
    await other.close()
