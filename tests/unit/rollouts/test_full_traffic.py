"""A canary that has all the traffic, and nothing beside it."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.promotion_rules import Guardrails, Rollouts, Stage
from agents.rollout_facts import Counts, Period, Progress
from agents.rollouts import Choice, Decision, decide
from agents.sequential import fixed
from agents.sequential.answers import Answer, Terms, of_limit
from agents.sequential.capital import as_numbers
from tests.unit.rollouts.streams import MINUTE, START
from tools.values import Window

HOUR = timedelta(hours=1)
STARTED = (START, START + HOUR, START + 3 * HOUR)
HELD = Rollouts(
    stages=(Stage(weight=0.1, hold=HOUR), Stage(weight=0.5, hold=2 * HOUR), Stage(weight=1.0, hold=4 * HOUR)),
)
AT_ONCE = Rollouts()
FINE = Counts(predictions=500, failed=2, slow=5, labelled=498, wrong=20)
NOTHING = Counts(failed=0, slow=0, labelled=0, wrong=0)


def minutes(count: int, canary: Counts, control: Counts = NOTHING, after: int = 0) -> tuple[Period, ...]:
    return tuple(
        Period(window=Window(start=START + place * MINUTE, end=START + (place + 1) * MINUTE), canary=canary, control=control)
        for place in range(after, after + count)
    )


BEFORE = minutes(180, FINE, FINE)


def looked(rules: Rollouts, here: tuple[Period, ...], before: tuple[Period, ...] = BEFORE, at: int | None = None) -> Decision:
    progress = Progress(started=STARTED, periods=before + here)
    return decide(rules, progress, START + 3 * HOUR + (at or len(here)) * MINUTE)


def served(count: int, **bad: int) -> tuple[Period, ...]:
    own = FINE.model_copy(update={"predictions": 1_000, "failed": 4, "slow": 10, "labelled": 996, "wrong": 40, **bad})
    return minutes(count, Counts.model_validate(own.model_dump()), after=180)


def test_one_that_holds_is_promoted_when_its_time_is_up() -> None:
    assert looked(HELD, served(239)).choice is Choice.HOLD
    found = looked(HELD, served(240))
    assert found.choice is Choice.COMPLETE
    assert {each.guard: each.answer for each in found.judged} == dict.fromkeys(
        ("errors", "accuracy", "latency"), Answer.NOT_WORSE
    )
    assert looked(AT_ONCE, served(1)).choice is Choice.COMPLETE


@pytest.mark.parametrize("rules", [HELD, AT_ONCE])
@pytest.mark.parametrize(
    "bad",
    [
        {"failed": 1_000, "labelled": 0, "wrong": 0},
        {"failed": 1_000, "slow": 1_000, "labelled": 0, "wrong": 0},
        {"wrong": 996},
        {"slow": 1_000},
        {"failed": 60, "labelled": 900},
    ],
)
def test_one_that_fails_with_all_the_traffic_is_taken_back_at_the_first_look(rules: Rollouts, bad: dict[str, int]) -> None:
    found = looked(rules, served(1, **bad))
    assert found.choice is Choice.ROLLBACK
    assert "than the control was" in found.reason


def test_one_that_begins_to_fail_after_hours_is_taken_back_within_minutes() -> None:
    later = tuple(
        each.model_copy(update={"window": Window(start=each.window.start + 3 * HOUR, end=each.window.end + 3 * HOUR)})
        for each in served(3, failed=60, labelled=900)
    )
    found = looked(HELD, served(180) + later)
    assert found.choice is Choice.ROLLBACK
    assert "0.5% to" not in found.reason
    assert "6.0% from" in found.reason


def test_within_the_margin_of_what_the_control_was_it_is_promoted() -> None:
    assert looked(HELD, served(240, failed=8)).choice is Choice.COMPLETE


def test_what_lies_beyond_it_and_is_not_certain_keeps_it_from_being_promoted() -> None:
    few = Counts(predictions=120, failed=3, slow=1, labelled=117, wrong=4)
    found = looked(AT_ONCE, minutes(1, few, after=180))
    assert found.choice is Choice.EXTEND
    assert "errors" not in found.reason
    assert "failed 2.5% of the canary" in found.reason
    assert looked(AT_ONCE, minutes(1, few, after=180), at=240).choice is Choice.ASK


@pytest.mark.parametrize("rules", [HELD, AT_ONCE])
def test_without_traffic_nothing_is_promoted(rules: Rollouts) -> None:
    assert looked(rules, (), at=241).choice is (Choice.EXTEND if rules is HELD else Choice.ASK)
    assert looked(rules, (), at=481).choice is Choice.ASK
    assert looked(AT_ONCE, (), at=1).choice is Choice.EXTEND


def test_what_is_guarded_has_to_be_measured_here_too() -> None:
    unknown = minutes(1, Counts(predictions=1_000, failed=4, labelled=996, wrong=40), after=180)
    found = looked(AT_ONCE, unknown)
    assert found.choice is Choice.EXTEND
    assert "latency: nothing to judge" in found.reason


def test_labels_that_have_not_come_yet_are_not_waited_for() -> None:
    rules = AT_ONCE.model_copy(update={"label_delay": timedelta(days=3)})
    assert looked(rules, served(1, labelled=0, wrong=0)).choice is Choice.COMPLETE
    assert looked(AT_ONCE, served(1, labelled=100, wrong=90)).choice is Choice.COMPLETE, (
        "a tenth of the labels measures the labelling"
    )


@pytest.mark.parametrize("at", [1, 10, 240])
def test_late_labels_of_the_stages_before_take_it_back(at: int) -> None:
    wrong = FINE.model_copy(update={"wrong": 60})
    found = looked(HELD, served(at), minutes(60, FINE, FINE) + minutes(120, wrong, FINE, after=60))
    assert found.choice is Choice.ROLLBACK
    assert "stages before" in found.reason
    assert "accuracy" in {each.guard for each in found.judged if each.answer is Answer.WORSE}


def test_the_worst_stage_of_the_control_is_what_it_is_held_against() -> None:
    """The traffic of one hour is not that of another."""
    loud = FINE.model_copy(update={"failed": 15})
    before = minutes(60, loud, loud) + minutes(120, FINE, FINE, after=60)
    assert looked(HELD, served(240, failed=30), before).choice is Choice.COMPLETE
    assert looked(HELD, served(240, failed=30)).choice is Choice.ROLLBACK


def test_without_any_control_only_what_is_worse_than_anything_is_taken_back() -> None:
    """People let it go on without a comparison: its last stage is a rollout of its own."""
    rules = AT_ONCE.model_copy(update={"stages": (Stage(weight=1.0),)})

    def alone(here: tuple[Period, ...]) -> Choice:
        return decide(rules, Progress(started=(START,), periods=here), START + 10 * MINUTE).choice

    assert alone(minutes(10, FINE)) is Choice.COMPLETE
    assert alone(minutes(10, FINE.model_copy(update={"failed": 500, "labelled": 0, "wrong": 0}))) is Choice.ROLLBACK


def test_means_keep_from_nothing_what_has_passed_its_stages() -> None:
    rules = AT_ONCE.model_copy(update={"guardrails": Guardrails(accuracy=None, latency=None, cost=0.05)})
    assert looked(rules, served(1)).choice is Choice.COMPLETE


@given(limit=st.floats(1e-6, 0.999), beyond=st.floats(1e-4, 1), share=st.floats(0, 1), so_far=st.integers(0, 50))
def test_a_bet_against_a_limit_is_fair_below_it(limit: float, beyond: float, share: float, so_far: int) -> None:
    share *= limit
    made = [
        fixed.bets(as_numbers([so_far, 1]), as_numbers([so_far // 2, outcome]), limit, as_numbers([beyond]))[:, 0]
        for outcome in (0, 1)
    ]
    good, bad = (float(np.exp(each[1] - each[0])) for each in made)
    assert (1 - share) * good + share * bad <= 1 + 1e-9


def test_at_its_limit_exactly_it_is_taken_back_as_rarely_as_the_level_says() -> None:
    rng = np.random.default_rng(21)
    terms = Terms(margin=0.005, wrong_rollbacks=0.05, wrong_passes=0.05, least=100, late=0.5)
    found = of_limit(np.full((1_000, 240), 100), rng.binomial(100, 0.01, (1_000, 240)), 0.01, terms)
    assert found.worse.any(axis=1).mean() <= 0.05
    found = of_limit(np.full((200, 240), 100), rng.binomial(100, 0.03, (200, 240)), 0.01, replace(terms, wrong_rollbacks=0.001))
    assert found.worse[:, -1].mean() == 1


def test_the_limit_of_what_the_control_was_holds_as_often_as_it_says_whenever_one_stops() -> None:
    rng = np.random.default_rng(22)
    bad = np.cumsum(rng.binomial(100, 0.02, (200, 30)), axis=1)
    over = [[fixed.highest(100.0 * (place + 1), float(row[place]), 0.05) < 0.02 for place in range(0, 30, 3)] for row in bad]
    assert np.mean(np.any(over, axis=1)) <= 0.05
    assert fixed.highest(0, 0, 0.05) == 1.0
    assert 0.02 < fixed.highest(10_000, 200, 0.001) < 0.03
