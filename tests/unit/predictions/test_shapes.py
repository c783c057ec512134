"""Where bins lie."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tools.predictions.shapes import edges

_FINITE = st.floats(allow_nan=False, allow_infinity=False)


def test_nothing_has_no_edges() -> None:
    assert edges([math.nan] * 19, None) == ()


def test_quantiles_that_coincide_are_one_edge() -> None:
    assert edges([1.0, 1.0, 2.0, 2.0], 9.0) == (1.0, 2.0)


@given(values=st.lists(_FINITE, min_size=1))
def test_edges_ascend_and_no_bin_is_without_end(values: list[float]) -> None:
    found = edges(values, max(values))
    assert list(found) == sorted({*found})
    # The greatest value has a bin of its own, unless nothing finite is greater.
    assert found[-1] > max(values) or math.nextafter(max(values), math.inf) == math.inf
