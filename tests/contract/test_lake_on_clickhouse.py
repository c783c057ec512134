"""What only a lake in ClickHouse can get wrong: deaths at any statement, two writers on a server, what SQL shows."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from simulations.processes import free_port
from tests.contract.lakes import Backend, impatient, misfits, numbers, receipt, store, values
from tools.clickhouse.connection import without_password
from tools.clickhouse.database import Database, open_database
from tools.errors import PermanentError, TemporaryError
from tools.lake.clickhouse import ClickHouseLake
from tools.lake.opening import open_lake
from tools.lake.port import InUse, Lake

pytestmark = pytest.mark.xdist_group("lake")


class Killed(BaseException):
    """As far as the program goes."""


class Mortal:
    """`Database`, where at a certain statement something happens: the process is killed before it, for good; or it is done, and
    its answer is lost."""

    def __init__(self, database: Database, at: int, *, killed: bool) -> None:
        self._database = database
        self._left = at
        self._killed = killed

    @property
    def shared(self) -> bool:
        return self._database.shared

    @property
    def reached(self) -> bool:
        return self._left < 0

    def run(self, statement: str, parameters: Any = None) -> None:
        self._lived(lambda: self._database.run(statement, parameters))

    def rows(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return self._lived(lambda: self._database.rows(query, parameters))

    def arrow(self, query: str) -> pa.Table:
        return self._lived(lambda: self._database.arrow(query))

    def insert(self, table: str, rows: pa.Table, settings: Mapping[str, str]) -> None:
        self._lived(lambda: self._database.insert(table, rows, settings))

    def close(self) -> None:
        """The other's to do."""

    def _lived(self, call: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._killed and self._left < 0:
            raise Killed
        answer = call()
        if self._left == -1:
            raise TemporaryError("no answer came")
        return answer


@pytest.fixture(params=["embedded", "server"])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param == "embedded":
        backend: Backend = request.getfixturevalue("embedded_lake")
        if not backend.opened:
            backend.open()
        yield backend.opened[0]._database  # type: ignore[attr-defined]
        return
    with contextlib.closing(
        open_database(request.getfixturevalue("clickhouse_url"), "the lake", timedelta(seconds=60))
    ) as found:
        yield found


def two_batches(lake: Lake, name: str) -> None:
    with lake.open(name) as table:
        for key, number, rows in (("a", 1, numbers(1, 2)), ("b", 2, numbers(3))):
            staged = table.stage()
            try:
                staged.write(rows)
                if key == "a":
                    staged.quarantine(misfits("odd"))
                    staged.describe("{}")
                staged.commit(receipt(key, number))
            finally:
                staged.discard()


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "answer lost"])
def test_whatever_statement_is_the_last_a_batch_is_whole_or_absent_and_the_next_writer_goes_on(
    killed: bool, database: Database, name: str
) -> None:
    # Every statement once; the other ways differ in little from this one, and a part of them will do.
    for at in itertools.count(step=1 if killed and not database.shared else 4):
        table = f"{name}_{at}"
        mortal = Mortal(database, at, killed=killed)
        with contextlib.suppress(Killed, TemporaryError):
            two_batches(ClickHouseLake(mortal, lease=timedelta(0)), table)
        lake = ClickHouseLake(database, lease=timedelta(0))
        reader = lake.read(table)
        there = [each.key for each in reader.receipts()]
        assert there in ([], ["a"], ["a", "b"])
        assert values(reader) == [1, 2, 3][: (0, 2, 3)[len(there)]]
        assert len(list(reader.quarantined())) == len(list(reader.statistics())) == min(1, len(there))
        if not mortal.reached:
            break
        if at % 4 == 0:
            two_batches(lake, table)
            assert values(reader) == shown(database, table) == [1, 2, 3]
    assert at > 15


def shown(database: Database, name: str) -> list[int]:
    return [x for (x,) in database.rows(f"SELECT x FROM {name} ORDER BY x")]


def test_a_writer_that_is_taken_for_dead_cannot_commit_and_spoils_nothing(clickhouse_url: str, name: str) -> None:
    with contextlib.closing(open_lake(clickhouse_url)) as one, contextlib.closing(impatient(clickhouse_url)) as other:
        with one.open(name) as slow:
            store(slow, "a", numbers(1))
            staged = slow.stage()
            staged.write(numbers(2))
            with other.open(name) as quick:
                store(quick, "b", numbers(3), number=1)
            staged.quarantine(misfits("odd"))
            with pytest.raises(InUse, match="taken the table over"):
                staged.commit(receipt("c", 2))
            with pytest.raises(InUse):
                slow.refuse(receipt("d", refused="no"))
            staged.discard()
        assert [each.key for each in one.read(name).receipts()] == ["a", "b"]
        assert (values(one.read(name)), list(one.read(name).quarantined())) == ([1, 3], [])


