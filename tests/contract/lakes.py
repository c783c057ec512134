"""The backends of the lake's port, and batches to put into them."""

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tools.clickhouse.database import open_database
from tools.lake.clickhouse import ClickHouseLake
from tools.lake.opening import open_lake
from tools.lake.port import QUARANTINE, Lake, LakeReader, LakeTable, Receipt

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


BACKENDS = ("parquet", "embedded", "server")


def impatient(url: str) -> ClickHouseLake:
    """Who takes another writer for dead at once."""
    return ClickHouseLake(open_database(url, "the lake", timedelta(seconds=60)), lease=timedelta(0))


def open_again(url: str) -> Lake:
    """After a crash. A server's writers are told apart by time; here nobody waits for it."""
    return impatient(url) if url.startswith("clickhouse") else open_lake(url)


class Backend:
    """A lake that may be opened again, as by another process."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.kind = name
        self.opened: list[Lake] = []

    def open(self) -> Lake:
        lake = open_again(self.url)
        self.opened.append(lake)
        return lake

    def leftovers(self, name: str) -> list[object]:
        """What is kept of the table beside committed batches and what tells of them."""
        if self.kind == "parquet":
            return list((Path(self.url) / name).glob("_staged/*"))
        database = open_database(self.url, "the test", timedelta(seconds=30))
        try:
            tables = database.rows("SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE '_oppen_%'")
            held = [each for (each,) in tables if each.endswith(name) and each.startswith(("_oppen_rows", "_oppen_quarantine"))]
            committed = f"SELECT attempt FROM _oppen_journal_{name} WHERE kind = 'committed'"
            query = "SELECT DISTINCT _attempt FROM {} WHERE _attempt NOT IN ({})"
            loose = [row for each in held for row in database.rows(query.format(each, committed))]
            return [*loose, *[each for each in held if each.startswith("_oppen_rows")][1:]]
        finally:
            database.close()

    def close(self) -> None:
        for lake in self.opened:
            lake.close()


@pytest.fixture(scope="session")
def embedded_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """The engine takes a second to start: it is opened once, and each test has a table of its own."""
    backend = Backend(f"chdb://{tmp_path_factory.mktemp('lake')}", "embedded")
    yield backend
    backend.close()


@pytest.fixture(params=BACKENDS)
def lake_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """An empty one to be opened and closed at will."""
    if request.param == "server":
        found = Backend(request.getfixturevalue("clickhouse_url"), "server")
    else:
        found = Backend(str(tmp_path / "lake") if request.param == "parquet" else f"chdb://{tmp_path}/lake", request.param)
    yield found
    found.close()


@pytest.fixture(params=BACKENDS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    if request.param == "embedded":
        embedded: Backend = request.getfixturevalue("embedded_lake")
        yield embedded.opened[0] if embedded.opened else embedded.open()
        return
    url = str(tmp_path / "lake") if request.param == "parquet" else request.getfixturevalue("clickhouse_url")
    with contextlib.closing(open_lake(url)) as found:
        yield found


@pytest.fixture
def name() -> str:
    """Of a table of the test's own: an engine outlives a test, and a server a session."""
    return f"t_{os.urandom(6).hex()}"


def receipt(key: str, number: int = 0, **more: Any) -> Receipt:
    """Of the batch that came so many minutes after START."""
    return Receipt(key=key, source="trips", name=key, at=START + timedelta(minutes=number), **more)


def numbers(*values: int | None) -> pa.Table:
    return pa.table({"x": pa.array(values, pa.int64())})


def misfits(*reasons: str) -> pa.Table:
    rows = [(place, reason, json.dumps({"x": reason})) for place, reason in enumerate(reasons, 1)]
    return pa.Table.from_pylist([dict(zip(QUARANTINE.names, row, strict=True)) for row in rows], schema=QUARANTINE)


def store(
    table: LakeTable, key: str, *chunks: pa.Table, number: int = 0, reasons: tuple[str, ...] = (), said: str = "", **more: Any
) -> bool:
    staged = table.stage()
    for chunk in chunks:
        staged.write(chunk)
    if reasons:
        staged.quarantine(misfits(*reasons))
    if said:
        staged.describe(said)
    rows = sum(chunk.num_rows for chunk in chunks)
    return staged.commit(receipt(key, number, rows=rows, quarantined=len(reasons), **more))


def rows(table: LakeReader, *keys: str) -> list[dict[str, Any]]:
    return [row for batch in table.rows(keys or None) for row in batch.to_pylist()]


def values(table: LakeReader, *keys: str) -> list[Any]:
    return [row["x"] for row in rows(table, *keys)]
