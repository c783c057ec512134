"""What monitors say of a window, and when that is raised and taken back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents import monitoring
from agents.drift.causes import DriftFinding
from agents.drift.performance import perform
from agents.drift.verdicts import Cause, Comparison
from agents.monitoring import Check, Standing, advance
from agents.policies import Policies, Slo
from tools.predictions.port import VersionWindow, Volume
from tools.values import Window

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
SLO = Slo(min_accuracy=0.8, max_error_rate=0.01, max_latency_p99_ms=250)


def check(bad: bool | None) -> Check:
    return Check(monitor="drift", bad=bad, summary="so")


def told(said: list[bool | None], in_a_row: int = 3) -> list[tuple[int, str]]:
    """Window and what was raised at it."""
    standing, found = Standing(), []
    for place, bad in enumerate(said):
        step = advance(standing, check(bad), START + place * HOUR, in_a_row)
        standing = step.standing
        if step.alert is not None:
            found.append((place, step.alert))
    return found


def test_one_odd_window_raises_nothing() -> None:
    assert told([True, False, True, True, False, True]) == []


def test_so_many_in_a_row_raise_it_once_and_as_many_take_it_back() -> None:
    assert told([True, True, True, True, False, False, True, False, False, False, False]) == [(2, "firing"), (9, "resolved")]


def test_what_cannot_be_told_neither_counts_nor_breaks_the_row() -> None:
    assert told([True, None, True, None, True]) == [(4, "firing")]


def found(cause: Cause) -> DriftFinding:
    nothing = Comparison(dataset_drift=False, drifted_share=0, cause=cause, reason="so", features=())
    return DriftFinding(cause=cause, reason="so", considered=(), features=nothing, answers=nothing, performance=perform((), ()))


def test_a_fault_of_the_data_does_not_take_drift_back_that_nobody_saw_end() -> None:
    causes: list[Cause] = ["covariate_drift"] * 4 + ["data_quality"] * 4 + ["covariate_drift"] * 4
    assert told([monitoring.drift(found(cause)).bad for cause in causes]) == [(2, "firing")]
    assert told([monitoring.data_quality(found(cause)).bad for cause in causes]) == [(6, "firing"), (10, "resolved")]


@given(st.lists(st.sampled_from([True, False, None]), max_size=60), st.integers(1, 5))
def test_what_is_raised_is_taken_back_before_it_is_raised_again(said: list[bool | None], in_a_row: int) -> None:
    states = [state for _, state in told(said, in_a_row)]
    assert states == [("firing", "resolved")[place % 2] for place in range(len(states))]


def test_a_resolved_alert_is_the_one_that_fired() -> None:
    standing = Standing(streak=-2, raised_at=START)
    step = advance(standing, check(False), START + 9 * HOUR, 3)
    assert (step.alert, step.raised_at, step.standing.raised_at) == ("resolved", START, None)


@pytest.mark.parametrize(
    ("since", "now", "again"),
    [(1, 2, False), (23, 24, True), (24, 25, False), (2, 60, True), (47, 48, True), (0, 23, False)],
)
def test_what_is_still_bad_is_raised_again_once_for_each_day_that_has_begun(since: int, now: int, again: bool) -> None:
    standing = Standing(streak=9, raised_at=START)
    step = advance(standing, check(True), START + now * HOUR, 3, since=START + since * HOUR, repeat=24 * HOUR)
    assert (step.alert, step.raised_at) == (("firing", START) if again else (None, None))
    assert step.standing == Standing(streak=10, raised_at=START)


@pytest.mark.parametrize("bad", [None, False])
def test_what_is_not_bad_any_more_is_not_raised_again(bad: bool | None) -> None:
    standing = Standing(streak=9, raised_at=START)
    step = advance(standing, check(bad), START + 24 * HOUR, 3, since=START + 23 * HOUR, repeat=24 * HOUR)
    assert step.alert is None


def version(**values: object) -> VersionWindow:
    usual = {
        "model": "loans",
        "version": "2",
        "window": Window(start=START, end=START + HOUR),
        "count": 1_000,
        "errors": 0,
        "latency_p50_ms": 10,
        "latency_p95_ms": 20,
        "latency_p99_ms": 30,
        "outputs": {"yes": 1_000},
        "mean_score": 0.5,
        "labelled": 0,
        "correct": None,
        "mean_absolute_error": None,
        "last_label_at": None,
    }
    return VersionWindow.model_validate(usual | values)


@pytest.mark.parametrize(
    ("values", "bad", "said"),
    [
        ({}, False, "kept"),
        ({"count": 3}, None, "Too little"),
        ({"errors": 40}, True, "fails 4.0% of 1,000 requests"),
        ({"errors": 12}, False, "kept"),
        ({"latency_p99_ms": 400}, True, "p99"),
        ({"labelled": 500, "correct": 300}, True, "right in 60.0% of 500"),
        ({"labelled": 500, "correct": 395}, False, "kept"),
        ({"labelled": 40, "correct": 1}, False, "kept"),
    ],
)
def test_performance_is_what_was_promised_beyond_chance(values: dict[str, object], bad: bool | None, said: str) -> None:
    found = monitoring.performance((version(**values),), SLO, Policies())
    assert (found.bad, said in found.summary) == (bad, True), found.summary


def test_without_traffic_performance_cannot_be_told() -> None:
    assert monitoring.performance((), SLO, Policies()).bad is None


@pytest.mark.parametrize(("before", "now", "bad"), [(10, 0, True), (10, 1, False), (0, 0, None), (0, 5, False)])
def test_traffic_that_stopped_is_what_had_been_there(before: int, now: int, bad: bool | None) -> None:
    volumes = [(Volume(start=START, count=count, errors=0),) for count in (before, now)]
    assert monitoring.freshness(volumes[0], volumes[1]).bad is bad
