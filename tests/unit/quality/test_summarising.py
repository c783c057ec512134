"""What is measured of a batch: exact where it says so, and close where it samples."""

import math
import statistics

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import PermanentError
from tools.quality.statistics import BatchStatistics, ColumnStatistics, read, spread, written
from tools.quality.summarising import Summary


def summed(rows: pa.Table, chunk: int = 10_000) -> dict[str, ColumnStatistics]:
    summary = Summary(rows.schema)
    for start in range(0, rows.num_rows, chunk):
        summary.add(rows.slice(start, chunk))
    return {each.name: each for each in summary.statistics()}


NUMBERS = st.lists(st.none() | st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(NUMBERS, st.integers(1, 60))
def test_few_numbers_are_measured_exactly_however_they_come(values: list[float | None], chunk: int) -> None:
    found = summed(pa.table({"x": pa.array(values, pa.float64())}), chunk)["x"]
    there = [value for value in values if value is not None]
    assert (found.rows, found.nulls, found.distinct) == (len(values), values.count(None), len(set(there)))
    if there:
        assert (found.minimum, found.maximum) == (min(there), max(there))
        assert found.mean == pytest.approx(statistics.fmean(there), abs=1e-6)
        assert found.deviation == pytest.approx(statistics.pstdev(there), abs=1e-4)
        assert found.quantile(0.5) == pytest.approx(statistics.median(there), abs=1e-6)


def test_a_sorted_million_is_measured_as_well_as_a_shuffled_one() -> None:
    numbers = np.arange(400_000, dtype=np.float64)
    found = summed(pa.table({"x": numbers}))["x"]
    for share in (0.1, 0.5, 0.9):
        assert found.quantile(share) == pytest.approx(share * 400_000, abs=0.02 * 400_000)
    assert found.distinct == pytest.approx(400_000, rel=0.12)
    assert (found.exact, found.minimum, found.maximum) == (False, 0, 399_999)


def test_ten_thousand_words_are_counted_and_beyond_that_estimated() -> None:
    words = pa.array([f"w{n}" for n in range(60_000)])
    found = summed(pa.table({"few": pa.array(["a", "b", None] * 20_000), "many": words}))
    assert (found["few"].top, found["few"].complete, found["few"].nulls) == ((("a", 20_000), ("b", 20_000)), True, 20_000)
    assert found["many"].distinct == pytest.approx(60_000, rel=0.12)
    assert not found["many"].complete
    ten = summed(pa.table({"x": words.slice(0, 10_000)}))["x"]
    assert (ten.distinct, ten.exact, len(ten.top)) == (10_000, True, 50)


def test_what_is_no_number_is_counted_apart() -> None:
    found = summed(pa.table({"x": [1.0, math.nan, math.inf, -math.inf, 1e300, None, 3.0]}))["x"]
    assert (found.nulls, found.not_finite, found.count, found.mean) == (1, 4, 2, 2.0)


def test_columns_of_other_types_are_left_out_and_an_empty_batch_has_no_numbers() -> None:
    assert list(summed(pa.table({"x": [[1]], "y": [True]}))) == ["y"]
    (found,) = Summary(pa.schema([("x", pa.float64())])).statistics()
    assert (found.rows, found.mean, found.quantiles) == (0, None, ())


def test_a_spread_is_that_of_all_batches_together_and_outliers_do_not_move_it() -> None:
    rng = np.random.default_rng(5)
    batches = [summed(pa.table({"x": rng.normal(10, 2, 5_000)}))["x"] for _ in range(5)]
    wild = summed(pa.table({"x": np.full(5_000, 1e6)}))["x"]
    found = spread([*batches, wild])
    assert found is not None
    assert found.median == pytest.approx(10.5, abs=0.5)
    assert found.deviation == pytest.approx(2.3, abs=0.6)
    assert spread([]) is None


def test_statistics_are_written_and_read_again() -> None:
    columns = tuple(summed(pa.table({"x": [1.5, None], "c": ["a", "b"], "t": [True, False]})).values())
    batch = BatchStatistics(read=3, accepted=2, quarantined=1, columns=columns)
    assert read(written(batch)) == batch
    with pytest.raises(PermanentError, match="format"):
        read(written(batch).replace('"format":1', '"format":2'))
    with pytest.raises(PermanentError):
        read("{")
