"""A stream that is simulated: what comes is decided by its seed, and each event is stored once, wherever a reading stopped."""

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.lakes import Lake
from tests.twins.clock import START, SteppedClock
from tools.errors import PermanentError
from tools.sources.opening import open_source
from tools.sources.reading import Reading


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def events(url: str, commit_rows: int = 1_000, batch_rows: int = 1_000) -> list[dict[str, Any]]:
    batches = open_source(url, Reading(batch_rows, commit_rows=commit_rows)).batches(None)
    return [row for batch in batches for chunk in batch.chunks(batch.schema()) for row in chunk.rows.to_pylist()]


@settings(max_examples=15, deadline=None)
@given(commit_rows=st.integers(50, 3_000), batch_rows=st.integers(50, 3_000))
def test_what_comes_does_not_depend_on_how_it_is_read(commit_rows: int, batch_rows: int) -> None:
    url = "simulated://shop?seed=7&rows=2500&late=0.1&duplicates=0.1"
    assert events(url, commit_rows, batch_rows) == _WHOLE


_WHOLE = events("simulated://shop?seed=7&rows=2500&late=0.1&duplicates=0.1")


def test_seed_and_name_decide_and_a_longer_stream_begins_the_same() -> None:
    assert events("simulated://shop?seed=8&rows=2500&late=0.1&duplicates=0.1") != _WHOLE
    assert events("simulated://other?seed=7&rows=2500&late=0.1&duplicates=0.1") != _WHOLE
    assert events("simulated://shop?seed=7&rows=5000&late=0.1&duplicates=0.1")[:2500] == _WHOLE


def test_events_are_late_and_doubled_as_often_as_was_asked() -> None:
    rows = events("simulated://shop?rows=20000&late=0.2&lateness=30&duplicates=0.05&rate=10")
    seen: dict[int, dict[str, Any]] = {}
    for row in rows:
        first = seen.setdefault(row["event"], row)
        assert {**row, "arrived": None} == {**first, "arrived": None}
    assert 1 - len(seen) / len(rows) == pytest.approx(0.05, abs=0.01)
    late = [row for row in seen.values() if row["time"] < row["arrived"]]
    assert len(late) / len(seen) == pytest.approx(0.2, abs=0.02)
    assert sum((row["arrived"] - row["time"]).total_seconds() for row in late) / len(late) == pytest.approx(30, rel=0.1)
    assert rows[-1]["arrived"] - rows[0]["arrived"] == timedelta(seconds=1999.9)
    plain = events("simulated://shop?rows=1000")
    assert [row["event"] for row in plain] == list(range(1000))
    assert all(row["time"] == row["arrived"] for row in plain)


def test_what_has_not_arrived_is_not_there_yet(lake: Lake) -> None:
    clock = SteppedClock()
    url = f"simulated://shop?rows=100&rate=1&start={START.isoformat().replace('+', '%2B')}"
    clock.pass_(timedelta(seconds=9.5))
    found = lake.ingest(url, clock=clock)
    assert (found.rows_written, found.held_back) == (10, {"that have not arrived yet": 90})
    assert lake.ingest(url, clock=clock).batches == 0
    clock.pass_(timedelta(hours=1))
    assert lake.ingest(url, clock=clock).rows_written == 90
    assert sorted(row["event"] for row in lake.rows()) == list(range(100))


def test_killed_again_and_again_every_event_is_there_once(lake: Lake) -> None:
    url = "simulated://shop?rows=5000"
    for said in ("from 1,000: stored, 1,000 rows, 0 quarantined", "from 2,000: 1,000 rows"):
        command = [sys.executable, "-m", "tests.pipelines.dying_reading", url, str(lake.folder), said]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert len(lake.rows()) == 2_000
    assert lake.ingest(url).rows_written == 3_000
    assert sorted(row["event"] for row in lake.rows()) == list(range(5_000))
    assert not list(lake.folder.rglob("_staged/*"))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("simulated://", "simulated://NAME"),
        ("simulated://shop?rows=many", "rows: Input should be a valid integer"),
        ("simulated://shop?late=2", "late: Input should be less than or equal to 1"),
        ("simulated://shop?colour=red", "colour: Extra inputs are not permitted"),
        ("simulated://shop?start=2026-01-01T00:00:00", "start"),
    ],
)
def test_what_is_no_stream_is_said(url: str, said: str) -> None:
    with pytest.raises(PermanentError, match=said):
        open_source(url, Reading())
