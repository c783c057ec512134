"""`oppen data profile`, as somebody types it: values are shown as their columns have them."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from api.cli_data import data
from api.terminal import Refused

NOON_US = 1_767_268_800_000_000
ROWS = 20_000


@pytest.fixture
def table(tmp_path: Path) -> str:
    rows = pa.table(
        {
            "id": np.arange(ROWS),
            "at": pa.array(NOON_US + 1_000_000 * np.arange(ROWS), pa.timestamp("us", "UTC")),
            "exact": pa.array(NOON_US * 1_000 + np.arange(ROWS) % 3, pa.timestamp("ns")),
            "day": pa.array([date(1969, 12, 31), date(9999, 12, 31)] * (ROWS // 2)),
            "price": np.linspace(0.5, 2.5, ROWS),
        }
    )
    pyarrow.parquet.write_table(rows, tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


def test_times_are_told_in_utc_and_whole_numbers_whole(table: str) -> None:
    done = CliRunner().invoke(data, ["profile", table, "--json"])
    assert done.exit_code == 0, done.exception
    found: dict[str, Any] = {each["name"]: each for each in json.loads(done.stdout)["columns"]}
    ends = {name: (each["minimum"], each["maximum"]) for name, each in found.items()}
    assert ends["id"] == (0, 19_999)
    assert isinstance(ends["id"][1], int)
    assert ends["at"] == ("2026-01-01T12:00:00+00:00", "2026-01-01T17:33:19+00:00")
    assert found["at"]["mean"] == "2026-01-01T14:46:39.500+00:00"
    assert ends["exact"] == ("2026-01-01T12:00:00+00:00", "2026-01-01T12:00:00+00:00")
    assert ends["day"] == ("1969-12-31", "9999-12-31")
    assert found["day"]["top"][0] == {"value": "1969-12-31", "count": ROWS // 2}
    assert ends["price"] == (pytest.approx(0.5), pytest.approx(2.5))


def test_the_table_for_people_shows_them_too(table: str) -> None:
    done = CliRunner().invoke(data, ["profile", table])
    assert done.exit_code == 0, done.exception
    for shown in ("19999", "2026-01-01", "17:33:19Z", "9999-12-31"):
        assert shown in done.stdout
    assert "e+" not in done.stdout


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,x\n1,2\n")
    done = CliRunner().invoke(data, ["profile", str(path)])
    assert isinstance(done.exception, Refused)
    assert "two columns of the name 'x'" in str(done.exception)
