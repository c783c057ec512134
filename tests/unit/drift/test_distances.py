"""Distances from counts are the distances of the values, as SciPy has them."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance

from agents.drift.distances import (
    false_discovery_rate,
    homogeneity,
    jensen_shannon,
    kolmogorov_smirnov,
    wasserstein,
)
from tests.unit.tables.memory import pair

_SAMPLES = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=60)
_COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1)
_SHAPES = {
    "normal": lambda rng, n: rng.normal(10, 2, n),
    "heavy": lambda rng, n: rng.lognormal(0, 2, n),
    "two humps": lambda rng, n: np.where(rng.random(n) < 0.5, rng.normal(-3, 1, n), rng.normal(3, 0.1, n)),
    "far away": lambda rng, n: 1e9 + rng.normal(0, 1e-3, n),
    "counts": lambda rng, n: rng.poisson(200, n).astype(float),
}


@given(_SAMPLES, _SAMPLES)
def test_wasserstein_on_values_is_exact(reference: list[float], current: list[float]) -> None:
    expected = stats.wasserstein_distance(reference, current) / max(float(np.std(reference)), 0.001)
    assert wasserstein(*pair(reference, current)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.5, 100.0])
@pytest.mark.parametrize("shape", _SHAPES)
def test_wasserstein_on_a_grid_is_near(shape: str, shift: float) -> None:
    rng = np.random.default_rng(11)
    reference, current = _SHAPES[shape](rng, 30_000), _SHAPES[shape](rng, 20_000)
    current = current + shift * reference.std()
    expected = stats.wasserstein_distance(reference, current) / max(reference.std(), 0.001)
    assert wasserstein(*pair(reference, current)) == pytest.approx(expected, rel=0.02, abs=0.003)


@given(_SAMPLES, _SAMPLES)
def test_kolmogorov_smirnov_on_values_is_the_asymptotic_test(reference: list[float], current: list[float]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = stats.ks_2samp(reference, current)
    largest, p_value = kolmogorov_smirnov(*pair(reference, current))
    assert largest == pytest.approx(expected.statistic)
    assert 0 <= p_value <= 1


@pytest.mark.parametrize("rows", [50, 500, 5_000, 50_000])
@pytest.mark.parametrize("moved", [0.0, 0.05, 0.2])
def test_its_p_value_is_near_the_exact_one(rows: int, moved: float) -> None:
    rng = np.random.default_rng(rows)
    reference, current = rng.normal(0, 1, rows), rng.normal(moved, 1, rows)
    expected = stats.ks_2samp(reference, current).pvalue
    assert kolmogorov_smirnov(*pair(reference, current))[1] == pytest.approx(expected, rel=0.25, abs=0.05)


@given(_COUNTS, _COUNTS)
def test_jensen_shannon_is_the_distance(reference: dict[str, int], current: dict[str, int]) -> None:
    names = sorted(reference.keys() | current.keys())
    expected = distance.jensenshannon([reference.get(name, 0) for name in names], [current.get(name, 0) for name in names])
    found = jensen_shannon(reference, current)
    assert found == pytest.approx(float(expected), abs=1e-7)
    assert 0 <= found <= math.sqrt(math.log(2)) + 1e-12


@given(st.lists(st.tuples(st.integers(30, 500), st.integers(30, 500)), min_size=2, max_size=6))
def test_homogeneity_of_frequent_categories_is_pearsons_test(cells: list[tuple[int, int]]) -> None:
    reference = {str(place): a for place, (a, _) in enumerate(cells)}
    current = {str(place): b for place, (_, b) in enumerate(cells)}
    expected = stats.chi2_contingency(np.array(cells), correction=False).pvalue
    assert homogeneity(reference, current) == pytest.approx(expected, abs=1e-9)


def test_homogeneity_takes_rare_categories_together() -> None:
    reference = {"often": 1_000, **{f"rare{number}": 1 for number in range(40)}}
    current = {"often": 1_000, **{f"other{number}": 1 for number in range(40)}}
    assert homogeneity(reference, current) == pytest.approx(1.0)
    assert homogeneity({"a": 3}, {"b": 3}) == 1.0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_false_discovery_rate_is_benjamini_and_hochbergs(p_values: list[float]) -> None:
    assert false_discovery_rate(p_values) == pytest.approx(list(stats.false_discovery_control(p_values)))


def test_nothing_is_compared_on_two_grids() -> None:
    rng = np.random.default_rng(2)
    one, _ = pair(rng.normal(0, 1, 5_000), rng.normal(0, 1, 5_000))
    other, _ = pair(rng.normal(9, 1, 5_000), rng.normal(9, 1, 5_000))
    with pytest.raises(ValueError, match="two grids"):
        wasserstein(one, other)
