"""The prediction log on its own."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.segments import Kind, LogLimits, SegmentLog, complete
from tests.gateway.running import labels, predictions
from tests.twins.clock import SteppedClock
from tools.predictions.records import LabelRecord, PredictionRecord

LIMITS = LogLimits(records=1000, segment_bytes=1 << 20, segment_age_s=60.0, flush_s=0.001, backlog_bytes=1 << 30)
Make = Callable[..., SegmentLog]


def record(number: int) -> PredictionRecord:
    return PredictionRecord(
        id=f"p{number}",
        model="late",
        version="1",
        at=number,
        entity="e",
        latency_us=1,
        features={"distance": 1.5, "carrier": None},
        prediction="late",
        score=0.7,
    )


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(kind: Kind = "predictions", **changed: Any) -> SegmentLog:
        log = SegmentLog(tmp_path / "segments", kind, replace(LIMITS, **changed), SteppedClock())
        log.start()
        return log

    return make


def write(log: SegmentLog, *numbers: int) -> None:
    assert log.reserve(len(numbers))
    log.append([record(number) for number in numbers])


def files(home: Path, suffix: str) -> list[Path]:
    return sorted((home / "segments").glob(f"*.{suffix}"))


def test_what_was_appended_is_in_complete_segments_in_order(make: Make, tmp_path: Path) -> None:
    log = make()
    for number in range(100):
        write(log, number)
    log.close()
    assert predictions(tmp_path) == [record(number) for number in range(100)]
    assert files(tmp_path, "open") == []
    assert log.pending == 0


def test_a_segment_is_completed_at_its_size(make: Make, tmp_path: Path) -> None:
    log = make(segment_bytes=2000)
    for start in range(0, 500, 50):
        write(log, *range(start, start + 50))
        wait(lambda: log.pending == 0)
    log.close()
    assert len(files(tmp_path, "ndjson")) == 10
    assert predictions(tmp_path) == [record(number) for number in range(500)]


def test_a_segment_is_completed_at_its_age_without_further_records(make: Make, tmp_path: Path) -> None:
    log = make(segment_age_s=0.02)
    write(log, 1)
    wait(lambda: files(tmp_path, "ndjson"))
    assert predictions(tmp_path) == [record(1)]
    log.close()
    assert log.completed == 1


def test_nothing_written_is_no_segment(make: Make, tmp_path: Path) -> None:
    make().close()
    assert list((tmp_path / "segments").iterdir()) == []


def test_kinds_are_kept_apart(make: Make, tmp_path: Path) -> None:
    log, other = make(), make("labels")
    write(log, 1)
    label = LabelRecord(id="p1", model="late", at=2, label="on_time")
    assert other.reserve(1)
    other.append([label])
    log.close()
    other.close()
    assert (predictions(tmp_path), labels(tmp_path)) == ([record(1)], [label])


def test_beyond_its_capacity_the_log_refuses_instead_of_dropping(make: Make) -> None:
    log = make(records=10)
    assert log.reserve(8)
    assert not log.reserve(3)
    log.release(8)
    assert log.reserve(10)
    log.append([record(number) for number in range(10)])
    wait(lambda: log.pending == 0)
    assert log.reserve(10)
    log.release(10)
    log.close()


def test_a_backlog_that_nobody_loads_ends_in_refusals_until_it_is_loaded(make: Make, tmp_path: Path) -> None:
    log = make(backlog_bytes=1024, segment_bytes=1024)
    write(log, *range(20))
    wait(lambda: not log.reserve(1) or log.release(1))
    assert log.backlog().bytes > 1024
    for path in files(tmp_path, "ndjson"):
        path.unlink()
    wait(lambda: log.reserve(1))
    log.release(1)
    log.close()


def test_a_disk_that_fails_keeps_the_records_and_is_tried_again(make: Make, tmp_path: Path) -> None:
    log = make()
    folder = tmp_path / "segments"
    folder.rename(tmp_path / "away")
    write(log, 1, 2)
    wait(lambda: log.write_errors > 0)
    assert log.pending == 2
    (tmp_path / "away").rename(folder)
    wait(lambda: log.pending == 0)
    log.close()
    assert predictions(tmp_path) == [record(1), record(2)]


@given(whole=st.integers(0, 5), cut=st.integers(0, 60))
def test_a_cut_off_line_is_dropped_and_whole_ones_survive(
    tmp_path_factory: pytest.TempPathFactory, whole: int, cut: int
) -> None:
    home = tmp_path_factory.mktemp("crash")
    (home / "segments").mkdir()
    line = msgspec.json.encode(record(9))
    leftover = home / "segments" / "predictions-1-a-1.open"
    leftover.write_bytes(msgspec.json.Encoder().encode_lines([record(n) for n in range(whole)]) + line[:cut])
    assert complete(leftover) == (1 if cut else 0)
    assert predictions(home) == [record(n) for n in range(whole)]
    assert not leftover.exists()


def test_leftovers_of_a_crash_are_completed_at_start(make: Make, tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    content = msgspec.json.Encoder().encode_lines([record(1)]) + b'{"kind":"predic'
    (tmp_path / "segments" / "predictions-1-dead-1.open").write_bytes(content)
    log = make()
    assert log.cut_lines == 1
    write(log, 2)
    log.close()
    assert predictions(tmp_path) == [record(1), record(2)]


def wait(holds: Callable[[], object]) -> None:
    for _ in range(2000):
        if holds():
            return
        threading.Event().wait(0.005)
    raise AssertionError("the state was not reached")
