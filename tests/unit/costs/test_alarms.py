"""Of what is unusual by one cause, so much is said that nobody is called twice for it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from agents.cost.alarms import Judged, Spending, told, unusual
from agents.cost.anomalies import judge
from agents.cost.rules import Unusual
from agents.cost.series import Series
from tools.costs.port import Dimension, Step

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 40


def judged(name: str = "", *, usual: float = 10.0, factor: float = 1.0, days: int = DAYS) -> Judged:
    """Of which the last six hours are so many times the usual."""
    costs = usual * np.exp(np.random.default_rng(4).normal(0, 0.02, days * 24))
    costs[-6:] *= factor
    series = Series(step=Step.HOUR, start=MONDAY, costs=tuple(float(cost) for cost in costs))
    spending = Spending(dimension=Dimension.MODEL if name else None, name=name, currency="USD", series=series)
    return Judged(spending=spending, judgement=judge(series, Unusual()))


def said(*found: Judged) -> list[str]:
    return [each.spending.name for each in told(found)]


def test_nothing_unusual_says_nothing() -> None:
    assert said(judged(), judged("a")) == []


def test_one_model_that_is_the_cause_speaks_for_the_whole() -> None:
    assert said(judged(usual=30, factor=2), judged("a", usual=15, factor=3), judged("b", usual=15)) == ["a"]


def test_where_many_models_are_dearer_the_whole_speaks_for_them() -> None:
    assert said(judged(usual=40, factor=2), *(judged(name, factor=2) for name in "abcd")) == [""]


def test_a_model_that_explains_little_speaks_beside_the_whole() -> None:
    assert said(judged(usual=100, factor=2), judged("a", usual=5, factor=2)) == ["", "a"]


def test_a_small_model_that_is_lost_in_the_whole_speaks_for_itself() -> None:
    assert said(judged(usual=1000), judged("a", usual=5, factor=4)) == ["a"]


def test_who_is_silent_neither_raises_nor_takes_back() -> None:
    found = judged("a", factor=3)
    assert unusual(found, None, silent=True).bad is None
    assert unusual(found, None, silent=False).bad is True
    assert unusual(judged("a"), None, silent=True).bad is False


@pytest.mark.parametrize(
    ("days", "bad", "words"), [(3, None, "Not enough history"), (12, True, "by the plain rule (not enough history")]
)
def test_with_little_history_it_says_by_which_rule(days: int, bad: bool | None, words: str) -> None:
    check = unusual(judged("a", factor=3, days=days), None, silent=False)
    assert check.bad is bad
    assert words in check.summary


def test_a_shift_that_was_learnt_is_over_and_says_so() -> None:
    costs = 10 * np.exp(np.random.default_rng(4).normal(0, 0.02, DAYS * 24))
    costs[-5 * 24 :] *= 1.8
    series = Series(step=Step.HOUR, start=MONDAY, costs=tuple(float(cost) for cost in costs))
    found = Judged(
        spending=Spending(dimension=None, name="", currency="USD", series=series), judgement=judge(series, Unusual())
    )
    check = unusual(found, None, silent=False)
    assert check.bad is False
    assert "is the new usual" in check.summary