def test_a_writer_on_a_server_is_told_of_another_and_by_when_that_is_taken_for_dead(clickhouse_url: str, name: str) -> None:
    with contextlib.closing(open_lake(clickhouse_url)) as one, contextlib.closing(open_lake(clickhouse_url)) as other:
        with one.open(name) as table:
            store(table, "a", numbers(1))
            with pytest.raises(InUse, match="taken for dead after 30 s"), other.open(name):
                pass
            assert values(other.read(name)) == [1]
        with other.open(name) as table:
            assert not store(table, "a", numbers(1))


def test_a_writer_that_says_nothing_for_long_is_heard_of(clickhouse_url: str, name: str) -> None:
    short = timedelta(seconds=0.9)
    database = open_database(clickhouse_url, "the lake", timedelta(seconds=60))
    with contextlib.closing(ClickHouseLake(database, lease=short)) as lake, lake.open(name):
        beats = f"SELECT count() FROM (SELECT DISTINCT at FROM _oppen_alive_{name})"
        threading.Event().wait(short.total_seconds() * 1.5)
        assert database.rows(beats)[0][0] >= 1
        with pytest.raises(InUse), ClickHouseLake(database, lease=short).open(name):
            pass


def test_an_embedded_lake_is_one_process_s_at_a_time(tmp_path: Any) -> None:
    url = f"chdb://{tmp_path}/lake"
    with contextlib.closing(open_lake(url)) as one, one.open("t") as table:
        store(table, "a", numbers(1))
        with contextlib.closing(open_lake(url)) as other:
            with pytest.raises(InUse, match="another process"), other.open("t"):
                pass
            with pytest.raises(TemporaryError, match="cannot be opened"):
                other.read("t").receipts()


def test_people_see_a_view_with_the_columns_by_their_names(database: Database, name: str) -> None:
    with ClickHouseLake(database).open(name) as table:
        store(table, "a", pa.table({"who's": ["Zoë"], "far": [1.5]}))
        staged = table.stage()
        staged.write(pa.table({"who's": ["nobody"], "far": [2.5]}))
        assert database.arrow(f"SELECT * FROM {name}").to_pylist() == [{"who's": "Zoë", "far": 1.5}]


def test_what_others_called_so_is_left_alone(database: Database, name: str) -> None:
    database.run(f"CREATE TABLE {name} (x Int64) ENGINE = MergeTree ORDER BY x")
    with pytest.raises(PermanentError, match="not the lake's"), ClickHouseLake(database).open(name):
        pass
    assert database.rows(f"SELECT count() FROM {name}") == [(0,)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array([{"a": 1}]), "struct<a: int64> cannot be kept in ClickHouse"),
        (pa.array([[1], None]), "null from an empty one"),
        (pa.array([[[1]]]), "cannot be kept in ClickHouse"),
    ],
)
def test_what_has_no_way_back_is_refused(values: pa.Array, said: str, database: Database, name: str) -> None:
    with ClickHouseLake(database).open(name) as table, pytest.raises(PermanentError, match=f"column 'x'.*{said}"):
        store(table, "a", pa.table({"x": values}))


def test_rows_of_another_schema_are_refused(database: Database, name: str) -> None:
    with ClickHouseLake(database).open(name) as table:
        store(table, "a", numbers(1))
        staged = table.stage()
        with pytest.raises(PermanentError, match="its columns are x int64, not x string"):
            staged.write(pa.table({"x": ["1"]}))


def test_a_server_that_is_not_there_or_lets_nobody_in_is_told_without_the_password(clickhouse_url: str) -> None:
    nowhere = f"clickhouse://oppen:secret@127.0.0.1:{(port := free_port())}/default"
    with contextlib.closing(open_lake(nowhere)) as lake, pytest.raises(TemporaryError) as away, lake.open("t"):
        pass
    wrong = without_password(clickhouse_url)
    with contextlib.closing(open_lake(wrong, "mistaken")) as lake, pytest.raises(PermanentError) as refused, lake.open("t"):
        pass
    assert f"the lake is not available: 127.0.0.1:{port} does not answer ([Errno 111] Connection refused)" in str(away.value)
    assert "secret" not in str(away.value)
    assert "mistaken" not in str(refused.value)


def test_a_password_may_come_apart_from_the_url(clickhouse_url: str, name: str) -> None:
    from urllib.parse import unquote, urlsplit

    password = urlsplit(clickhouse_url).password
    with contextlib.closing(open_lake(without_password(clickhouse_url), password and unquote(password))) as lake:
        assert lake.read(name).receipts() == ()


@pytest.mark.parametrize("url", ["s3://bucket/lake", "sqlite:///x.db", "chdb://", ""])
def test_what_is_no_lake_is_said(url: str) -> None:
    with pytest.raises(PermanentError, match="lake"):
        open_lake(url)
