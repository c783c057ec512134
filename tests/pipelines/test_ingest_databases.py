"""Tables of databases into the lake: each row once, whenever it was committed and whatever else has its watermark."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.lakes import Lake
from tests.twins.clock import SteppedClock
from tools.errors import PermanentError, TemporaryError
from tools.sources import watermarks
from tools.sources.opening import open_source
from tools.sources.reading import Reading, SqlReading
from tools.sources.rising import Whole

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Shop:
    """A database with a table of orders, written to by somebody else."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        self._orders = sa.Table(
            "orders",
            sa.MetaData(),
            sa.Column("id", sa.Integer),
            sa.Column("changed", sa.DateTime(timezone=True)),
            sa.Column("amount", sa.Numeric(10, 2)),
            sa.Column("paid", sa.Boolean),
            sa.Column("who", sa.String),
        )
        self._orders.create(self._engine)

    def add(self, *rows: tuple[int, datetime | None]) -> None:
        with self._engine.begin() as connection:
            connection.execute(
                self._orders.insert(),
                [{"id": n, "changed": at, "amount": Decimal("1.10"), "paid": n % 2 == 0, "who": "ä"} for n, at in rows],
            )

    def run(self, *statements: str) -> None:
        with self._engine.begin() as connection:
            for each in statements:
                connection.execute(sa.text(each))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    url = f"sqlite:///{tmp_path / 'shop.db'}" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    if request.param == "sqlite":
        (tmp_path / "shop.db").touch()
    return Shop(url.replace("postgresql://", "postgresql+psycopg://"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def orders(commit_rows: int = 1_000, *, batch_rows: int = 1_000, **how: Any) -> Reading:
    return Reading(batch_rows, commit_rows=commit_rows, sql=SqlReading(table="orders", **({"watermark": "changed"} | how)))


def minutes(number: float) -> datetime:
    return NOW - timedelta(minutes=number)


def ids(lake: Lake) -> list[int]:
    return [row["id"] for row in lake.rows()]


CLOCK = SteppedClock(NOW)
TABLE = Reading(sql=SqlReading(table="orders"))


def test_a_table_is_stored_with_its_types_and_later_only_what_is_new(shop: Shop, lake: Lake) -> None:
    shop.add((1, minutes(9)), (2, minutes(8)))
    found = lake.ingest(shop.url, orders(), clock=CLOCK)
    assert (found.ok, found.rows_written, found.batches) == (True, 2, 1)
    first = lake.rows()[0]
    assert (first["id"], first["amount"], first["paid"], first["who"]) == (1, Decimal("1.10"), False, "ä")
    assert first["changed"].replace(tzinfo=UTC) == minutes(9)
    shop.add((3, minutes(7)))
    again = lake.ingest(shop.url, orders(), clock=CLOCK)
    assert (again.rows_read, again.rows_written) == (1, 1)
    assert lake.ingest(shop.url, orders(), clock=CLOCK).batches == 0
    assert sorted(ids(lake)) == [1, 2, 3]


def test_rows_that_share_the_last_watermark_are_neither_lost_nor_doubled(shop: Shop, lake: Lake) -> None:
    shop.add((1, minutes(9)), (2, minutes(8)), (3, minutes(8)))
    lake.ingest(shop.url, orders(), clock=CLOCK)
    shop.add((4, minutes(8)), (3, minutes(8)))
    assert lake.ingest(shop.url, orders(), clock=CLOCK).rows_written == 2
    assert lake.ingest(shop.url, orders(), clock=CLOCK).rows_written == 0
    assert sorted(ids(lake)) == [1, 2, 3, 3, 4]


def test_a_batch_ends_where_the_watermark_rises(shop: Shop, lake: Lake) -> None:
    shop.add(*((n, minutes(100 - n // 7)) for n in range(70)))
    found = lake.ingest(shop.url, orders(10, batch_rows=3), clock=CLOCK)
    assert (found.batches, found.rows_written) == (5, 70)
    with lake.lake.open("t") as table:
        assert [each.rows for each in table.receipts()] == [14] * 5
    assert sorted(ids(lake)) == list(range(70))


def test_late_commits_are_found_within_the_lookback_once(shop: Shop, lake: Lake) -> None:
    reading = orders(lookback=timedelta(minutes=10))
    shop.add((1, minutes(30)), (2, minutes(20)), (3, minutes(15)))
    lake.ingest(shop.url, reading, clock=CLOCK)
    shop.add((4, minutes(18)), (5, minutes(26)), (6, minutes(15)))
    found = lake.ingest(shop.url, reading, clock=CLOCK)
    assert (found.rows_read, found.rows_written) == (2, 2)
    shop.add((7, minutes(19)), (8, minutes(1)))
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == 2
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == 0
    assert sorted(ids(lake)) == [1, 2, 3, 4, 6, 7, 8]  # 5 was later than the lookback


def test_the_mark_does_not_go_back_when_the_newest_row_is_deleted(shop: Shop, lake: Lake) -> None:
    reading = orders(lookback=timedelta(minutes=10))
    shop.add((1, minutes(30)), (2, minutes(22)), (3, minutes(15)))
    lake.ingest(shop.url, reading, clock=CLOCK)
    shop.run("DELETE FROM orders WHERE id = 3")
    shop.add((4, minutes(20)))
    lake.ingest(shop.url, reading, clock=CLOCK)
    lake.ingest(shop.url, reading, clock=CLOCK)
    assert sorted(ids(lake)) == [1, 2, 3, 4]


def test_rows_within_the_lag_wait_and_are_counted(shop: Shop, lake: Lake) -> None:
    reading = orders(lag=timedelta(minutes=5))
    shop.add((1, minutes(9)), (2, minutes(4)))
    found = lake.ingest(shop.url, reading, clock=CLOCK)
    assert found.held_back == {"whose 'changed' is not yet past by the lag of 0:05:00": 1}
    shop.add((3, minutes(6)))
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == 1
    later = lake.ingest(shop.url, reading, clock=SteppedClock(NOW + timedelta(minutes=2)))
    assert (later.rows_written, later.held_back) == (1, {})
    assert sorted(ids(lake)) == [1, 2, 3]


def test_a_watermark_in_the_future_and_none_are_held_back_and_said(shop: Shop, lake: Lake) -> None:
    shop.add((1, minutes(9)), (2, None), (3, minutes(-60)), (4, minutes(-0.5)))
    found = lake.ingest(shop.url, orders(), clock=CLOCK)
    assert found.rows_written == 1
    assert found.held_back == {
        "with no value in 'changed'": 1,
        "whose 'changed' is in the future: is a clock wrong?": 1,
        "whose 'changed' is not yet past by the lag of 0:00:00": 1,
    }
    shop.add((5, minutes(-30)))
    shop.run("UPDATE orders SET changed = NULL WHERE id = 3")
    lake.ingest(shop.url, orders(), clock=SteppedClock(NOW + timedelta(minutes=45)))
    assert ids(lake) == [1, 4, 5]


def test_where_no_row_has_a_watermark_that_is_said(shop: Shop, lake: Lake) -> None:
    shop.add((1, None))
    found = lake.ingest(shop.url, orders(), clock=CLOCK)
    assert (found.batches, found.held_back) == (0, {"with no value in 'changed'": 1})


@pytest.mark.parametrize("lookback", [0, 3])
def test_numbers_may_be_watermarks(lookback: int, shop: Shop, lake: Lake) -> None:
    reading = orders(watermark="id", lookback=lookback)
    shop.add((1, None), (2, None), (5, None))
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == 3
    shop.add((3, None), (6, None))
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == (2 if lookback else 1)
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == 0


@pytest.mark.parametrize("later", [False, True])
def test_more_rows_of_one_watermark_than_a_mark_remembers_wait_for_a_higher_one(
    later: bool, shop: Shop, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "MOST_SEEN", 5)
    shop.add((1, minutes(9)), *((n, minutes(8)) for n in range(10, 20)))
    if later:
        shop.add((2, minutes(7)))
    found = lake.ingest(shop.url, orders(2), clock=CLOCK)
    if not later:
        assert (found.rows_written, list(found.held_back.values())) == (1, [10])
        assert "share the highest 'changed'" in next(iter(found.held_back))
        shop.add((2, minutes(7)))
        lake.ingest(shop.url, orders(2), clock=CLOCK)
    assert sorted(ids(lake)) == [1, 2, *range(10, 20)]
    assert lake.ingest(shop.url, orders(2), clock=CLOCK).rows_written == 0


def test_more_rows_than_a_mark_remembers_within_the_lookback_are_refused(
    shop: Shop, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watermarks, "MOST_SEEN", 5)
    shop.add(*((n, minutes(n)) for n in range(10)))
    with pytest.raises(PermanentError, match="make it shorter, or use a lag"):
        lake.ingest(shop.url, orders(lookback=timedelta(hours=1)), clock=CLOCK)
    assert lake.ingest(shop.url, orders(lookback=timedelta(minutes=3)), clock=CLOCK).rows_written == 10


def test_a_query_may_be_incremental_and_cannot_write(shop: Shop, lake: Lake) -> None:
    shop.add(*((n, minutes(50 - n)) for n in range(20)))
    query = "SELECT id * 10 AS ten, changed, '1:2 %' AS odd FROM orders WHERE paid;"
    reading = Reading(sql=SqlReading(query=query, watermark="changed"))
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == 10
    assert [row["ten"] for row in lake.rows()] == list(range(0, 200, 20))
    assert lake.rows()[0]["odd"] == "1:2 %"
    shop.add((20, minutes(1)))
    assert lake.ingest(shop.url, reading, clock=CLOCK).rows_written == 1
    with pytest.raises(PermanentError):
        lake.ingest(shop.url, Reading(sql=SqlReading(query="DELETE FROM orders RETURNING id")), clock=CLOCK)


def test_a_query_may_end_in_a_comment(tmp_path: Path, lake: Lake) -> None:
    url = sqlite(tmp_path / "a.db", "CREATE TABLE orders (id INTEGER)", "INSERT INTO orders VALUES (1), (2)")
    assert lake.ingest(url, Reading(sql=SqlReading(query="SELECT id FROM orders -- all of them"))).rows_written == 2


def test_a_table_without_a_watermark_is_one_batch_by_its_content(shop: Shop, lake: Lake) -> None:
    reading = Reading(sql=SqlReading(table="orders"))
    shop.add((1, None), (2, None))
    assert lake.ingest(shop.url, reading).rows_written == 2
    again = lake.ingest(shop.url, reading)
    assert (again.skipped, again.warnings) == (1, ())
    shop.add((3, None))
    changed = lake.ingest(shop.url, reading)
    assert changed.rows_written == 3
    ((warning),) = changed.warnings
    assert "was read whole before, and has changed" in warning
    assert "name a --watermark" in warning
    assert lake.ingest(shop.url, reading).warnings == ()


def sqlite(path: Path, *statements: str) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for each in statements:
            connection.execute(each)
    return f"sqlite:///{path}"


def test_a_table_that_could_not_be_stored_is_tried_once_a_run_and_never_taken_for_stored(tmp_path: Path, lake: Lake) -> None:
    lake.ingest(sqlite(tmp_path / "a.db", "CREATE TABLE orders (a INTEGER)", "INSERT INTO orders VALUES (1)"), TABLE)
    numbers = "WITH RECURSIVE n(b) AS (SELECT 1 UNION ALL SELECT b + 1 FROM n WHERE b < 40000) SELECT b FROM n"
    url = sqlite(tmp_path / "b.db", f"CREATE TABLE orders AS {numbers}")
    for _ in range(2):
        found = lake.ingest(url, TABLE)
        assert (found.batches, found.skipped, len(found.faulty)) == (0, 0, 1)
        assert "column 'a' is missing" in found.faulty[0].reason
    other = Lake(tmp_path / "other")
    assert other.ingest(url, TABLE).rows_written == 40_000


def test_a_table_whose_columns_no_table_can_have_is_one_fault(tmp_path: Path, lake: Lake) -> None:
    found = lake.ingest(sqlite(tmp_path / "a.db", "CREATE TABLE orders (_row INTEGER)", "INSERT INTO orders VALUES (1)"), TABLE)
    ((fault),) = found.faulty
    assert "'_row': this name is the store's own" in fault.reason


@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_left_of_a_reading_that_broke_off_is_not_taken_for_the_whole(parts: int) -> None:
    def rows() -> Iterator[list[tuple[int]]]:
        for number in range(parts):
            yield [(number,)]
        raise TemporaryError("the database is away")

    def all_of_it() -> None:
        taken = 0
        while found := whole.take(taken):
            taken += len(found)

    whole = Whole(rows())
    with pytest.raises(TemporaryError):
        all_of_it()
    with pytest.raises(PermanentError, match="broke off"):
        whole.take(0)
    with pytest.raises(PermanentError, match="not read to its end"):
        whole.done()


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ({"table": "nothing"}, "no table 'nothing'"),
        ({"table": "orders", "watermark": "nothing"}, "no column 'nothing'"),
        ({"table": "orders", "watermark": "paid"}, "watermark"),
        ({"table": "orders", "watermark": "who", "lookback": 3}, "lookback"),
        ({"table": "orders", "watermark": "id", "lag": timedelta(1)}, "a lag is for watermarks that are times"),
        ({"table": "orders", "watermark": "id", "lookback": timedelta(1)}, "a number, such as 1000"),
        ({"table": "orders", "lag": timedelta(1)}, "name the watermark"),
        ({}, "--from"),
        ({"query": "SELEC 1"}, "sql:"),
    ],
)
def test_what_cannot_be_read_is_said(reading: dict[str, Any], said: str, shop: Shop, lake: Lake) -> None:
    shop.add((1, None))
    if reading.get("watermark") == "paid" and shop.url.startswith("sqlite"):
        return  # there, what is true is a 1
    if reading.get("watermark") == "who":
        shop.run("UPDATE orders SET who = 'x'")
        lake.ingest(shop.url, orders(watermark="who"))
    with pytest.raises(PermanentError, match=said):
        lake.ingest(shop.url, Reading(sql=SqlReading(**reading)), clock=CLOCK)


def test_killed_between_and_within_batches_every_row_is_there_once_in_the_end(shop: Shop, lake: Lake) -> None:
    shop.add(*((n, minutes(2_000 - n // 3)) for n in range(5_000)))
    how = json.dumps({"table": "orders", "watermark": "changed"})
    ends = ("1,000 rows", "stored, 1,002 rows, 0 quarantined")
    for after in ends if shop.url.startswith("sqlite") else ends[1:]:
        command = [sys.executable, "-m", "tests.pipelines.dying_reading", shop.url, str(lake.folder), after, how]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(lake.rows()) == 1_002
    found = lake.ingest(shop.url, orders(), clock=CLOCK)
    assert (found.ok, found.rows_written) == (True, 5_000 - 1_002)
    assert sorted(ids(lake)) == list(range(5_000))
    assert not list(lake.folder.rglob("_staged/*"))


def test_values_that_are_not_of_their_column_are_quarantined_with_row_and_reason(tmp_path: Path, lake: Lake) -> None:
    (tmp_path / "x.db").touch()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (id INTEGER, n INTEGER, at DATETIME, d DECIMAL(8, 2), anything)"))
        connection.execute(
            sa.text(
                "INSERT INTO t VALUES (1, 5, '2026-01-01T10:00:00Z', 1.1, 'a'), (2, 'five', '2026-01-01', 2, 'b'),"
                "(3, 1.5, '2026-01-01', 2, 'c'), (4, 6, 1700000000, 2, 'd'), (5, 7, '2026-01-01 11:00', 2.125, 'e'), "
                "(6, 8, NULL, NULL, NULL)"
            )
        )
    found = lake.ingest(f"sqlite:///{tmp_path / 'x.db'}", Reading(sql=SqlReading(table="t")))
    assert (found.rows_read, found.rows_written, found.rows_quarantined) == (6, 2, 4)
    assert lake.rows()[0] == {
        "id": 1,
        "n": 5,
        "at": datetime.fromisoformat("2026-01-01T10:00"),
        "d": Decimal("1.10"),
        "anything": "a",
    }
    reasons = dict(lake.quarantined())
    assert set(reasons) == {2, 3, 4, 5}
    assert "n: 'five' is not of type int64" in reasons[2]
    assert "n: 1.5" in reasons[3]
    assert "at: 1700000000" in reasons[4]
    assert "d: Decimal('2.125')" in reasons[5]


def test_times_in_several_writings_are_in_the_order_of_their_moments(tmp_path: Path, lake: Lake) -> None:
    (tmp_path / "x.db").touch()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'x.db'}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (id INTEGER, at TEXT)"))
        connection.execute(
            sa.text(
                "INSERT INTO t VALUES (1, '2026-01-01T10:00:00Z'), (2, '2026-01-01 11:30:00+02:00'), "
                "(3, '2026-01-01 10:30:00.5'), (4, 'soon')"
            )
        )
    reading = Reading(commit_rows=1, sql=SqlReading(table="t", watermark="at"))
    found = lake.ingest(f"sqlite:///{tmp_path / 'x.db'}", reading)
    assert [row["id"] for row in lake.rows()] == [2, 1, 3]
    assert found.held_back == {"whose 'at' cannot be read": 1}


@pytest.mark.postgres
def test_what_python_has_no_word_for_is_quarantined_or_kept_as_text(postgres_url: str, lake: Lake) -> None:
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE odd (id uuid, at timestamptz, until date, tags int[], doc jsonb, n numeric, "
                "took interval, raw bytea)"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO odd VALUES (gen_random_uuid(), now(), 'infinity', '{1,2}', '{}', 'NaN', '1h', '\\x00'),"
                """(gen_random_uuid(), '2026-01-01 10:00+02', '2026-01-01', '{1,NULL}', '{"a":"ä"}', 1.25, '1h', NULL),"""
                "(gen_random_uuid(), 'infinity', '2026-01-01', '{}', NULL, 3, NULL, NULL)"
            )
        )
    found = lake.ingest(postgres_url, Reading(sql=SqlReading(table="public.odd", watermark="at")))
    assert (found.rows_written, found.rows_quarantined) == (1, 1)
    assert found.held_back == {"whose 'at' is in the future: is a clock wrong?": 1}
    (row,) = lake.rows()
    assert row["at"] == datetime(2026, 1, 1, 8, tzinfo=UTC)
    assert (row["tags"], row["doc"], row["n"]) == ([1, None], '{"a": "ä"}', Decimal("1.25"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE endless AS SELECT '-infinity'::timestamptz AS at UNION SELECT 'infinity'"))
    endless = Lake(lake.folder / "endless").ingest(postgres_url, Reading(sql=SqlReading(table="endless", watermark="at")))
    assert (endless.batches, sum(endless.held_back.values())) == (0, 2)
    ((_, reason),) = lake.quarantined()
    assert "until: 'infinity' is not of type date32" in reason
    assert "n: Decimal('NaN')" in reason


@pytest.mark.postgres
def test_a_password_is_nowhere(postgres_url: str, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = sa.make_url(postgres_url)
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t AS SELECT 1 AS x"))
    monkeypatch.setenv("SHOP_PASSWORD", "s3cr3t@word")
    url = f"postgresql://{parsed.username}:${{SHOP_PASSWORD}}@{parsed.host}:{parsed.port}/{parsed.database}"
    said: list[str] = []
    reading = Reading(sql=SqlReading(table="t", watermark="x"))
    found = lake.ingest(url, reading, progress=said.append)
    assert found.rows_written == 1
    plain = lake.ingest(url.replace("${SHOP_PASSWORD}", "s3cr3t%40word"), reading, progress=said.append)
    assert plain.batches == 0  # the same source, whatever the password
    with pytest.raises(PermanentError) as failed:
        lake.ingest(
            url.replace("${SHOP_PASSWORD}", "s3cr3t%40word"), Reading(sql=SqlReading(query="SELECT 's3cr3t@word' FROM nowhere"))
        )
    with pytest.raises(TemporaryError) as away:
        lake.ingest(url.replace(f":{parsed.port}/", ":1/"), reading)
    for text in (lake.text(), str(found), *said, str(failed.value), str(away.value)):
        assert "s3cr3t" not in text
    with pytest.raises(PermanentError, match="no variable NOWHERE"):
        open_source(url.replace("SHOP_PASSWORD", "NOWHERE"), reading)


def test_a_misspelt_database_is_not_made(tmp_path: Path, lake: Lake) -> None:
    with pytest.raises(PermanentError, match="there is no database"):
        lake.ingest(f"sqlite:///{tmp_path / 'none.db'}", Reading(sql=SqlReading(table="t")))
    assert not (tmp_path / "none.db").exists()


def test_memory_is_that_of_some_rows_and_not_of_the_table(tmp_path: Path) -> None:
    """As objects of Python all of it would be 110 MB; some 35 are needed, as for three million rows."""
    path = tmp_path / "large.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a REAL, b REAL, c TEXT, d TEXT, at TEXT)")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
            "INSERT INTO t SELECT i, i / 3.0, i / 7.0, 'who ' || (i % 1000), 'some text ' || i, '2026-01-01 10:00:00' FROM n"
        )
        connection.commit()
    command = [sys.executable, "-m", "tests.pipelines.hungry_ingest", f"sqlite:///{path}", str(tmp_path / "lake"), "t", "id"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    rows, grown = map(int, done.stdout.split())
    assert rows == 200_000
    assert grown < 80


_ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 2)), max_size=8)


class Law:
    """Readings of a table that somebody else writes to in any order, also the same row twice."""

    def __init__(self, folder: Path) -> None:
        (folder / "x.db").touch()
        self._url = f"sqlite:///{folder / 'x.db'}"
        self._engine = sa.create_engine(self._url, poolclass=sa.NullPool)
        self._mark: str | None = None
        self.read: list[tuple[int, int]] = []
        with self._engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE orders (w INTEGER, x INTEGER)"))

    def add(self, rows: list[tuple[int, int]]) -> int:
        """The highest watermark read before."""
        with self._engine.begin() as connection:
            for w, x in rows:
                connection.execute(sa.text(f"INSERT INTO orders VALUES ({w}, {x})"))
        return int(json.loads(self._mark)["at"]) if self._mark else -1_000

    def go_on(self, lookback: int, batch_rows: int, commit_rows: int, most: int) -> int:
        """A reading of so many batches at most."""
        source = open_source(self._url, orders(commit_rows, batch_rows=batch_rows, watermark="w", lookback=lookback))
        batches = 0
        with contextlib.closing(source.batches(self._mark)) as reading:
            for batch in reading:
                rows = [row for chunk in batch.chunks(batch.schema()) for row in chunk.rows.to_pylist()]
                self.read += [(row["w"], row["x"]) for row in rows]
                self._mark, batches = batch.mark, batches + 1
                if batches == most:
                    break
        return batches


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(_ROWS, min_size=1, max_size=4),
    lookback=st.integers(0, 4),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)),
)
def test_every_row_not_below_the_lookback_is_read_exactly_once(
    steps: list[list[tuple[int, int]]], lookback: int, sizes: tuple[int, int, int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    law = Law(tmp_path_factory.mktemp("law"))
    expected: list[tuple[int, int]] = []
    for rows in steps:
        top = law.add(rows)
        expected += [row for row in rows if row[0] >= top - lookback]
        law.go_on(lookback, *sizes)
    while law.go_on(lookback, *sizes):
        pass
    assert sorted(law.read) == sorted(expected)


@settings(max_examples=20, deadline=None)
@given(
    steps=st.lists(st.tuples(_ROWS, st.integers(0, 4)), min_size=2, max_size=4),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)),
    most_seen=st.sampled_from([2, 10_000]),
)
def test_whatever_the_lookback_becomes_no_row_is_doubled_and_none_above_the_mark_is_lost(
    steps: list[tuple[list[tuple[int, int]], int]],
    sizes: tuple[int, int, int],
    most_seen: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    law = Law(tmp_path_factory.mktemp("law"))
    added: Counter[tuple[int, int]] = Counter()
    due: Counter[tuple[int, int]] = Counter()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(watermarks, "MOST_SEEN", most_seen)
        for rows, lookback in steps:
            top = law.add(rows)
            added.update(rows)
            due.update(row for row in rows if row[0] > top)
            with contextlib.suppress(PermanentError):  # more within the lookback than is remembered
                law.go_on(lookback, *sizes)
        law.add([(9, 0)])  # what had the highest value is not the highest any more
        while law.go_on(0, *sizes):
            pass
    read = Counter(law.read)
    assert not read - added - Counter([(9, 0)])
    assert not due - read
