"""A/B experiments, asked every day."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.experiment_facts import Exposed, Goal, Observed
from agents.experiments import Call, Outcome, judge
from agents.promotion_rules import Experiments
from agents.rollout_facts import Values
from tests.unit.rollouts.streams import START

RULES = Experiments()
BUYS = Goal(name="buys", kind="share", better="higher", margin=0.02)
ERRORS = Goal(name="errors", kind="share", better="lower", margin=0.01)
SPENT = Goal(name="spent", kind="mean", better="higher", margin=0.1)
DAY = timedelta(days=1)


def observed(
    rng: np.random.Generator,
    days: int,
    rates: dict[str, float],
    units: int = 1_000,
    errors: dict[str, float] | None = None,
    **more: Any,
) -> Observed:
    """The first of `rates` is the control. Everybody spends about a hundred times what their arm's rate is."""
    weights = dict.fromkeys(rates, 1.0)
    periods = []
    for _ in range(days):
        sizes = rng.multinomial(units, [1 / len(rates)] * len(rates))
        day = {}
        for (arm, rate), size in zip(rates.items(), sizes, strict=True):
            spent = rng.exponential(100 * rate, size)
            day[arm] = Exposed(
                units=int(size),
                hits={"buys": int(rng.binomial(size, rate)), "errors": int(rng.binomial(size, (errors or {}).get(arm, 0.02)))},
                values={"spent": Values(count=int(size), total=float(spent.sum()), squares=float((spent**2).sum()))},
            )
        periods.append(day)
    given = {"goal": BUYS, "guardrails": (ERRORS,), "control": next(iter(rates)), "weights": weights, "started": START}
    return Observed(**{**given, "periods": tuple(periods), **more})


def asked(found: Observed, days: float | None = None) -> Outcome:
    return judge(RULES, found, START + (days or len(found.periods)) * DAY)


def test_a_winner_is_called_after_a_week_and_not_before() -> None:
    rates = {"a": 0.1, "b": 0.2}
    assert asked(observed(np.random.default_rng(1), 6, rates)).call is Call.RUNNING
    found = asked(observed(np.random.default_rng(1), 7, rates))
    assert found.call is Call.WINNER
    effect = found.arms[0].effect
    assert effect.low is not None
    assert effect.high is not None
    assert 0 < effect.low < 0.1 < effect.high
    assert found.reason.startswith("b: it is better than the control: buys +0.")


def test_a_loser_is_told_as_soon_as_it_shows() -> None:
    assert asked(observed(np.random.default_rng(2), 3, {"a": 0.2, "b": 0.1})).call is Call.LOSER


def test_without_a_difference_it_ends_inconclusive() -> None:
    found = observed(np.random.default_rng(3), 27, {"a": 0.1, "b": 0.1})
    assert asked(found).call is Call.RUNNING
    assert asked(found, 28).call is Call.INCONCLUSIVE


def test_what_harms_a_guardrail_is_stopped_though_it_wins() -> None:
    found = asked(observed(np.random.default_rng(4), 7, {"a": 0.1, "b": 0.2}, errors={"b": 0.08}))
    assert found.call is Call.HARMFUL
    assert "it harms errors" in found.reason
    assert found.arms[0].guardrails[0].difference == pytest.approx(0.06, abs=0.02)


def test_a_split_that_is_not_as_assigned_makes_all_else_worthless() -> None:
    found = observed(np.random.default_rng(5), 7, {"a": 0.1, "b": 0.2}, weights={"a": 1.0, "b": 1.2})
    outcome = asked(found)
    assert outcome.call is Call.MISMATCH
    assert "b 50.1% of 54.5%" in outcome.reason
    assert outcome.mismatch < 0.001


def test_one_of_three_wins() -> None:
    found = asked(observed(np.random.default_rng(6), 14, {"a": 0.1, "b": 0.1, "c": 0.2}, units=2_000))
    assert {arm.name: arm.call for arm in found.arms} == {"b": Call.RUNNING, "c": Call.WINNER}
    assert found.call is Call.WINNER
    assert found.reason.startswith("c:")


def test_means_are_goals_too() -> None:
    found = asked(observed(np.random.default_rng(7), 14, {"a": 0.1, "b": 0.13}, goal=SPENT))
    assert found.call is Call.WINNER
    assert found.arms[0].effect.difference == pytest.approx(3, abs=1)
    worse = asked(
        observed(np.random.default_rng(8), 14, {"a": 0.13, "b": 0.1}, goal=SPENT.model_copy(update={"better": "lower"}))
    )
    assert worse.call is Call.WINNER


def test_nobody_exposed_is_no_winner() -> None:
    empty = observed(np.random.default_rng(9), 1, {"a": 0.1, "b": 0.1}).model_copy(update={"periods": ()})
    assert asked(empty, 8).call is Call.RUNNING
    assert asked(empty, 30).call is Call.INCONCLUSIVE


def test_asked_every_day_of_four_weeks_equal_arms_have_few_winners() -> None:
    rng = np.random.default_rng(10)
    rules = RULES.model_copy(update={"shortest": timedelta(0)})
    # What was once claimed stays so: the last look tells of all.
    calls = [judge(rules, observed(rng, 28, {"a": 0.1, "b": 0.1}, guardrails=()), START + 28 * DAY).call for _ in range(300)]
    assert sum(call in (Call.WINNER, Call.LOSER) for call in calls) / 300 <= 0.05


@given(seed=st.integers(0, 1_000), rate=st.sampled_from([0.05, 0.1, 0.3]), other=st.sampled_from([0.05, 0.1, 0.3]))
@settings(max_examples=20, deadline=None)
def test_what_is_better_one_way_is_worse_the_other_way(seed: int, rate: float, other: float) -> None:
    one_way = observed(np.random.default_rng(seed), 7, {"a": rate, "b": other}, guardrails=())
    turned = one_way.model_copy(update={"goal": BUYS.model_copy(update={"better": "lower"})})
    mirror = {Call.WINNER: Call.LOSER, Call.LOSER: Call.WINNER}
    call = asked(one_way).call
    assert asked(turned).call is mirror.get(call, call)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"control": "z"}, "the control and at least one"),
        ({"weights": {"a": 1.0}}, "at least one treatment"),
        ({"weights": {"a": 1.0, "c": 1.0}}, "no weight is known for b"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        observed(np.random.default_rng(11), 1, {"a": 0.1, "b": 0.1}, **change)
    with pytest.raises(ValidationError, match="more than units"):
        Exposed(units=1, hits={"buys": 2})
    with pytest.raises(ValidationError, match="at least as long"):
        Experiments(shortest=timedelta(days=8), longest=timedelta(days=7))
