"""From what the store counts to what is judged."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from agents.actions import Promote, StartExperiment, WorldState
from agents.experiment_facts import Goal
from agents.experiment_looks import harmful, lasts, observed, rules_of, take, told, winner
from agents.experiment_plans import Plan, Treatment
from agents.experiments import Call
from agents.promotion_rules import Experiments
from agents.proposals import fingerprint
from tests.unit.rollouts.streams import START
from tools.predictions.port import Exposed, Exposures, Values
from tools.values import Window

HOUR = timedelta(hours=1)
WRONG = Goal(name="wrong", kind="share", better="lower", margin=0.05)
ERRORS = Goal(name="errors", kind="share", better="lower", margin=0.05)
SLOW = Goal(name="slow", kind="share", better="lower", margin=0.05)
LATENCY = Goal(name="latency_ms", kind="mean", better="lower", margin=0.1)
RULES = Experiments(look_every=HOUR, shortest=3 * HOUR, longest=24 * HOUR, min_units=100)


def trying(**plan: Any) -> StartExperiment:
    given = {"treatments": (Treatment(version="2", weight=50),), "goal": WRONG, "guardrails": (ERRORS,)}
    return StartExperiment(model="flights", from_version="1", plan=Plan(**{**given, **plan}), rules=RULES)


def exposed(hour: int, version: str, entities: int = 500, **counts: Any) -> Exposed:
    given = {"failed": 0, "slow": None, "labelled": entities, "wrong": entities // 5}
    sums = Values(count=entities, total=40.0 * entities, squares=1_700.0 * entities)
    return Exposed(start=START + hour * HOUR, version=version, entities=entities, latency_ms=sums, **{**given, **counts})


def counted(hours: int, *, mixed: int = 0, one: dict[str, Any] | None = None, two: dict[str, Any] | None = None) -> Exposures:
    steps = [each for hour in range(hours) for each in (exposed(hour, "1", **(one or {})), exposed(hour, "2", **(two or {})))]
    return Exposures(steps=tuple(steps), mixed=mixed, anonymous=12)


def until(hours: float) -> Window:
    return Window(start=START, end=START + hours * HOUR)


def test_labels_that_have_not_had_their_time_are_left_out_and_all_else_is_not() -> None:
    seen = observed(trying(outcomes_after=2 * HOUR, guardrails=(ERRORS, LATENCY)), counted(4), until(4))
    assert [sorted(each["2"].hits) for each in seen.periods] == [["errors", "wrong"]] * 2 + [["errors"]] * 2
    assert all(each["1"].values["latency_ms"].count == 500 for each in seen.periods)
    assert seen.weights == {"1": 50.0, "2": 50.0}


def test_of_whom_no_label_has_come_it_is_not_known_whether_the_answer_was_right() -> None:
    seen = observed(trying(), counted(1, two={"labelled": 300, "wrong": 30}), until(1))
    arm = seen.periods[0]["2"]
    assert (arm.units, arm.of("wrong"), arm.of("errors"), arm.hits["wrong"]) == (500, 300, 500, 30)


def test_labels_that_come_for_one_arm_more_than_for_the_other_claim_nothing() -> None:
    better = {"wrong": 10}
    assert take(trying(), counted(4, two=better), until(4), until(4).end).outcome.call is Call.WINNER
    look = take(trying(), counted(4, two={**better, "labelled": 300}), until(4), until(4).end)
    assert (look.outcome.call, look.outcome.arms[0].effect.difference) == (Call.RUNNING, None)


def test_what_harms_and_who_wins_are_told_apart_by_arm() -> None:
    won = take(trying(), counted(4, two={"wrong": 10}), until(4), until(4).end)
    assert (harmful(won), winner(won).name if winner(won) else None) == ((), "2")  # type: ignore[union-attr]
    harms = take(trying(), counted(3, two={"failed": 200}), until(3), until(3).end)
    assert [each.name for each in harmful(harms)] == ["2"]
    assert winner(harms) is None
    said = told(harms)
    assert "it harms errors" in said
    assert "version 1 1,500, version 2 1,500" in said


@pytest.mark.parametrize(("mixed", "call"), [(10, Call.RUNNING), (60, Call.MISMATCH)])
def test_more_than_a_few_entities_in_two_arms_are_a_fault(mixed: int, call: Call) -> None:
    look = take(trying(), counted(2, mixed=mixed), until(2), until(2).end)
    assert (look.outcome.call, look.mixed) == (call, mixed)


def test_slow_and_mean_latency_are_measured_too() -> None:
    plan = {"goal": LATENCY, "guardrails": (SLOW,), "slow_ms": 250.0}
    look = take(trying(**plan), counted(4, one={"slow": 5}, two={"slow": 250}), until(4), until(4).end)
    assert [each.name for each in harmful(look)] == ["2"]
    assert look.outcome.arms[0].effect.difference == 0


REVENUE = Goal(name="revenue", kind="mean", better="higher", margin=0.1)
BOUGHT = Goal(name="orders", kind="share", better="higher", margin=0.05)


def test_what_entities_bring_is_judged_once_their_time_is_over() -> None:
    """Of 500 a hundred bring ten; with version 2 two hundred do."""

    def brought(count: int) -> dict[str, Any]:
        values = {"revenue": Values(count=count, total=10.0 * count, squares=100.0 * count), "orders": Values()}
        return {"values": values, "positive": {"revenue": count, "orders": count}}

    plan = {"goal": REVENUE, "guardrails": (BOUGHT,), "outcomes_after": 2 * HOUR}
    assert trying(**plan).plan.metrics == ("revenue", "orders")
    found = counted(6, one=brought(100), two=brought(200))
    seen = observed(trying(**plan), found, until(6))
    assert [sorted(each["2"].values) for each in seen.periods] == [["revenue"]] * 4 + [[]] * 2
    assert seen.periods[0]["2"].values["revenue"].count == 500
    assert seen.periods[0]["2"].hits == {"orders": 200}
    look = take(trying(**plan), found, until(6), until(6).end)
    assert look.outcome.call is Call.WINNER
    effect = look.outcome.arms[0].effect
    assert (effect.treatment, effect.control) == (4.0, 2.0)
    harms = take(trying(**plan), counted(6, one=brought(200), two=brought(100)), until(6), until(6).end)
    assert [each.name for each in harmful(harms)] == ["2"]


def test_what_was_asked_for_stands_beside_what_policy_says() -> None:
    assert rules_of(trying()) == RULES
    assert rules_of(trying(longest=2 * HOUR)).shortest == 2 * HOUR
    assert rules_of(trying(shortest=30 * HOUR)).longest == 24 * HOUR
    assert rules_of(trying(shortest=30 * HOUR)).shortest == 24 * HOUR


def test_only_whole_steps_are_looked_at() -> None:
    assert lasts(until(0.5), HOUR) is None
    assert lasts(until(2.5), HOUR) == until(2)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"treatments": (Treatment(version="2", weight=60), Treatment(version="3", weight=40))}, "nothing for the control"),
        ({"treatments": (Treatment(version="2", weight=6), Treatment(version="2", weight=4))}, "in one arm only"),
        ({"guardrails": (WRONG,)}, "not at the goal again"),
        ({"guardrails": (SLOW,)}, "slow_ms: say from which time"),
        ({"goal": WRONG.model_copy(update={"name": "smiles"})}, "outcomes_after: say for how long smiles"),
        ({"guardrails": (ERRORS.model_copy(update={"better": "higher"}),)}, r"guardrails\[0\].better"),
        ({"goal": WRONG.model_copy(update={"kind": "mean"})}, "goal.kind: wrong is a share"),
        ({"shortest": 3 * HOUR, "longest": 2 * HOUR}, "longest"),
        ({"treatments": (Treatment(version="1", weight=60),)}, "the champion is the control"),
    ],
)
def test_what_makes_no_experiment_is_refused(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        trying(**change)


def test_a_promotion_beside_nobody_keeps_its_fingerprint() -> None:
    """Approvals of the release before hold."""
    state = WorldState(champion="1")
    plain = Promote(model="flights", from_version="1", version="2")
    assert "beside" not in plain.model_dump(exclude_defaults=True)
    other = plain.model_copy(update={"beside": ("3",)})
    assert fingerprint(plain, state) != fingerprint(other, state)
    assert fingerprint(plain, state) == "d3eae5b0db30e5e5ebd090a63814e7becd60a877df2d007b6835282b5ee1a51d"
