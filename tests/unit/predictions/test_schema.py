"""Names for SQL."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tools.predictions.schema import column, labels_table, predictions_table

_SAFE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES = st.text() | st.text("abx_09` \\.{}%;'\"")


@given(name=_NAMES)
def test_every_name_becomes_a_plain_identifier(name: str) -> None:
    for made in (predictions_table(name), labels_table(name), column(name, "numeric"), column(name, "categorical")):
        assert _SAFE.fullmatch(made)
        assert len(made) < 80


@given(one=_NAMES, other=_NAMES)
def test_names_that_differ_stay_apart(one: str, other: str) -> None:
    assert (predictions_table(one) == predictions_table(other)) is (one == other)
    assert (column(one, "numeric") == column(other, "numeric")) is (one == other)
    assert column(one, "numeric") != column(other, "categorical")


def test_plain_names_can_be_read() -> None:
    assert column("distance", "numeric") == "n_distance"
    assert column("origin", "categorical") == "c_origin"
    assert predictions_table("NYC flights").startswith("predictions_nyc_flights_")


def test_no_feature_can_be_called_like_the_digest_of_another() -> None:
    assert column(column("a b", "numeric").removeprefix("n"), "numeric") != column("a b", "numeric")
    assert column(column("a b", "numeric").removeprefix("nx_"), "numeric") != column("a b", "numeric")
