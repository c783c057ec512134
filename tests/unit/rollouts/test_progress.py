"""How far a rollout is: laws, and the same lengths as those that decide."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.promotion_rules import Guardrails, Rollouts, Stage
from agents.rollout_facts import Progress
from agents.rollout_progress import RolloutProgress, progress_of
from agents.rollouts import Choice, decide

BEGUN = datetime(2026, 3, 2, tzinfo=UTC)
RULES = Rollouts()


def after(passed: timedelta, stage: int = 0, rules: Rollouts = RULES, **more: Any) -> RolloutProgress:
    given_ = {"status": "running", "reason": "", "choice": None, "ordered": None, **more}
    return progress_of(rules.stages, rules, stage=stage, since=BEGUN, now=BEGUN + passed, **given_)


def test_it_says_where_it_is_and_what_it_waits_for() -> None:
    found = after(timedelta(minutes=12))
    assert (found.stage, found.stages, found.weight) == (1, 3, 0.1)
    assert (found.fraction, found.eta_seconds) == (round(12 / 180, 4), 168 * 60)
    assert found.waits_for == "the time of its stage: 48 min more"
    assert after(timedelta(minutes=30), 1).fraction == 0.5


@pytest.mark.parametrize(
    ("standing", "eta", "waits"),
    [
        ({"choice": Choice.EXTEND, "reason": "Not clear yet: errors."}, 7200, "certainty: Not clear yet: errors."),
        ({"choice": Choice.HOLD}, 7200, "its next look"),
        ({"choice": Choice.ASK, "reason": "Still not clear."}, None, "a person to decide: Still not clear."),
        ({"status": "paused"}, None, "a person to resume it"),
        ({"ordered": "pause"}, None, "a person to resume it"),
        ({"ordered": "abort"}, None, "the champion to get all traffic back, as it was ordered"),
        ({"status": "taken_back"}, None, ""),
        ({"status": "promoted"}, None, ""),
    ],
)
def test_what_has_no_time_has_no_eta(standing: dict[str, Any], eta: float | None, waits: str) -> None:
    found = after(timedelta(hours=1), **standing)
    assert (found.eta_seconds, found.waits_for) == (eta, waits)
    assert found.fraction == (1.0 if standing.get("status") == "promoted" else round(1 / 3, 4))


@given(st.integers(0, 2), st.integers(0, 20_000), st.integers(0, 20_000))
def test_time_only_brings_it_on(stage: int, sooner: int, later: int) -> None:
    first, second = (after(timedelta(seconds=each), stage) for each in sorted((sooner, later)))
    assert first.fraction <= second.fraction <= 1
    assert first.eta_seconds is not None
    assert second.eta_seconds is not None
    assert 0 <= second.eta_seconds <= first.eta_seconds


@pytest.mark.parametrize("accuracy", [0.01, None])
@pytest.mark.parametrize("delay", [timedelta(0), timedelta(minutes=20)])
def test_a_stage_is_as_long_as_the_one_that_is_decided(accuracy: float | None, delay: timedelta) -> None:
    rules = RULES.model_copy(update={"label_delay": delay, "guardrails": Guardrails(accuracy=accuracy)})
    left = after(timedelta(0), rules=rules).eta_seconds
    assert left is not None
    due = timedelta(seconds=left) - (timedelta(hours=2) + (delay if accuracy else timedelta(0)))
    for at, choice in ((due - timedelta(seconds=1), Choice.HOLD), (due, Choice.EXTEND)):
        progress = Progress(started=(BEGUN,), periods=())
        assert decide(rules, progress, BEGUN + at).choice is choice


def test_a_stage_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="stage"):
        after(timedelta(0), 3)


def test_stages_without_time_are_counted() -> None:
    none = (Stage(weight=0.5), Stage(weight=1.0))
    found = progress_of(none, RULES, stage=1, since=BEGUN, now=BEGUN, status="running", reason="", choice=None, ordered=None)
    assert (found.fraction, found.eta_seconds) == (0.5, 0)
