"""A column is counted exactly, in whatever pieces it comes."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.drift.distances import wasserstein
from tests.unit.tables.memory import MemoryTable, pair
from tools.errors import PermanentError
from tools.tables.counting import Sampled
from tools.tables.profiling import profile as profiled_alone
from tools.tables.profiling import profile_together
from tools.tables.shapes import BINS


def test_few_values_are_counted_one_by_one() -> None:
    reference, current = pair([1, 2, 2, None], [2, 3, math.nan, math.inf])
    assert dict(reference.values) == {1.0: 1, 2.0: 2}
    assert (reference.rows, reference.nulls, reference.count) == (4, 1, 3)
    assert (dict(current.values), current.not_finite, current.count) == ({2.0: 1, 3.0: 1}, 2, 2)
    assert (reference.mean, reference.minimum, reference.maximum) == (pytest.approx(5 / 3), 1, 2)


def test_many_values_are_counted_on_one_grid_for_both() -> None:
    rng = np.random.default_rng(3)
    numbers = [rng.lognormal(0, 2, 30_000), rng.lognormal(0.3, 2, 20_000)]
    numbers[1][:5] = math.nan
    numbers[1][5:7] = -math.inf
    for profile, given_ in zip(pair(*numbers), numbers, strict=True):
        finite = given_[np.isfinite(given_)]
        grid = profile.grid
        assert grid is not None
        edges = np.linspace(grid.low, grid.high, BINS + 1)
        # A value within rounding of an edge may be on either side of it.
        assert np.abs(np.cumsum(grid.counts)[:-1] - np.searchsorted(np.sort(finite), edges)).max() <= 1
        assert grid.above == pytest.approx(finite[finite >= grid.high].sum())
        assert grid.below == pytest.approx(finite[finite < grid.low].sum())
        assert (profile.count, profile.not_finite) == (len(finite), len(given_) - len(finite))
        measured = (profile.mean, profile.deviation, profile.minimum, profile.maximum)
        assert measured == pytest.approx((finite.mean(), finite.std(), finite.min(), finite.max()))


@settings(max_examples=15, deadline=None)
@given(st.integers(50, 4_000), st.integers(0, 2**32))
def test_pieces_make_no_difference(rows_at_once: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = pa.table(
        {
            "many": rng.normal(5, 2, 3_000),
            "few": rng.integers(0, 9, 3_000),
            "word": pa.array(rng.choice(["a", "b", None], 3_000)),
            "flag": rng.random(3_000) < 0.5,
        }
    )
    whole = profile_together(MemoryTable(table, 3_000), MemoryTable(table, 3_000)).pairs
    pieces = profile_together(MemoryTable(table, rows_at_once), MemoryTable(table, 3_000)).pairs
    for name in ("few", "word", "flag"):
        assert pieces[name] == whole[name]
    ours, theirs = pieces["many"][0], whole["many"][0]
    if ours.grid is not None and theirs.grid is not None and ours.grid.low == theirs.grid.low:
        assert ours.grid.counts == theirs.grid.counts
    assert (ours.mean, ours.deviation) == pytest.approx((theirs.mean, theirs.deviation))


def test_times_decimals_and_dictionaries_are_taken_for_what_they_are() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    columns = {
        "at": pa.array([noon, None], pa.timestamp("ms", "UTC")),
        "day": pa.array([date(1970, 1, 2), date(1970, 1, 3)]),
        "price": pa.array([Decimal("1.50"), Decimal("2.50")]),
        "word": pa.array(["a", "b"]).dictionary_encode(),
        "flag": pa.array([True, None]),
    }
    found = {name: both[0] for name, both in profile_together(MemoryTable(columns), MemoryTable(columns)).pairs.items()}
    assert {name: each.kind for name, each in found.items()} == {
        "at": "datetime",
        "day": "datetime",
        "price": "numeric",
        "word": "categorical",
        "flag": "boolean",
    }
    assert found["at"].mean == noon.timestamp()
    assert dict(found["day"].values) == {86_400.0: 1, 172_800.0: 1}
    assert dict(found["price"].values) == {1.5: 1, 2.5: 1}
    assert dict(found["word"].values) == {"a": 1, "b": 1}
    assert (dict(found["flag"].values), found["flag"].nulls) == ({True: 1}, 1)


def test_what_cannot_be_compared_is_left_out_with_the_reason() -> None:
    reference = MemoryTable({"x": [1.0], "gone": [1], "list": [[1]], "word": ["a"]})
    current = MemoryTable({"x": [1], "new": [1], "list": [[1]], "word": [7]})
    found = profile_together(reference, current)
    assert list(found.pairs) == ["x"]
    assert found.left_out == {
        "new": "only in the current table",
        "gone": "only in the reference",
        "list": "list<item: int64> in the reference, list<item: int64> in the current table",
        "word": "string in the reference, int64 in the current table",
    }


def test_an_empty_table_and_an_empty_column_have_profiles() -> None:
    empty, nothing = pair([], [None, None], pa.float64())
    assert (empty.rows, empty.count, nothing.rows, nothing.nulls, nothing.mean) == (0, 0, 2, 2, None)


def test_values_beyond_the_most_are_counted_as_others() -> None:
    words = [f"w{number}" for number in range(30_000)]
    profile, _ = pair(words, words)
    assert (len(profile.values), profile.others, profile.count) == (20_000, 10_000, 30_000)


def test_a_sorted_column_whose_first_rows_say_nothing_is_counted_on_a_grid_all_the_same() -> None:
    rng = np.random.default_rng(9)
    values = np.concatenate([np.zeros(25_000), np.sort(rng.normal(50, 9, 30_000))])
    found = profile_together(MemoryTable({"x": values}), MemoryTable({"x": values + 1})).pairs["x"]
    for profiled, column in zip(found, (values, values + 1), strict=True):
        assert profiled.grid is not None
        assert (profiled.count, sum(profiled.grid.counts)) == (len(values), len(values))
        assert profiled.mean == pytest.approx(column.mean())
        assert profiled.deviation == pytest.approx(column.std())
        assert (profiled.minimum, profiled.maximum) == (pytest.approx(column.min()), pytest.approx(column.max()))
    assert found[0].grid is not None
    assert found[1].grid is not None
    assert (found[0].grid.low, found[0].grid.high) == (found[1].grid.low, found[1].grid.high)


def test_a_table_alone_is_profiled_as_one_of_two() -> None:
    table = MemoryTable({"x": np.arange(500) / 7, "c": ["a", "b"] * 250})
    assert profiled_alone(table) == {name: pair[0] for name, pair in profile_together(table, table).pairs.items()}


def _two(kind: str, rows: int, seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    match kind:
        case "another shape":
            return rng.exponential(1, rows), rng.uniform(0, 2, rows)
        case "another spread":
            return rng.normal(0, 1, rows), rng.normal(0, 3, rows)
        case "alike":
            return rng.lognormal(0, 1, rows), rng.lognormal(0, 1, rows)
        case _:  # by 200 of the first rows the grid would be a hundred times too wide
            wild = [rng.normal(0, 1_000, 200), rng.normal(0, 1_000, 200)]
            return tuple(np.concatenate([first, rng.normal(at, 1, rows * 4)]) for at, first in enumerate(wild))


@pytest.mark.parametrize("order", ["rising", "falling", "one rising, one falling", "as it comes"])
@pytest.mark.parametrize("kind", ["another shape", "another spread", "alike", "wild at first"])
def test_the_order_of_the_rows_does_not_change_the_score(kind: str, order: str) -> None:
    reference, current = _two(kind, 100_000, 11)
    shuffled = np.random.default_rng(12)
    whole = wasserstein(*pair(shuffled.permutation(reference), shuffled.permutation(current)))
    exact = _wasserstein_of_all(reference, current)
    if order != "as it comes":
        reference = np.sort(reference)[:: -1 if order == "falling" else 1]
        current = np.sort(current)[:: 1 if order == "rising" else -1]
    found = wasserstein(*pair(reference, current))
    assert found == pytest.approx(exact, rel=0.01, abs=0.002)
    assert found == pytest.approx(whole, rel=0.01, abs=0.002)


def _wasserstein_of_all(reference: Any, current: Any) -> float:
    return float(np.abs(np.sort(reference) - np.sort(current)).mean() / reference.std())


def test_whole_numbers_in_order_of_which_each_is_there_often_are_counted_on_a_grid() -> None:
    values = np.repeat(np.arange(5_000), 200)
    ours, theirs = pair(values, values + 500)
    assert ours.grid is not None
    assert (sum(ours.grid.counts), ours.minimum, ours.maximum) == (len(values), 0, pytest.approx(4_999))
    assert wasserstein(ours, theirs) == pytest.approx(500 / values.std(), rel=0.001)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 30_000), max_size=12))
def test_what_is_remembered_of_a_column_lies_evenly_over_it_and_is_bounded(pieces: list[int]) -> None:
    sampled, start = Sampled(), 0
    for length in pieces:
        sampled.add(np.arange(start, start + length, dtype=np.float64))
        start += length
    found = sampled.numbers()
    assert len(found) <= 16_384
    assert len(found) == 0 or (found[0] == 0 and len(set(np.diff(found).tolist())) <= 1)
    assert start <= 16_384 or len(found) > 16_384 / 3 - 1


@pytest.mark.parametrize(
    ("value", "type_", "seconds"),
    [
        (1_767_268_800_123_456_789, pa.timestamp("ns"), 1_767_268_800.123_456_789),
        (1_767_268_800_123_456_789, pa.timestamp("ns", "UTC"), 1_767_268_800.123_456_789),
        (253_402_214_400_000_001, pa.timestamp("us"), 253_402_214_400.000_001),
        (253_402_214_400_000, pa.timestamp("ms"), 253_402_214_400.0),
        (2**52, pa.timestamp("s"), 2.0**52),
        (date(9999, 12, 31), pa.date32(), 253_402_214_400.0),
        (date(9999, 12, 31), pa.date64(), 253_402_214_400.0),
    ],
)
def test_a_time_of_any_unit_is_its_seconds(value: Any, type_: pa.DataType, seconds: float) -> None:
    found, _ = pair([value, None], [value], type_)
    assert (list(found.values), found.nulls) == ([pytest.approx(seconds, abs=1e-4)], 1)
    many, _ = pair([value] * 200 + list(range(150)) if not isinstance(value, date) else [value], [value], type_)
    assert many.maximum == pytest.approx(seconds, rel=1e-12)


def test_what_arrow_refuses_is_told_by_its_column() -> None:
    class Torn(MemoryTable):
        def batches(self) -> Any:
            parts = pa.table({"x": [1.0] * 20_000}), pa.table({"x": ["no number"]})
            return iter([each for part in parts for each in part.to_batches()])

    with pytest.raises(PermanentError, match="x: its values cannot be counted"):
        profiled_alone(Torn({"x": [1.0]}))
