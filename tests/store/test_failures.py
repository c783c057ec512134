"""What a driver says is one of two words: it may be different in a moment, or it stays so until somebody does something."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import lookup
from sqlalchemy import make_url, text

from api.store.database import Database
from api.store.failures import passes
from tools.errors import PermanentError


@pytest.mark.parametrize(
    "state", ["08006", "25P03", "40001", "40P01", "53100", "53300", "55P03", "57P01", "57P03", "57014", "58030"]
)
def test_what_postgresql_gets_over_by_itself_passes(state: str) -> None:
    assert passes(lookup(state)("it says"))


@pytest.mark.parametrize("state", ["28000", "28P01", "3D000", "42P01", "42501", "25006", "25P02", "57P04", "22021", "XX001"])
def test_what_postgresql_does_not_get_over_stays(state: str) -> None:
    assert not passes(lookup(state)("it says"))


@pytest.mark.parametrize(
    ("said", "passing"),
    [
        ('connection failed: connection to server at "::1", port 5432 failed: Connection refused', True),
        ("connection failed: FATAL:  the database system is starting up", True),
        ("connection failed: FATAL:  sorry, too many clients already", True),
        ("server closed the connection unexpectedly", True),
        ('connection failed: FATAL:  password authentication failed for user "oppen"', False),
        ("connection failed: fe_sendauth: no password supplied", False),
        ('connection failed: FATAL:  no pg_hba.conf entry for host "::1"', False),
        ('connection failed: FATAL:  database "oppen" does not exist', False),
    ],
)
def test_a_connection_that_was_refused_is_told_from_one_that_was_not_made(said: str, passing: bool) -> None:
    assert passes(psycopg.OperationalError(said)) is passing


def test_what_sqlite_says_is_told_apart_by_its_words(tmp_path: Path) -> None:
    one = sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0)
    one.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as locked:
        other.execute("SELECT 1 FROM sqlite_schema")
    one.execute("ROLLBACK")
    with pytest.raises(sqlite3.OperationalError) as missing:
        other.execute("SELECT 1 FROM threads")
    one.execute("PRAGMA max_page_count=2")
    one.execute("CREATE TABLE a (x)")
    with pytest.raises(sqlite3.OperationalError) as full:
        one.execute("CREATE TABLE b (x)")
    assert [passes(each.value) for each in (locked, missing, full)] == [True, False, True]
    one.close()
    other.close()


@pytest.mark.postgres
@pytest.mark.parametrize("wrong", [{"database": "nowhere"}, {"username": "nobody_here"}])
async def test_a_server_that_refuses_us_is_not_waited_for(postgres_database_url: str, wrong: dict[str, str]) -> None:
    database = Database(make_url(postgres_database_url).set(**wrong).render_as_string(hide_password=False))  # type: ignore[arg-type]
    with pytest.raises(PermanentError, match="does not exist"):
        await database.ping()
    await database.close()


async def test_a_table_that_is_missing_is_not_waited_for(database: Database) -> None:
    with pytest.raises(PermanentError):
        async with database.read() as session:
            await session.execute(text("SELECT 1 FROM threads"))
