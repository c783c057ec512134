"""A column that was counted value by value compares with one on a grid as if it had been counted there."""

import numpy as np
import pytest

from agents.drift.rules import DriftRules
from agents.drift.verdicts import compare
from tests.twins.columns import column
from tools.tables.port import ColumnProfile


def test_values_move_onto_a_grid_as_they_are_counted_there() -> None:
    rng = np.random.default_rng(1)
    grid = column("x", "numeric", rng.normal(0, 1, 500).tolist(), None)
    assert grid.grid is not None
    values = [-40.0, -0.5, 0.25, 0.25, 3.5, 99.0]
    moved = column("x", "numeric", values, None).on_grid(grid.grid.low, grid.grid.high, len(grid.grid.counts) - 2)
    counted = column("x", "numeric", values, grid)
    assert moved.grid == counted.grid
    assert (moved.mean, moved.deviation) == (pytest.approx(counted.mean), pytest.approx(counted.deviation))


@pytest.mark.parametrize("swapped", [False, True])
def test_few_values_beside_many_compare(swapped: bool) -> None:
    rng = np.random.default_rng(2)
    few = column("x", "numeric", [1.0, 2.0] * 100, None)
    many = column("x", "numeric", rng.normal(1.5, 0.5, 1_000).tolist(), None)
    pair: tuple[ColumnProfile, ColumnProfile] = (many, few) if swapped else (few, many)
    (found,) = compare([pair], DriftRules()).features
    assert found.drifted
    # Half of either lies on each side of 1.5; every one of the few is half a unit from it.
    assert found.method == "wasserstein"
