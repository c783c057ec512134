"""What the copies of a shadow in INT8 add to what its guardrails say."""

from datetime import UTC, datetime, timedelta

import pytest

from agents.cost.quantization import Decision as Verdict
from agents.cost.quantization_rules import Margins, QuantizationRules
from agents.cost.quantization_traffic import OnTraffic
from agents.cost.shadowing import is_weighed, joined, look_at
from agents.promotion_rules import Stage
from agents.rollouts import Choice, Decision

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
SHADOW = Stage(weight=0, hold=HOUR / 2)
MARGINS = Margins()


def decided(choice: Choice, *, asks_in: timedelta = HOUR) -> Decision:
    return Decision(choice=choice, reason="the guardrails said so.", stage=0, asks_at=NOW + asks_in, at=NOW)


def told(decision: Verdict) -> OnTraffic:
    return OnTraffic(decision=decision, reason="the copies said so.", weighed=())


@pytest.mark.parametrize(
    ("guards", "verdict", "choice"),
    [
        (Choice.ADVANCE, Verdict.PAYS, Choice.ADVANCE),
        (Choice.ADVANCE, Verdict.INCONCLUSIVE, Choice.EXTEND),
        (Choice.ADVANCE, Verdict.DOES_NOT_PAY, Choice.ROLLBACK),
        (Choice.EXTEND, Verdict.PAYS, Choice.EXTEND),
        (Choice.EXTEND, Verdict.INCONCLUSIVE, Choice.EXTEND),
        (Choice.EXTEND, Verdict.DOES_NOT_PAY, Choice.ROLLBACK),
        (Choice.ASK, Verdict.PAYS, Choice.ASK),
        (Choice.ASK, Verdict.INCONCLUSIVE, Choice.ASK),
        (Choice.ASK, Verdict.DOES_NOT_PAY, Choice.ROLLBACK),
    ],
)
def test_it_goes_on_where_both_say_so(guards: Choice, verdict: Verdict, choice: Choice) -> None:
    found = joined(decided(guards), told(verdict))
    assert found.choice is choice
    assert "the copies said so." in found.reason


def test_what_stays_unclear_when_its_time_is_over_is_asked_about() -> None:
    assert joined(decided(Choice.ADVANCE, asks_in=timedelta(0)), told(Verdict.INCONCLUSIVE)).choice is Choice.ASK


def test_only_a_shadow_whose_time_is_up_is_weighed() -> None:
    weighed = {choice for choice in Choice if is_weighed(SHADOW, decided(choice))}
    assert weighed == {Choice.ADVANCE, Choice.EXTEND, Choice.ASK}
    assert not is_weighed(Stage(weight=0.1, hold=HOUR), decided(Choice.ADVANCE))


def test_between_doublings_the_same_copies_are_looked_at_and_all_looks_together_have_the_level_of_policy() -> None:
    looks = [look_at(SHADOW, NOW - minutes * timedelta(minutes=1), NOW, MARGINS) for minutes in (30, 31, 59, 60, 119, 120, 500)]
    lengths = [window.length / timedelta(minutes=1) for window, _ in looks]
    assert lengths == [30, 30, 30, 60, 60, 120, 480]
    levels = {window.length: margins.significance for window, margins in looks}
    assert levels[HOUR / 2] == MARGINS.significance / 2
    assert sum(levels.values()) < MARGINS.significance


def test_a_shadow_that_an_edit_has_hold_for_no_time_is_weighed_on_what_there_is() -> None:
    window, _ = look_at(Stage(weight=0), NOW - HOUR, NOW, MARGINS)
    assert (window.start, window.length) == (NOW - HOUR, timedelta(minutes=32))


def test_its_margins_are_those_of_the_policy() -> None:
    rules = QuantizationRules(max_disagreement=0.3, min_saving=0.2)
    assert rules.margins == Margins(max_disagreement=0.3, min_saving=0.2)


def test_requests_are_copied_in_whole_percents() -> None:
    with pytest.raises(ValueError, match="mirror"):
        QuantizationRules(mirror=0.125)
