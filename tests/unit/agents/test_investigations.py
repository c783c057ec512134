"""Investigations over worlds whose truth is known: is the cause named, and is the right thing recommended?"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import NoAction, Notify, Rollback, Scale
from agents.evidence import Cause, Hypothesis
from agents.incident.assess import assess
from agents.incident.observations import Reading
from agents.incident.recommend import recommend
from agents.policies import Policies, Slo
from tests.unit.agents.worlds import BEFORE_WINDOW, NOW, SHIFTED, World, alert

POLICIES = Policies(slo=Slo(min_accuracy=0.8))


def after_release(**new: float) -> World:
    """Version 2 took over four hours ago; version 1 answered the first two hours of the window."""
    return World().answers("1", "now", count=700).rolled_out().answers("2", "now", count=1_300, **new)


def all_at_once(**new: float) -> World:
    """Version 2 took over before the window: the two never met the same hours."""
    return World().silent("1", "now").answers("1", "preceding").rolled_out(hours_ago=7).answers("2", "now", **new)


def slow(world: World, p99_ms: float = 400) -> World:
    return world.every_version_now(p99_ms=p99_ms)


def moved(world: World) -> World:
    return world.feature("distance", shares=SHIFTED).feature("wind", shares=SHIFTED)


def labels_take_hours(world: World) -> World:
    return world.answers("1", "before", last_label=BEFORE_WINDOW.end + timedelta(hours=7))


Truth = tuple[str, Callable[[], World], Cause, type]

TRUTHS: list[Truth] = [
    (
        "a release is less accurate than the version it met",
        lambda: after_release(accuracy=0.72),
        Cause.MODEL_REGRESSION,
        Rollback,
    ),
    (
        "a release loses one carrier",
        lambda: after_release(accuracy=0.78).sliced("1", "now", UA=0.86, B6=0.85).sliced("2", "now", UA=0.86, B6=0.55),
        Cause.MODEL_REGRESSION,
        Rollback,
    ),
    ("a release at one stroke is less accurate", lambda: all_at_once(accuracy=0.72), Cause.MODEL_REGRESSION, Rollback),
    ("a release guesses", lambda: after_release(accuracy=0.5), Cause.MODEL_REGRESSION, Rollback),
    ("a release guesses at one stroke", lambda: all_at_once(accuracy=0.55), Cause.MODEL_REGRESSION, Rollback),
    (
        "labels of one class make a release look bad",
        lambda: after_release(accuracy=0.6, labels_late=0.0).answers("1", "now", accuracy=0.7, labels_late=0.0),
        Cause.LABELS,
        Notify,
    ),
    ("a release fails requests", lambda: after_release(errors=0.08), Cause.MODEL_REGRESSION, Rollback),
    ("a release is slow", lambda: after_release(p99_ms=400), Cause.MODEL_REGRESSION, Rollback),
    ("a release is worse on inputs that moved", lambda: moved(after_release(accuracy=0.70)), Cause.MODEL_REGRESSION, Rollback),
    (
        "a release had no version before it",
        lambda: World().silent("1", "before").rolled_out(previous=None, new="1").every_version_now(accuracy=0.6),
        Cause.UNRESOLVED,
        Notify,
    ),
    (
        "inputs moved and a release just before is a red herring",
        lambda: moved(after_release(accuracy=0.72)).answers("1", "now", accuracy=0.72),
        Cause.DATA_DRIFT,
        Notify,
    ),
    ("inputs moved and accuracy fell", lambda: moved(World().every_version_now(accuracy=0.75)), Cause.DATA_DRIFT, Notify),
    (
        "inputs moved, and accuracy is not known yet",
        lambda: moved(labels_take_hours(World()).every_version_now(coverage=0.0)),
        Cause.DATA_DRIFT,
        Notify,
    ),
    ("inputs moved and the model copes", lambda: moved(World()), Cause.DATA_DRIFT, Notify),
    ("the same inputs mean something else now", lambda: World().every_version_now(accuracy=0.70), Cause.DATA_DRIFT, Notify),
    (
        "a feature is half null",
        lambda: World().feature("wind", nulls=0.5).every_version_now(accuracy=0.78),
        Cause.DATA_QUALITY,
        Notify,
    ),
    (
        "a feature is stuck",
        lambda: World().feature("wind", shares=(1.0, *(0.0,) * 9), low=0.0, high=0.0),
        Cause.DATA_QUALITY,
        Notify,
    ),
    (
        "a feature changed its unit",
        lambda: World().feature("distance", shares=(*(0.0,) * 9, 1.0), low=0.0, high=100_000.0),
        Cause.DATA_QUALITY,
        Notify,
    ),
    ("a carrier never seen", lambda: World().feature("carrier", shares=(0.4, 0.2, 0.1, 0.3)), Cause.DATA_QUALITY, Notify),
    (
        "a feature is null though a release just went out",
        lambda: after_release(accuracy=0.76).answers("1", "now", accuracy=0.76).feature("wind", nulls=0.6),
        Cause.DATA_QUALITY,
        Notify,
    ),
    ("workers are saturated", lambda: slow(World()).busy(0.97), Cause.INFRASTRUCTURE, Scale),
    ("a slow network", lambda: slow(World()), Cause.INFRASTRUCTURE, Notify),
    (
        "every version fails after a release",
        lambda: after_release(errors=0.1).answers("1", "now", errors=0.1),
        Cause.INFRASTRUCTURE,
        Notify,
    ),
    ("all workers that are allowed are saturated", lambda: slow(World()).busy(0.97, workers=8), Cause.INFRASTRUCTURE, Notify),
    ("three times the traffic", lambda: World().every_version_now(count=6_000), Cause.TRAFFIC_CHANGE, Notify),
    (
        "a release is worse while far more traffic comes",
        lambda: after_release(accuracy=0.77).every_version_now(count=90_000),
        Cause.MODEL_REGRESSION,
        Rollback,
    ),
    ("hardly any traffic", lambda: World().every_version_now(count=300), Cause.TRAFFIC_CHANGE, Notify),
    ("no traffic at all", lambda: World().silent("1", "now"), Cause.TRAFFIC_CHANGE, Notify),
    (
        "a rush saturates the workers",
        lambda: slow(World()).every_version_now(count=6_000).busy(0.98),
        Cause.TRAFFIC_CHANGE,
        Scale,
    ),
    (
        "a rush that has just begun",
        lambda: replace(World(), volume={"now": (100,) * 9 + (500,) * 3, "before": (100,) * 12}),
        Cause.TRAFFIC_CHANGE,
        Notify,
    ),
    ("labels have stopped", lambda: World().every_version_now(coverage=0.02), Cause.LABELS, Notify),
    ("all labels say the same", lambda: World().every_version_now(accuracy=0.7, labels_late=0.0), Cause.LABELS, Notify),
    ("labels belong to other rows", lambda: World().every_version_now(accuracy=0.57), Cause.LABELS, Notify),
    ("labels are turned round", lambda: World().every_version_now(accuracy=0.15, labels_late=0.7), Cause.LABELS, Notify),
    ("nothing at all", World, Cause.FALSE_ALARM, NoAction),
    ("a good release", lambda: after_release(accuracy=0.86), Cause.FALSE_ALARM, NoAction),
    ("jitter within the promise", lambda: World().every_version_now(accuracy=0.84, p99_ms=55), Cause.FALSE_ALARM, NoAction),
    (
        "a release and a drift at one stroke",
        lambda: moved(all_at_once(accuracy=0.78)),
        Cause.UNRESOLVED,
        Notify,
    ),
    ("too few labels to say", lambda: labels_take_hours(after_release(accuracy=0.6, coverage=0.02)), Cause.UNRESOLVED, Notify),
    ("the prediction store is away", lambda: replace(World(), versions={}).without("predictions"), Cause.UNRESOLVED, Notify),
    ("the registry is away", lambda: replace(World(), champion=None).without("registry"), Cause.UNRESOLVED, Notify),
    ("no model is named", lambda: replace(World(), model=None, versions={}), Cause.UNRESOLVED, Notify),
]


@pytest.mark.parametrize(("build", "cause", "action"), [truth[1:] for truth in TRUTHS], ids=[truth[0] for truth in TRUTHS])
def test_the_cause_is_found_and_acted_on(build: Callable[[], World], cause: Cause, action: type) -> None:
    observations = build().observed()
    finding = assess(observations, POLICIES, NOW)
    assert finding.cause is cause, "\n".join(
        f"{each.score:.2f} {each.cause.value}: {each.reason}" for each in finding.hypotheses
    )
    assert isinstance(recommend(finding, observations, POLICIES, NOW).action, action)


@pytest.mark.parametrize("build", [truth[1] for truth in TRUTHS], ids=[truth[0] for truth in TRUTHS])
def test_every_reference_of_a_hypothesis_is_evidence_with_its_query(build: Callable[[], World]) -> None:
    finding = assess(build().observed(), POLICIES, NOW)
    known = {each.id for each in finding.evidence}
    assert len(known) == len(finding.evidence)
    for hypothesis in finding.hypotheses:
        assert {*hypothesis.supporting, *hypothesis.against} <= known
    assert all(each.query and each.statement.endswith(".") for each in finding.evidence)


def test_a_finding_says_whom_it_blames_and_where_to_go_back() -> None:
    finding = assess(after_release(accuracy=0.72).observed(), POLICIES, NOW)
    assert (finding.model, finding.version, finding.previous_version) == ("flights", "2", "1")
    observations = after_release(accuracy=0.72).observed()
    assert recommend(finding, observations, POLICIES, NOW).action == Rollback(model="flights", from_version="2", to_version="1")


def test_a_regression_with_nothing_to_go_back_to_is_told() -> None:
    observations = after_release(accuracy=0.72).observed()
    finding = assess(observations, POLICIES, NOW).model_copy(update={"previous_version": None})
    action = recommend(finding, observations, POLICIES, NOW).action
    assert isinstance(action, Notify)
    assert "no version before it" in action.body


def test_the_worst_slice_is_named() -> None:
    world = after_release(accuracy=0.78).sliced("1", "now", UA=0.86, B6=0.85).sliced("2", "now", UA=0.86, B6=0.55)
    finding = assess(world.observed(), POLICIES, NOW)
    slices = [each for each in finding.evidence if each.id.startswith("slice.")]
    assert len(slices) == 1
    assert "'B6'" in slices[0].statement
    assert "55.0%" in slices[0].statement
    assert "slice.v2.now" in finding.hypotheses[0].supporting


def test_a_source_that_could_not_be_read_is_named() -> None:
    finding = assess(World().without("telemetry", "no metrics system is configured").observed(), POLICIES, NOW)
    assert [each.source for each in finding.missing] == ["telemetry"]
    assert finding.cause is Cause.FALSE_ALARM
    away = assess(replace(World(), versions={}).without("predictions").observed(), POLICIES, NOW)
    assert "predictions" in away.summary


def test_inputs_that_move_every_day_are_not_drift() -> None:
    windy = World(has_earlier=True).feature("wind", shares=SHIFTED).feature("wind", "earlier", shares=tuple(reversed(SHIFTED)))
    assert assess(windy.observed(), POLICIES, NOW).cause is Cause.FALSE_ALARM
    calm = World(has_earlier=True).feature("wind", shares=SHIFTED)
    assert assess(calm.observed(), POLICIES, NOW).cause is Cause.DATA_DRIFT


def test_small_samples_claim_no_drift() -> None:
    few = moved(World()).every_version_now(count=90).answers("1", "before", count=90)
    finding = assess(few.observed(), POLICIES, NOW)
    assert not [each for each in finding.evidence if each.id.startswith("drift.")]


def test_workers_on_a_full_machine_are_not_multiplied() -> None:
    full = Reading(name="cpu", kind="saturation", query="avg(cpu)", now=0.98)
    observations = replace(slow(World()).busy(0.97), readings=(full,)).observed()
    recommendation = recommend(assess(observations, POLICIES, NOW), observations, POLICIES, NOW)
    assert isinstance(recommendation.action, Notify)
    assert "cpu" in recommendation.reason


def test_workers_stay_within_what_gateway_and_policy_allow() -> None:
    observations = slow(World()).busy(0.97, workers=3, limit=5).observed()
    action = recommend(assess(observations, POLICIES, NOW), observations, POLICIES, NOW).action
    assert action == Scale(model="flights", from_workers=3, workers=5)


def test_an_alert_older_than_the_change_speaks_against_it() -> None:
    world = after_release(accuracy=0.78)
    young = assess(world.observed(), POLICIES, NOW).hypotheses[0]
    old = assess(world.alerted(alert(minutes_ago=600)).observed(), POLICIES, NOW)
    blamed = next(each for each in old.hypotheses if each.cause is Cause.MODEL_REGRESSION)
    assert blamed.score < young.score
    assert "rollout" in blamed.against


@given(worse=st.integers(0, 60), more=st.integers(1, 20))
def test_a_worse_release_never_scores_lower(worse: int, more: int) -> None:
    def score(points: int) -> float:
        finding = assess(after_release(accuracy=0.85 - points / 100).observed(), POLICIES, NOW)
        return next(each.score for each in finding.hypotheses if each.cause is Cause.MODEL_REGRESSION)

    assert score(worse) <= score(worse + more) + 1e-9


@given(
    accuracy=st.floats(0, 1),
    coverage=st.floats(0, 1),
    errors=st.floats(0, 1),
    count=st.integers(0, 5_000),
    p99_ms=st.floats(1, 5_000),
    nulls=st.floats(0, 1),
    released=st.booleans(),
    busy=st.floats(0, 1),
)
def test_every_world_has_a_finding_and_one_action(
    accuracy: float, coverage: float, errors: float, count: int, p99_ms: float, nulls: float, released: bool, busy: float
) -> None:
    world = World().busy(busy).feature("wind", nulls=nulls)
    world = world.rolled_out() if released else world
    version = world.champion or "1"
    world = world.answers(version, "now", accuracy=accuracy, coverage=coverage, errors=errors, count=count, p99_ms=p99_ms)
    observations = world.observed()
    finding = assess(observations, POLICIES, NOW)
    assert type(finding).model_validate_json(finding.model_dump_json()) == finding
    assert [each.score for each in finding.hypotheses] == sorted((each.score for each in finding.hypotheses), reverse=True)
    action = recommend(finding, observations, POLICIES, NOW).action
    if finding.cause is Cause.FALSE_ALARM:
        assert isinstance(action, NoAction)
    assert isinstance(action, Rollback) <= (finding.cause is Cause.MODEL_REGRESSION)


def test_of_a_model_that_nothing_is_known_about_nothing_is_claimed() -> None:
    world = replace(World().silent("1", "now").silent("1", "before"), champion=None, capacity=None)
    finding = assess(world.observed(), POLICIES, NOW)
    assert finding.cause is Cause.UNRESOLVED
    reasons = " ".join(each.reason for each in finding.hypotheses)
    for claim in ("has not changed", "No input has moved", "have not risen", "As many requests", "Labels come"):
        assert claim not in reasons
    assert "No champion of that name is known." in reasons


def _blamed(world: World) -> Hypothesis:
    finding = assess(world.observed(), POLICIES, NOW)
    return next(each for each in finding.hypotheses if each.cause is Cause.MODEL_REGRESSION)


def test_the_version_that_the_alerts_name_counts_for_the_rollout_or_against_it() -> None:
    world = all_at_once(accuracy=0.72)
    unnamed, new, old, other = (
        _blamed(world.alerted(alert(**named)))
        for named in ({}, {"version": "2"}, {"model_version": "1"}, {"version": "1.27.0"})
    )
    assert old.score < unnamed.score < new.score
    assert "alerts.version" in new.supporting
    assert "alerts.version" in old.against
    assert other == unnamed


def test_alerts_that_name_two_versions_name_none() -> None:
    both = [alert(version=version) for version in "12"]
    world = all_at_once(accuracy=0.72)
    assert _blamed(world.alerted(*both)) == _blamed(world.alerted(alert()))
