"""Against values from published tables and from other implementations of the same formulas."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.statistics import chi_square_tail, normal_tail, population_stability, two_proportions, wilson

histograms = st.lists(st.integers(0, 500), min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("z", "tail"), [(0, 1.0), (1.0, 0.317310508), (1.959963985, 0.05), (2.575829304, 0.01), (-3.0, 0.002699796)]
)
def test_the_normal_tail_is_that_of_the_tables(z: float, tail: float) -> None:
    assert normal_tail(z) == pytest.approx(tail, rel=1e-6)


@pytest.mark.parametrize(
    ("x", "degrees", "tail"),
    [
        (3.841458821, 1, 0.05),
        (6.634896601, 1, 0.01),
        (5.991464547, 2, 0.05),
        (18.30703805, 10, 0.05),
        (23.20925116, 10, 0.01),
        (124.3421134, 100, 0.05),
        (0.0, 3, 1.0),
        (2.0, 2, math.exp(-1)),
    ],
)
def test_the_chi_square_tail_is_that_of_the_tables(x: float, degrees: int, tail: float) -> None:
    assert chi_square_tail(x, degrees) == pytest.approx(tail, rel=1e-6)


def test_a_chi_square_without_degrees_of_freedom_is_refused() -> None:
    with pytest.raises(ValueError, match="degree"):
        chi_square_tail(1.0, 0)


@given(x=st.floats(0, 1_000), more=st.floats(0, 100), degrees=st.integers(1, 200))
def test_the_chi_square_tail_falls_from_one_to_nothing(x: float, more: float, degrees: int) -> None:
    near, far = chi_square_tail(x, degrees), chi_square_tail(x + more, degrees)
    assert 0 <= far <= near + 1e-12 <= 1 + 1e-12


def test_two_shares_are_told_apart_as_in_the_textbook() -> None:
    # Pooled z = 2.0226 for 45/100 against 31/100.
    assert two_proportions(45, 100, 31, 100) == pytest.approx(0.0413, abs=1e-3)
    assert two_proportions(45, 100, 31, 100) == two_proportions(31, 100, 45, 100)
    assert two_proportions(0, 0, 5, 10) == 1.0
    assert two_proportions(10, 10, 20, 20) == 1.0


def test_wilson_is_that_of_agresti_and_coull() -> None:
    assert wilson(0, 10, 0.05) == pytest.approx((0.0, 0.27753), abs=1e-4)
    assert wilson(81, 263, 0.05) == pytest.approx((0.25529, 0.36620), abs=1e-4)
    assert wilson(0, 0, 0.05) == (0.0, 1.0)


@given(total=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_holds_the_measured_share(total: int, share: float) -> None:
    hits = round(total * share)
    low, high = wilson(hits, total, 0.01)
    assert 0 <= low <= hits / total + 1e-9
    assert hits / total - 1e-9 <= high <= 1


def test_stability_of_a_known_shift() -> None:
    # (0.6 - 0.4) ln(0.6 / 0.4) twice = 0.1622, but for the half row of smoothing.
    index, chance, p_value = population_stability([6_000, 4_000], [4_000, 6_000])
    assert index == pytest.approx(0.1622, abs=1e-3)
    assert chance == pytest.approx(2e-4)
    assert p_value < 1e-12


def test_chance_explains_what_small_samples_show() -> None:
    index, chance, p_value = population_stability([8, 12, 9, 11, 10, 10, 7, 13, 9, 11], [10] * 10)
    assert chance == pytest.approx(0.18)
    assert index < chance
    assert p_value > 0.5


@given(histograms)
def test_what_is_the_same_has_not_moved(counts: list[int]) -> None:
    index, _, p_value = population_stability(counts, counts)
    assert index == 0
    assert p_value == 1


@given(st.integers(2, 12).flatmap(lambda n: st.tuples(*[st.lists(st.integers(0, 500), min_size=n, max_size=n)] * 2)))
def test_stability_does_not_depend_on_the_side(pair: tuple[list[int], list[int]]) -> None:
    there, back = population_stability(*pair), population_stability(*reversed(pair))
    assert there == pytest.approx(back)
    assert there[0] >= 0


def test_histograms_on_different_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="bins"):
        population_stability([1, 2], [1, 2, 3])
