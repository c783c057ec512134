"""Has it helped? Measured on the traffic since, and on enough of it."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import NoAction, Notify, Rollback, Scale
from agents.evidence import Finding
from agents.incident.observations import Observations
from agents.policies import Policies, Slo
from agents.proposals import Receipt
from agents.verification import Status, Verification, verify
from tests.unit.agents.proposed import FINDING, NO_ACTION, NOTIFY, ROLLBACK, SCALE, proposal, state_of
from tests.unit.agents.worlds import NOW, World
from tools.predictions.port import VersionWindow

POLICIES = Policies(slo=Slo(min_accuracy=0.8))
PROMISED_NOTHING = Policies(slo=Slo(min_accuracy=None))
SLOW_FINDING = FINDING.model_copy(
    update={"hypotheses": (FINDING.hypotheses[0].model_copy(update={"supporting": ("latency.v2.now-v1.now",)}),)}
)
"""Blames latency, not wrong answers."""


def looked_at(
    world: World,
    after: timedelta = timedelta(hours=6),
    action: Rollback | Scale | Notify | NoAction = ROLLBACK,
    policies: Policies = POLICIES,
    finding: Finding = FINDING,
) -> Verification:
    return verified(world.observed(), after, action, policies, finding)


def verified(
    observations: Observations,
    after: timedelta = timedelta(hours=6),
    action: Rollback | Scale | Notify | NoAction = ROLLBACK,
    policies: Policies = POLICIES,
    finding: Finding = FINDING,
) -> Verification:
    state = state_of(action)
    done: datetime = NOW - after
    receipt = Receipt(key="run_1/1", action=action, before=state, after=state, undo=None, started_at=done, finished_at=done)
    return verify(proposal(action, finding=finding), receipt, observations, policies, NOW)


def rolled_back(**since: float) -> World:
    """Version 1 answers again; version 2 had led to it."""
    return World().silent("1", "before").answers("2", "before", accuracy=0.7).answers("1", "now", **since)


def test_a_rollback_holds_when_promises_are_kept_again() -> None:
    verification = looked_at(rolled_back())
    assert verification.status is Status.HOLDS
    accuracy, before = verification.measure("accuracy"), verification.measure("accuracy_before")
    assert accuracy is not None
    assert before is not None
    assert (accuracy.value, accuracy.limit, accuracy.ok, accuracy.sample_size) == (0.85, 0.8, True, 1_200)
    assert before.value == 0.7
    assert verification.reason == (
        "On version 1, error rate 0.1% (2000 samples), latency p99 40 ms (2000 samples), accuracy 85.0% (1200 samples); "
        "version 2: accuracy before 70.0% (1200 samples)."
    )


def test_labels_are_waited_for() -> None:
    verification = looked_at(rolled_back(coverage=0.02))
    assert verification.status is Status.WAITING
    assert verification.reason == "Waiting: 40 of 100 labels have come."


def test_traffic_is_waited_for() -> None:
    verification = looked_at(rolled_back(count=20))
    assert verification.status is Status.WAITING
    assert "20 of 50 predictions have come" in verification.reason
    assert looked_at(rolled_back().silent("1", "now")).status is Status.WAITING


def test_a_change_is_given_time_to_settle_and_to_hold() -> None:
    verification = looked_at(rolled_back(), after=timedelta(minutes=20))
    assert verification.status is Status.WAITING
    assert "20 min of 35 min have passed" in verification.reason


@pytest.mark.parametrize(
    ("since", "why"),
    [
        ({"p99_ms": 900.0}, "latency p99 900 ms (2000 samples) is not within 250 ms"),
        ({"errors": 0.1}, "error rate 10.0% (2000 samples) is not within 1.0%"),
        ({"coverage": 0.02}, "40 of 100 labels have come"),
    ],
)
def test_what_is_not_confirmed_by_the_deadline_has_failed(since: dict[str, float], why: str) -> None:
    assert looked_at(rolled_back(**since)).status is Status.WAITING
    verification = looked_at(rolled_back(**since), after=timedelta(hours=24))
    assert verification.status is Status.FAILED
    assert verification.reason == f"Not confirmed within 24 h: {why}."


def test_accuracy_that_is_certainly_too_low_is_not_waited_for() -> None:
    verification = looked_at(rolled_back(accuracy=0.7), after=timedelta(hours=1))
    assert verification.status is Status.FAILED
    assert "below the promised 80.0% beyond chance" in verification.reason


def test_accuracy_that_is_perhaps_too_low_is_waited_for() -> None:
    assert looked_at(rolled_back(accuracy=0.79)).status is Status.WAITING


def test_without_a_promise_it_has_to_be_better_than_what_it_replaced() -> None:
    better, worse = rolled_back(accuracy=0.75), rolled_back(accuracy=0.6)
    assert looked_at(better, policies=PROMISED_NOTHING).status is Status.HOLDS
    verification = looked_at(worse, policies=PROMISED_NOTHING)
    assert verification.status is Status.FAILED
    assert "it got worse" in verification.reason


def test_without_labels_or_a_promise_operations_are_all_there_is() -> None:
    world = rolled_back(coverage=0.0).answers("2", "before", coverage=0.0)
    assert looked_at(world, policies=PROMISED_NOTHING).status is Status.HOLDS


def test_a_version_that_was_slow_may_have_been_the_more_accurate_one() -> None:
    world = rolled_back(accuracy=0.85).answers("2", "before", accuracy=0.9)
    assert looked_at(world, finding=SLOW_FINDING).status is Status.HOLDS
    assert looked_at(world).status is Status.FAILED


def of_numbers(window: VersionWindow, error: float) -> VersionWindow:
    """The same traffic, of a model that predicts a number."""
    return window.model_copy(update={"correct": None, "outputs": {}, "labels": {}, "mean_absolute_error": error})


@pytest.mark.parametrize(("error", "status"), [(2.0, Status.HOLDS), (4.0, Status.WAITING)])
def test_a_model_of_numbers_has_to_be_less_wrong(error: float, status: Status) -> None:
    seen = rolled_back().observed()
    now = seen.now.model_copy(update={"versions": tuple(of_numbers(each, error) for each in seen.now.versions)})
    before = seen.before.model_copy(update={"versions": tuple(of_numbers(each, 3.0) for each in seen.before.versions)})
    seen = seen.model_copy(update={"now": now, "before": before})
    verification = verified(seen, policies=PROMISED_NOTHING)
    assert verification.status is status
    assert "mean absolute error" in verification.reason


def test_a_champion_that_was_moved_by_somebody_else_has_failed() -> None:
    verification = looked_at(replace(rolled_back(), champion="3"))
    assert verification.status is Status.FAILED
    assert verification.reason == "The champion is version 3 by now, not 1."


def scaled(**since: float) -> World:
    return World().answers("1", "now", **since).busy(0.5, workers=4)


def test_scaling_holds_when_there_is_room_again() -> None:
    verification = looked_at(scaled(), action=SCALE)
    assert verification.status is Status.HOLDS
    assert "utilisation 50.0%" in verification.reason


def test_scaling_that_did_not_help_waits_and_then_fails() -> None:
    full = scaled().busy(0.95, workers=4)
    assert looked_at(full, action=SCALE).status is Status.WAITING
    verification = looked_at(full, action=SCALE, after=timedelta(hours=25))
    assert verification.status is Status.FAILED
    assert "utilisation 95.0% is not within 85.0%" in verification.reason
    assert looked_at(scaled(p99_ms=800), action=SCALE).status is Status.WAITING


def test_workers_that_somebody_else_changed_have_failed() -> None:
    assert looked_at(scaled().busy(0.5, workers=3), action=SCALE).status is Status.FAILED


@pytest.mark.parametrize("action", [NOTIFY, NO_ACTION])
def test_what_changed_nothing_holds(action: Notify | NoAction) -> None:
    assert looked_at(World(), action=action).status is Status.HOLDS


@given(
    accuracy=st.floats(0, 1),
    coverage=st.floats(0, 1),
    errors=st.floats(0, 1),
    count=st.integers(0, 3_000),
    p99_ms=st.floats(1, 5_000),
    hours=st.floats(0, 48),
)
def test_every_look_ends_in_one_status_and_none_waits_beyond_the_deadline(
    accuracy: float, coverage: float, errors: float, count: int, p99_ms: float, hours: float
) -> None:
    world = rolled_back(accuracy=accuracy, coverage=coverage, errors=errors, count=count, p99_ms=p99_ms)
    verification = looked_at(world, after=timedelta(hours=hours))
    assert Verification.model_validate_json(verification.model_dump_json()) == verification
    if hours >= 24:
        assert verification.status is not Status.WAITING
    if verification.status is Status.HOLDS:
        kept = {each.name: each.ok for each in verification.measures}
        assert kept["accuracy"] is kept["error_rate"] is kept["latency_p99"] is True
