"""Holding: of all processes on one PostgreSQL, one does a thing, and nobody has to give back what the dead have held."""

import asyncio
import sys
from asyncio.subprocess import PIPE

import psycopg
import pytest

from api.store.database import Database
from tools.errors import TemporaryError

pytestmark = pytest.mark.postgres

LIMIT_S = 20.0

HOLDER = """
import asyncio, sys
from api.store.database import Database

async def main():
    async with Database(sys.argv[1]).hold("run 1"):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def database_url(postgres_database_url: str) -> str:
    return postgres_database_url


async def _is_free(database: Database, name: str = "run 1") -> bool:
    try:
        async with database.hold(name):
            return True
    except TemporaryError:
        return False


async def test_what_one_holds_another_does_not_get_until_it_is_left(database: Database, second: Database) -> None:
    async with database.hold("run 1"):
        assert not await _is_free(second)
        assert await _is_free(second, "run 2")
    assert await _is_free(second)


async def test_it_is_left_by_an_error_too(database: Database, second: Database) -> None:
    async def fail() -> None:
        async with database.hold("run 1"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await _is_free(second)


async def test_the_database_is_used_as_ever_while_something_is_held(database: Database) -> None:
    async with database.hold("run 1"), database.begin():
        await database.ping()


async def test_what_a_killed_process_held_is_free(database: Database, database_url: str) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HOLDER, database_url, stdout=PIPE)
    try:
        async with asyncio.timeout(LIMIT_S):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"held\n"
            assert not await _is_free(database)
            process.kill()
            await process.wait()
            while not await _is_free(database):
                await asyncio.sleep(0.01)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_who_lost_what_it_held_is_told_so_at_the_end(database: Database, database_url: str) -> None:
    async def lose() -> None:
        async with database.hold("run 1"):
            with psycopg.connect(database_url, autocommit=True) as connection:
                # It alone sits in a transaction.
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE state = 'idle in transaction' AND datname = current_database()"
                )

    with pytest.raises(TemporaryError):
        await lose()
    assert await _is_free(database)
