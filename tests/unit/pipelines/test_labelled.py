"""Labelled rows from a file that somebody has."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.labelled import duration, read
from tests.unit.pipelines.contenders import spec
from tools.errors import PermanentError
from tools.values import Window

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOURS = [NOON + timedelta(hours=hour) for hour in range(4)]


def written(folder: Path, **columns: Any) -> Path:
    path = folder / "rows.parquet"
    whole: dict[str, Any] = {"x": [1.0, 2.0, None, 4.0], "city": ["a", "b", None, "a"], "label": ["yes", "no", "yes", None]}
    pq.write_table(pa.table(whole | columns), path)
    return path


def test_rows_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    found = read(written(tmp_path), spec(), label="label")
    assert found.parts["held_out"].labels.tolist() == ["yes", "no", "yes"]
    assert found.windows == {}
    assert found.source == "rows.parquet, 3 rows, 1 without a label left out"


def test_the_end_of_the_data_is_a_part_of_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, at=pa.array(HOURS, pa.timestamp("ms", "UTC")), label=["yes"] * 4)
    found = read(path, spec(), label="label", time="at", recent=timedelta(hours=1))
    assert {part: len(rows.labels) for part, rows in found.parts.items()} == {"held_out": 2, "recent": 2}
    tick = timedelta(microseconds=1)
    assert found.windows["held_out"] == Window(start=HOURS[0], end=HOURS[1] + tick)
    assert found.windows["recent"] == Window(start=HOURS[2], end=HOURS[3] + tick)


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_a_time_without_a_zone_is_utc_and_one_with_a_zone_is_not_moved(tmp_path: Path, zone: str | None) -> None:
    moments = pa.array([each.replace(tzinfo=None) for each in HOURS], pa.timestamp("us")).cast(pa.timestamp("us", zone))
    found = read(written(tmp_path, at=moments), spec(), label="label", time="at")
    assert found.windows["held_out"].start == NOON


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([0, 1, 1, 0], ("0", "1")), ([True, False, True, None], ("false", "true")), (["b", "a", "a", "b"], ("a", "b"))],
)
def test_labels_are_the_text_of_what_is_there(tmp_path: Path, labels: list[Any], classes: tuple[str, ...]) -> None:
    for column in (pa.array(labels), pa.array(labels).dictionary_encode()):
        found = read(written(tmp_path, label=column), spec(classes=classes), label="label")
        assert set(found.parts["held_out"].labels.tolist()) == set(classes)


def test_labels_of_a_regression_are_numbers(tmp_path: Path) -> None:
    found = read(written(tmp_path, label=[1, 2, 3, 4]), spec("regression", ()), label="label")
    assert found.parts["held_out"].labels.sum() == 10.0


@pytest.mark.parametrize(
    ("columns", "asked", "why"),
    [
        ({}, {"label": "y"}, "y: rows.parquet has no such column"),
        ({}, {"label": "label", "more": ("age",)}, "age: rows.parquet has no such column"),
        ({}, {"label": "label", "time": "x"}, "x: double is no column of times"),
        ({"at": [NOON, None, NOON, NOON]}, {"label": "label", "time": "at"}, "at: 1 rows have no time"),
        ({"label": ["yes", "perhaps", "no", "no"]}, {"label": "label"}, "label: 'perhaps' is no class of the model"),
        ({"label": pa.nulls(4, pa.string())}, {"label": "label"}, "label: no row of rows.parquet has a label"),
        ({}, {"label": "label", "recent": timedelta(days=1)}, "--time has to name it"),
    ],
)
def test_what_is_wrong_with_the_file_is_named(tmp_path: Path, columns: dict[str, Any], asked: dict[str, Any], why: str) -> None:
    with pytest.raises(PermanentError, match=why):
        read(written(tmp_path, **columns), spec(), **asked)


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text("x,city,label")
    with pytest.raises(PermanentError, match="cannot be read as Parquet"):
        read(tmp_path / "rows.parquet", spec(), label="label")


def test_lengths_of_time_are_written_with_their_unit() -> None:
    assert (duration("90m"), duration("36h"), duration("1d")) == (
        timedelta(minutes=90),
        timedelta(hours=36),
        timedelta(days=1),
    )
    for wrong in ("", "1", "0d", "1 d", "-1d", "1y"):
        with pytest.raises(ValueError, match="is no length of time"):
            duration(wrong)
