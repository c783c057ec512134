"""Evidently's report as evidence, on a sample that says what it is of."""

import asyncio
import importlib.util
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from api.cli_drift import _without_password, drift
from api.terminal import Refused
from tests.unit.tables.memory import MemoryTable
from tools.errors import PermanentError
from tools.reports.evidently import draw
from tools.reports.port import Side
from tools.reports.sampling import sample

ROWS = 3_000


def _write(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    columns = {
        "wind": rng.normal(seed, 1, ROWS),
        "carrier": rng.choice(["AA", "<b>B6</b>"], ROWS),
        "night": pa.array(rng.random(ROWS) < 0.5, mask=rng.random(ROWS) < 0.1),
        "rain": pa.array(rng.random(ROWS) < 0.5),
        "price": pa.array([None, *(Decimal(int(each)) / 100 for each in rng.integers(0, 900, ROWS - 1))], pa.decimal128(9, 2)),
        "day": pa.array(rng.integers(0, 300, ROWS), pa.int32()).cast(pa.date32()),
        "odd": np.where(rng.random(ROWS) < 0.1, np.inf, rng.normal(0, 1, ROWS)),
        "at": pa.array(rng.integers(0, 10**15, ROWS), pa.timestamp("us", "UTC")),
        "empty": pa.nulls(ROWS, pa.float64()),
    }
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def test_a_report_is_one_file_that_states_its_samples(tmp_path: Path) -> None:
    tables = [str(_write(tmp_path / f"{seed}.parquet", seed)) for seed in (0, 1)]
    out = tmp_path / "report.html"
    command = ["report", "--reference", tables[0], "--current", tables[1], "--out", str(out), "--rows", "1000", "--json"]
    done = CliRunner().invoke(drift, command)
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["columns"], told["left_out"], told["bytes"]) == (6, ["day", "at", "empty"], out.stat().st_size)
    assert (told["reference"]["rows"], told["reference"]["sampled"]) == (ROWS, 1_000)
    text = out.read_text()
    assert f"Reference: {tables[0]}: a sample of 1,000 of 3,000 rows." in text
    assert "Not shown, because they are times or have no values on a side: day, at, empty." in text
    assert "wind" in text
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_without_evidently_that_is_what_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    table = str(_write(tmp_path / "a.parquet", 0))
    done = CliRunner().invoke(drift, ["report", "--reference", table, "--current", table, "--out", str(tmp_path / "r.html")])
    assert isinstance(done.exception, Refused)
    assert "Evidently, which is not installed here" in str(done.exception)
    assert not (tmp_path / "r.html").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    table = str(_write(tmp_path / "a.parquet", 0))
    out = tmp_path / "absent" / "r.html"
    done = CliRunner().invoke(drift, ["report", "--reference", table, "--current", table, "--out", str(out)])
    assert isinstance(done.exception, Refused)
    assert f"there is no folder {out.parent}" in str(done.exception)


async def test_a_report_that_takes_too_long_is_given_up_and_leaves_nothing(tmp_path: Path) -> None:
    path, side = _write(tmp_path / "a.parquet", 0), Side(name="a", rows=ROWS, sampled=ROWS)
    with pytest.raises(PermanentError, match=r"not drawn within 0\.3 s"):
        await draw((path, side), (path, side), tmp_path / "r.html", limit_s=0.3)
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Batches:
    """A table in many batches."""

    def __init__(self, table: pa.Table, rows: int) -> None:
        self._table, self._rows = table, rows
        self.schema = table.schema

    def batches(self) -> Any:
        return iter(self._table.to_batches(max_chunksize=self._rows))


@pytest.mark.parametrize("batch", [7, 1_000, 50_000])
def test_every_row_is_as_likely_to_be_in_a_sample(tmp_path: Path, batch: int) -> None:
    rows = pa.table({"x": np.arange(50_000), "list": [[1]] * 50_000})
    side = sample(Batches(rows, batch), "a", 2_000, tmp_path / "s.parquet")
    found = pyarrow.parquet.read_table(tmp_path / "s.parquet")
    assert (side.rows, side.sampled, found.column_names) == (50_000, 2_000, ["x"])
    taken = np.sort(found["x"].to_numpy())
    assert len(set(taken.tolist())) == 2_000
    # Of each tenth about a tenth: 200 with a standard deviation of 13.
    assert np.all(np.abs(np.histogram(taken, 10, (0, 50_000))[0] - 200) < 60)


@pytest.mark.parametrize("rows", [0, 5])
def test_a_table_that_is_small_is_its_own_sample(tmp_path: Path, rows: int) -> None:
    side = sample(MemoryTable({"x": np.arange(rows)}), "a", 10, tmp_path / "s.parquet")
    assert (side.rows, side.sampled, str(side)) == (rows, rows, f"a: all {rows} rows")


def test_a_table_is_named_without_its_password() -> None:
    assert _without_password("postgresql://ada:p%40ss@host/x#t") == "postgresql://ada:***@host/x#t"
    assert _without_password("postgresql://ada@host/x#t") == "postgresql://ada@host/x#t"
    assert _without_password("folder/a:b@c.parquet") == "folder/a:b@c.parquet"
