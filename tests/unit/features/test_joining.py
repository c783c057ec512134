"""Correct in time: whatever the rows, a moment sees the last row of its key that is not after it, and nothing of the future."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.features.columns import TIME
from tools.features.joining import as_of, latest, taken

START = datetime(2026, 3, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

_minutes = st.integers(0, 12)
_keys = st.tuples(st.sampled_from("ab"), st.integers(0, 1))
_rows = st.lists(st.tuples(_keys, _minutes, _minutes), max_size=25)
_asked = st.lists(st.tuples(st.tuples(st.sampled_from("abc"), st.integers(0, 1)), _minutes), max_size=12)


def _table(rows: list[tuple[tuple[str, int], int, int]]) -> pa.Table:
    """Key, event time, created; the value is the row's position."""
    return pa.table(
        {
            "name": pa.array([key[0] for key, _, _ in rows], pa.string()),
            "number": pa.array([key[1] for key, _, _ in rows], pa.int64()),
            "event_timestamp": pa.array([START + minute * MINUTE for _, minute, _ in rows], TIME),
            "created": pa.array([START + minute * MINUTE for _, _, minute in rows], TIME),
            "value": pa.array(range(len(rows)), pa.int64()),
        }
    )


def _moments(asked: list[tuple[tuple[str, int], int]]) -> pa.Table:
    return pa.table(
        {
            "name": pa.array([key[0] for key, _ in asked], pa.string()),
            "number": pa.array([key[1] for key, _ in asked], pa.int64()),
            "at": pa.array([START + minute * MINUTE for _, minute in asked], TIME),
        }
    )


def _by_hand(rows: list[tuple[tuple[str, int], int, int]], key: tuple[str, int], at: int, ttl: int) -> int | None:
    best: tuple[int, int, int] | None = None
    for place, (mine, moment, created) in enumerate(rows):
        if mine == key and moment <= at:
            best = max(best or (-1, -1, -1), (moment, created, place))
    return None if best is None or at - best[0] > ttl else best[2]


@settings(max_examples=300, deadline=None)
@given(_rows, _asked, st.integers(1, 6))
def test_each_moment_sees_what_a_look_at_every_row_finds(
    rows: list[tuple[tuple[str, int], int, int]], asked: list[tuple[tuple[str, int], int]], ttl: int
) -> None:
    right = _table(rows)
    found = taken(right["value"], as_of(_moments(asked), right, ["name", "number"], "at", ttl * MINUTE))
    assert found.to_pylist() == [_by_hand(rows, key, at, ttl) for key, at in asked]


@settings(max_examples=100, deadline=None)
@given(_rows, _asked, st.integers(1, 6), st.integers(0, 12))
def test_what_happens_later_changes_nothing_of_before(
    rows: list[tuple[tuple[str, int], int, int]], asked: list[tuple[tuple[str, int], int]], ttl: int, cut: int
) -> None:
    """Rows that begin after a moment may be anything, or be missing: who asks as of that moment cannot tell."""
    earlier = [each for each in asked if each[1] <= cut]
    known = [each for each in rows if each[1] <= cut]

    def values(several: list[tuple[tuple[str, int], int, int]]) -> list[Any]:
        right = _table(several)
        positions = as_of(_moments(earlier), right, ["name", "number"], "at", ttl * MINUTE)
        return [None if place < 0 else several[place] for place in positions.tolist()]

    assert values(rows) == values(known)


@settings(max_examples=100, deadline=None)
@given(_rows)
def test_the_latest_is_what_a_moment_after_everything_sees(rows: list[tuple[tuple[str, int], int, int]]) -> None:
    found = latest(_table(rows), ["name", "number"]).to_pylist()
    keys = {key for key, _, _ in rows}
    assert len(found) == len(keys)
    assert {(each["name"], each["number"]): each["value"] for each in found} == {
        key: _by_hand(rows, key, 99, 1_000) for key in keys
    }


def test_a_row_asked_about_without_a_key_or_a_time_finds_nothing() -> None:
    right = _table([(("a", 0), 1, 1)])
    left = pa.table(
        {
            "name": pa.array(["a", None, "a"]),
            "number": pa.array([0, 0, 0]),
            "at": pa.array([START + MINUTE, START + MINUTE, None], TIME),
        }
    )
    assert as_of(left, right, ["name", "number"], "at", MINUTE).tolist() == [0, -1, -1]
