"""The audit log: one chain, whoever writes, and whatever is done to it behind its back is found."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from api.store import audit
from api.store.audit import AuditVerification
from api.store.chain import GENESIS, Line, canonical
from api.store.database import Database
from tests.twins.clock import START
from tools.errors import PermanentError

LINES = 12


async def _write(database: Database, *numbers: int, key: str | None = None) -> None:
    async with database.begin() as transaction:
        for number in numbers:
            data = {"number": number, "share": 1e5, "text": "naïve \x00 \ud83d"}
            audit.append(transaction, at=START, actor="alice", action="tested", subject=f"s{number}", data=data, key=key)


async def _verify(database: Database, batch: int = 1000) -> AuditVerification:
    async with database.read() as session:
        return await audit.verify(session, batch=batch)


async def _tamper(database: Database, *statements: str) -> None:
    """As somebody would who owns the database, and so can get around its triggers."""
    async with database.begin() as transaction:
        if transaction.on_sqlite:
            await transaction.execute(text("DROP TRIGGER audit_no_update"))
            await transaction.execute(text("DROP TRIGGER audit_no_delete"))
        else:
            await transaction.execute(text("SET LOCAL session_replication_role = replica"))
        for statement in statements:
            await transaction.execute(text(statement))


async def test_an_empty_log_is_whole(database: Database) -> None:
    assert await _verify(database) == AuditVerification(ok=True, lines=0, first_bad_seq=None, head=GENESIS)


async def test_what_was_written_is_read_back_and_verified(database: Database) -> None:
    await _write(database, *range(LINES))
    async with database.read() as session:
        page = await audit.page(session, limit=5)
        rest = await audit.page(session, limit=500, cursor=page.next_cursor)
        mine = await audit.page(session, subject="s3")
    verified = await _verify(database)
    assert (verified.ok, verified.lines) == (True, LINES)
    assert [line.seq for line in page.items + rest.items] == list(range(LINES, 0, -1))
    assert verified.head == page.items[0].hash
    assert [line.data["number"] for line in mine.items] == [3]
    assert mine.items[0].data["text"] == "naïve \x00 \ud83d"


async def test_a_key_is_written_once(database: Database) -> None:
    await _write(database, 1, 2, key="k")
    await _write(database, 3, key="k")
    verified = await _verify(database)
    assert (verified.ok, verified.lines) == (True, 1)


async def test_writers_of_two_processes_make_one_chain(database: Database, second: Database) -> None:
    await asyncio.gather(*(_write((database, second)[number % 2], number, number) for number in range(30)))
    verified = await _verify(database)
    assert (verified.ok, verified.lines) == (True, 60)


@pytest.mark.parametrize("batch", [1, 4, 5, LINES, LINES + 1])
async def test_a_long_log_is_read_piece_by_piece(database: Database, batch: int) -> None:
    await _write(database, *range(LINES))
    assert (await _verify(database, batch)).lines == LINES
    await _tamper(database, "UPDATE audit SET actor = 'mallory' WHERE seq = 11")
    assert (await _verify(database, batch)).first_bad_seq == 11


@pytest.mark.parametrize(
    ("statements", "first_bad"),
    [
        (["UPDATE audit SET actor = 'mallory' WHERE seq = 5"], 5),
        (["UPDATE audit SET data = '{}' WHERE seq = 5"], 5),
        (["UPDATE audit SET data = data || ' ' WHERE seq = 5"], 5),
        (["UPDATE audit SET at = '2020-01-01 00:00:00' WHERE seq = 5"], 5),
        (["UPDATE audit SET key = 'k' WHERE seq = 5"], 5),
        (["UPDATE audit SET hash = repeat_('0', 64) WHERE seq = 5"], 5),
        (["UPDATE audit SET previous = repeat_('0', 64) WHERE seq = 5"], 5),
        (["DELETE FROM audit WHERE seq = 5"], 6),
        (["DELETE FROM audit WHERE seq = 1"], 2),
        (["DELETE FROM audit WHERE seq BETWEEN 4 AND 8"], 9),
        (
            # By way of negative numbers: PostgreSQL compares row by row, in whatever order they lie, and 7 may become 6 first.
            [
                "DELETE FROM audit WHERE seq = 5",
                "UPDATE audit SET seq = 1 - seq WHERE seq > 5",
                "UPDATE audit SET seq = -seq WHERE seq < 0",
            ],
            5,
        ),
        (["UPDATE audit SET seq = 100 WHERE seq = 5", "UPDATE audit SET seq = 5 WHERE seq = 6"], 5),
        (
            [
                "UPDATE audit SET seq = 100 WHERE seq = 5",
                "UPDATE audit SET seq = 5 WHERE seq = 6",
                "UPDATE audit SET seq = 6 WHERE seq = 100",
            ],
            5,
        ),
        (
            [
                "INSERT INTO audit (seq, at, actor, action, subject, data, previous, hash) "
                "SELECT 0, at, actor, action, subject, data, previous, hash FROM audit WHERE seq = 1"
            ],
            0,
        ),
    ],
    ids=lambda value: value[0].split(" (seq")[0] if isinstance(value, list) else None,
)
async def test_what_is_edited_deleted_reordered_or_slipped_in_is_found(
    database: Database, statements: list[str], first_bad: int
) -> None:
    await _write(database, *range(LINES))
    zeros = f"'{'0' * 64}'"
    await _tamper(database, *(statement.replace("repeat_('0', 64)", zeros) for statement in statements))
    verified = await _verify(database)
    assert (verified.ok, verified.first_bad_seq) == (False, first_bad)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET at = 'noon' WHERE seq = 5", "UPDATE audit SET actor = x'00' WHERE seq = 5"]
)
async def test_values_that_only_sqlite_would_keep_are_found_too(sqlite_database_url: str, statement: str) -> None:
    database = Database(sqlite_database_url)
    await _write(database, *range(LINES))
    await _tamper(database, statement)
    verified = await _verify(database)
    await database.close()
    assert (verified.ok, verified.first_bad_seq, verified.lines) == (False, 5, 4)


async def test_a_cut_off_end_shows_in_the_head(database: Database) -> None:
    await _write(database, *range(LINES))
    before = await _verify(database)
    await _tamper(database, "DELETE FROM audit WHERE seq > 8")
    after = await _verify(database)
    assert after.ok
    assert (after.lines, after.head == before.head) == (8, False)


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'mallory'", "DELETE FROM audit"])
async def test_the_database_itself_refuses_to_change_a_line(database: Database, statement: str) -> None:
    await _write(database, 1)
    with pytest.raises(PermanentError, match="append-only"):
        await _execute(database, statement)
    assert (await _verify(database)).lines == 1


@pytest.mark.postgres
async def test_postgresql_refuses_to_empty_the_log(postgres_database_url: str) -> None:
    database = Database(postgres_database_url)
    with pytest.raises(PermanentError, match="append-only"):
        await _execute(database, "TRUNCATE audit")
    await database.close()


async def _execute(database: Database, statement: str) -> None:
    async with database.begin() as transaction:
        await transaction.execute(text(statement))


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _JSON, max_size=4))
def test_canonical_json_comes_back_as_it_went_in(value: dict[str, Any]) -> None:
    written = canonical(value)
    assert written.isascii()
    assert json.loads(written) == value
    assert canonical(json.loads(written)) == written


LINE = Line(seq=1, at=START, actor="a", action="b", subject="c", key=None, data="{}")


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 2},
        {"at": START.replace(year=2000)},
        {"actor": "x"},
        {"action": "x"},
        {"subject": "x"},
        {"key": ""},
        {"data": "{ }"},
    ],
)
def test_every_part_of_a_line_is_in_its_hash(change: dict[str, Any]) -> None:
    assert replace(LINE, **change).hash_after(GENESIS) != LINE.hash_after(GENESIS)


def test_the_line_before_is_in_the_hash() -> None:
    assert LINE.hash_after("x") != LINE.hash_after(GENESIS)
