"""Any two tables compare, wherever they are: files, a table of the lake, SQL, ClickHouse."""

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from api.cli_drift import drift
from tools.errors import PermanentError, PortError
from tools.lake.parquet import ParquetLake
from tools.lake.port import Receipt
from tools.tables.opening import open_table

ROWS = 300
NOW = datetime(2026, 3, 2, tzinfo=UTC)


def columns(seed: int, shift: float = 0.0) -> dict[str, list[Any]]:
    """Every kind there is, with nulls in some and nothing but nulls in one."""
    rng = np.random.default_rng(seed)
    return {
        "wind": rng.normal(shift, 1, ROWS).tolist(),
        "stops": rng.integers(0, 4, ROWS).tolist(),
        "carrier": rng.choice(["AA", "B6"], ROWS).tolist(),
        "night": (rng.random(ROWS) < 0.5).tolist(),
        "day": [date(2026, 3, 1) + timedelta(days=int(each)) for each in rng.integers(0, 9, ROWS)],
        "at": [NOW + timedelta(seconds=int(each)) for each in rng.integers(0, 86_400, ROWS)],
        "gust": [None if rng.random() < 0.3 else float(rng.normal()) for _ in range(ROWS)],
        "empty": [None] * ROWS,
    }


KINDS = {
    "wind": "numeric",
    "stops": "numeric",
    "carrier": "categorical",
    "night": "boolean",
    "day": "datetime",
    "at": "datetime",
    "gust": "numeric",
    "empty": "categorical",
}
SQL = {
    "wind": "FLOAT",
    "stops": "INTEGER",
    "carrier": "TEXT",
    "night": "BOOLEAN",
    "day": "DATE",
    "gust": "FLOAT",
    "empty": "TEXT",
}


def parquet(path: Path, seed: int, shift: float = 0.0) -> str:
    pyarrow.parquet.write_table(pa.table(columns(seed, shift)), path)
    return str(path)


def lake(path: Path, seed: int, shift: float = 0.0) -> str:
    """In two batches."""
    rows = pa.table(columns(seed, shift))
    with ParquetLake(path).open("flights") as table:
        for place, half in enumerate((rows.slice(0, 100), rows.slice(100))):
            staged = table.stage()
            staged.write(half)
            staged.commit(Receipt(key=f"{place}", source="s", name="n", at=NOW))
    return str(path / "flights")


def sqlite(path: Path, seed: int, shift: float = 0.0) -> str:
    with sqlite3.connect(path) as connection:
        types = SQL | {"at": "TIMESTAMP"}
        connection.execute(f"CREATE TABLE flights ({', '.join(f'{name} {kind}' for name, kind in types.items())})")
        found = columns(seed, shift)
        told = {**found, "day": map(str, found["day"]), "at": [f"{each:%Y-%m-%d %H:%M:%S}" for each in found["at"]]}
        rows = zip(*(told[name] for name in types), strict=True)
        connection.executemany(f"INSERT INTO flights VALUES ({', '.join('?' * len(types))})", rows)
    connection.close()
    return f"sqlite:///{path}#flights"


def compared(reference: str, current: str) -> dict[str, Any]:
    done = CliRunner().invoke(drift, ["compare", "--reference", reference, "--current", current, "--json"])
    assert done.exit_code == 0, done.exception
    found: dict[str, Any] = json.loads(done.stdout)
    return found


FEATURE = {"name", "type", "method", "score", "p_value", "drifted", "n_reference", "n_current"}


@pytest.mark.parametrize(("one", "other"), [(parquet, lake), (lake, sqlite), (sqlite, parquet)])
def test_two_tables_of_any_kind_are_compared_column_by_column(tmp_path: Path, one: Any, other: Any) -> None:
    found = compared(one(tmp_path / "a.parquet", 1), other(tmp_path / "b.parquet", 2, 0.8))
    assert {"dataset_drift", "features", "cause", "seconds"} <= found.keys()
    assert all(each.keys() >= FEATURE for each in found["features"])
    assert {each["name"]: each["type"] for each in found["features"]} == KINDS
    assert (found["cause"], found["left_out"]) == ("covariate_drift", {})
    assert [each["name"] for each in found["features"] if each["drifted"]] == ["wind"]
    counts = {each["name"]: (each["n_reference"], each["n_current"]) for each in found["features"]}
    assert (counts["night"], counts["empty"]) == ((ROWS, ROWS), (0, 0))


