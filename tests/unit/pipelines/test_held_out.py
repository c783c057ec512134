"""Which rows a candidate is held to: those of the window, with a label, and nothing in quarantine."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.held_out import Rows, Source, add_traffic, hold_out
from tests.unit.pipelines.contenders import spec
from tools.errors import PermanentError
from tools.predictions.port import LABEL
from tools.values import LeftOut, Window

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Window(start=START, end=START + 24 * HOUR)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two days, a row an hour; every fifth without a label."""
    hours = range(48)
    columns: dict[str, Any] = {
        "x": [float(hour) for hour in hours],
        "city": pa.array(["a", "b"] * 24).dictionary_encode(),
        "sex": ["f", "m"] * 24,
        "truth": [None if hour % 5 == 0 else "yes" for hour in hours],
        "at": pa.array([START + hour * HOUR for hour in hours], pa.timestamp("us", "UTC")),
        "unasked": ["z"] * 48,
    }
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def source(path: Path | str, **more: Any) -> Source:
    return Source(**{"name": str(path), "label": "truth", "time": "at", "most_rows": 1_000, "groups": ("sex",), **more})


def held(given: Source, folder: Path, left_out: tuple[LeftOut, ...] = (), **environment: str) -> tuple[Rows, pa.Table]:
    rows = Rows()
    hold_out(rows, given, spec(), DAY, left_out, folder, environment)
    return rows, pq.read_table(rows.parts["held_out"]) if rows.parts else pa.table({})


def test_the_labelled_rows_of_the_window_are_taken(table: Path, tmp_path: Path) -> None:
    rows, found = held(source(table), tmp_path)
    assert found["x"].to_pylist() == [float(hour) for hour in range(24) if hour % 5]
    assert set(found.column_names) == {"x", "city", "sex", "at", LABEL}
    assert rows.windows == {"held_out": DAY}
    assert "rows.parquet, 19 rows" in rows.told


def test_what_is_in_quarantine_is_nobodys_measure(table: Path, tmp_path: Path) -> None:
    lost = LeftOut(window=Window(start=START, end=START + 20 * HOUR))
    assert held(source(table), tmp_path, (lost,))[1]["x"].to_pylist() == [21.0, 22.0, 23.0]


def test_of_many_rows_the_latest_are_kept(table: Path, tmp_path: Path) -> None:
    assert sorted(held(source(table, most_rows=3), tmp_path)[1]["x"].to_pylist()) == [21.0, 22.0, 23.0]


def test_without_a_time_all_are_held_out_and_nothing_says_when_they_are_from(table: Path, tmp_path: Path) -> None:
    rows, found = held(source(table, time=""), tmp_path)
    assert (found.num_rows, rows.windows) == (38, {})


@pytest.mark.parametrize(
    ("more", "said"),
    [({"label": "late"}, "late"), ({"groups": ("age",)}, "age"), ({"name": "/nowhere.parquet"}, "no such file")],
)
def test_what_is_not_there_is_named(table: Path, tmp_path: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        held(source(table, **more), tmp_path)


def test_a_secret_in_the_address_comes_from_the_environment(table: Path, tmp_path: Path) -> None:
    assert held(source("${WHERE}/rows.parquet"), tmp_path, WHERE=str(tmp_path))[1].num_rows == 19
    with pytest.raises(PermanentError, match="WHERE"):
        held(source("${WHERE}/rows.parquet"), tmp_path)


def test_traffic_has_nulls_for_what_no_request_had_and_no_odd_labels(tmp_path: Path) -> None:
    path = tmp_path / "sample.parquet"
    pq.write_table(pa.table({"x": [1.0, 2.0, 3.0], LABEL: ["yes", "no", "perhaps"]}), path)
    rows = Rows()
    add_traffic(rows, base64.b64encode(path.read_bytes()).decode(), spec(), DAY, tmp_path)
    found = pq.read_table(rows.parts["recent"])
    assert (found["x"].to_pylist(), found["city"].to_pylist()) == ([1.0, 2.0], [None, None])
    assert "1 with a label that is no class" in rows.told[0]
    with pytest.raises(PermanentError, match="traffic"):
        add_traffic(rows, "no base64!", spec(), DAY, tmp_path)
