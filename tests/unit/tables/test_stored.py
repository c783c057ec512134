"""What was counted of a training is read back as it was written."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twins.columns import column
from tools.errors import PermanentError
from tools.tables.port import ColumnProfile, Distributions
from tools.tables.stored import read, written
from tools.values import Window

WINDOW = Window(start=datetime(2026, 1, 1, tzinfo=UTC), end=datetime(2026, 2, 1, tzinfo=UTC))

_NUMBERS = st.lists(st.floats(-1e99, 1e99) | st.none(), max_size=150).map(lambda values: column("x", "numeric", values, None))
_WORDS = st.lists(st.text(max_size=4) | st.none(), max_size=20).map(lambda values: column("c", "categorical", values, None))
_MANY = st.integers(0, 9).map(
    lambda others: ColumnProfile("m", "categorical", others, values={}, others=others, buckets=(others, 0) if others else ())
)
_FEW = st.integers(0, 9)
_TRUTH = st.builds(lambda no, yes: ColumnProfile("b", "boolean", no + yes, values={False: no, True: yes}), _FEW, _FEW)


@given(st.lists(_NUMBERS | _WORDS | _TRUTH | _MANY, max_size=4), st.none() | _NUMBERS, st.none() | _WORDS)
def test_what_is_written_is_read_back(
    features: list[ColumnProfile], score: ColumnProfile | None, label: ColumnProfile | None
) -> None:
    whole = Distributions(window=WINDOW, rows=7, features=tuple(features), score=score, label=label)
    assert read(written(whole)) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({"format": 2}),
        json.dumps({"format": 1, "start": "yesterday", "end": "today"}),
        json.dumps({**json.loads(written(Distributions(window=WINDOW, rows=1))), "features": [{"name": "x"}]}),
        json.dumps({**json.loads(written(Distributions(window=WINDOW, rows=1))), "end": str(WINDOW.start - timedelta(days=1))}),
    ],
)
def test_what_is_something_else_is_refused(text: str) -> None:
    with pytest.raises(PermanentError, match="reference"):
        read(text)