def test_a_column_of_which_nothing_comes_any_more_is_a_fault(tmp_path: Path) -> None:
    whole = columns(1)
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pyarrow.parquet.write_table(pa.table(whole), parts[0])
    pyarrow.parquet.write_table(pa.table(whole | {"wind": [None] * ROWS}), parts[1])
    found = compared(*map(str, parts))
    assert found["cause"] == "data_quality"
    assert "wind: 100.0% are null" in found["reason"]


@pytest.mark.postgres
def test_a_table_of_postgresql_is_streamed_with_its_types(tmp_path: Path, postgres_url: str) -> None:
    found = columns(2, 0.8)
    types = SQL | {"at": "TIMESTAMPTZ", "wind": "NUMERIC"}
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA raw")
        written = ", ".join(f"{name} {kind}" for name, kind in types.items())
        connection.execute(f"CREATE TABLE raw.flights ({written}, place POINT)")
        with connection.cursor() as cursor:
            names, holes = ", ".join(types), ", ".join(["%s"] * len(types))
            rows = list(zip(*(found[name] for name in types), strict=True))
            cursor.executemany(f"INSERT INTO raw.flights ({names}) VALUES ({holes})", rows)
    answer = compared(parquet(tmp_path / "a.parquet", 1), f"{postgres_url}#raw.flights")
    assert [each["name"] for each in answer["features"] if each["drifted"]] == ["wind"]
    assert {each["name"]: each["type"] for each in answer["features"]} == KINDS
    assert answer["left_out"] == {"place": "only in the current table"}


def _filled(client: Any, seed: int) -> None:
    client.command(
        "CREATE TABLE flights (wind Float64, stops Int32, carrier LowCardinality(String), night Bool, day Date, "
        "at DateTime64(3, 'UTC'), gust Nullable(Float64), empty Nullable(String)) ENGINE = MergeTree ORDER BY at"
    )
    found = columns(seed, 0.8)
    client.insert("flights", list(zip(*found.values(), strict=True)), column_names=list(found))


def test_a_table_of_clickhouse_is_streamed_embedded(tmp_path: Path) -> None:
    """In processes of their own: of the embedded engine there is one in each."""
    folder = tmp_path / "store"
    program = (
        "import sys, clickhouse_connect\n"
        "from tests.unit.tables.test_opening import _filled\n"
        "_filled(clickhouse_connect.get_client(interface='chdb', path=sys.argv[1]), 2)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], check=True, timeout=60)
    command = "from api.cli import main; main()"
    given = ["--reference", parquet(tmp_path / "a.parquet", 1), "--current", f"chdb://{folder}#flights", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", command, "drift", "compare", *given], check=True, timeout=60, capture_output=True, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert [each["name"] for each in found["features"] if each["drifted"]] == ["wind"]
    assert {each["name"]: each["type"] for each in found["features"]} == KINDS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sqlite:///nowhere.db#flights", "there is no such file"),
        ("sqlite:///nowhere.db", "say which table is meant"),
        ("postgresql://ada:secret@127.0.0.1:1/x#flights", "127.0.0.1"),
        ("clickhouse://ada:secret@127.0.0.1:1/x#flights", "not available"),
        ("clickhouse://ada:secret@127.0.0.1:1/x#flights; DROP", "no name of a table"),
        ("chdb:///nowhere/at/all#flights", "there is no such folder"),
        ("oracle+nothing://ada:secret@host/x#flights", "driver is not installed"),
        ("none.csv", "there is no such file"),
    ],
)
def test_what_is_no_table_is_refused_without_its_password(name: str, said: str) -> None:
    with pytest.raises(PortError, match=said) as caught:
        open_table(name)
    assert "secret" not in str(caught.value)


def test_a_folder_without_tables_and_one_of_two_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"there is no \.parquet file"):
        open_table(str(tmp_path))
    parquet(tmp_path / "a.parquet", 1)
    pyarrow.parquet.write_table(pa.table({"other": [1]}), tmp_path / "b.parquet")
    with pytest.raises(PermanentError, match=r"b\.parquet: its columns are not those of"):
        list(open_table(str(tmp_path)).batches())


def test_values_that_are_not_of_their_column_s_type_are_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE t (wind FLOAT)")
        connection.execute("INSERT INTO t VALUES ('strong')")
    connection.close()
    with pytest.raises(PermanentError, match="wind holds what is no double"):
        list(open_table(f"sqlite:///{tmp_path}/a.db#t").batches())
