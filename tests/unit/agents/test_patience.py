"""What began a quarter of an hour ago is looked at by itself, and what it is too early to tell is looked at again."""

from datetime import timedelta

from agents.actions import Notify, Rollback, Scale
from agents.evidence import Cause
from agents.incident.assess import assess
from agents.incident.patience import again_at
from agents.incident.recommend import recommend
from agents.policies import Policies, Slo
from tests.unit.agents.worlds import NOW, World, alert

POLICIES = Policies(slo=Slo(min_accuracy=0.8))
RULES = POLICIES.investigation


def cause(world: World) -> Cause:
    return assess(world.observed(), POLICIES, NOW).cause


def test_a_quarter_of_an_hour_of_failing_is_no_false_alarm() -> None:
    drowned = World().answers("1", "now", errors=0.008)
    assert cause(drowned) is Cause.FALSE_ALARM
    assert cause(drowned.answers("1", "lately", count=120, errors=0.15)) is Cause.INFRASTRUCTURE


def test_a_few_answers_prove_what_hardly_any_chance_would_bring() -> None:
    world = World().answers("1", "lately", count=40, errors=0.3)
    assert cause(world) is not Cause.FALSE_ALARM
    assert cause(World().answers("1", "lately", count=40, errors=0.0)) is Cause.FALSE_ALARM


def test_a_few_labels_below_the_promise_are_no_proof_that_all_is_well() -> None:
    world = World()
    assert cause(world.answers("1", "lately", count=80, coverage=0.4, accuracy=0.9)) is Cause.FALSE_ALARM
    assert cause(world.answers("1", "lately", count=80, coverage=0.4, accuracy=0.5)) is Cause.UNRESOLVED


def test_a_release_that_fails_since_the_alerts_is_blamed_though_its_hours_before_are_few() -> None:
    young = World().rolled_out(hours_ago=0.5).answers("2", "now", count=130, errors=0.15)
    assert cause(young.answers("2", "lately", count=110, errors=0.17)) is Cause.MODEL_REGRESSION


def test_as_many_more_workers_are_asked_for_as_more_requests_come() -> None:
    rush = World(volume={"before": (160,) * 12, "now": (160,) * 11 + (700,)}).busy(1.0)
    rush = rush.answers("1", "now", p99_ms=900).answers("1", "lately", count=600, p99_ms=2_000)
    observations = rush.observed()
    finding = assess(observations, POLICIES, NOW)
    assert finding.cause is Cause.TRAFFIC_CHANGE
    action = recommend(finding, observations, POLICIES, NOW).action
    assert isinstance(action, Scale)
    assert action.workers > 2 * action.from_workers


def unresolved(world: World) -> object:
    observations = world.observed()
    finding = assess(observations, POLICIES, NOW)
    assert finding.cause is Cause.UNRESOLVED
    return again_at(recommend(finding, observations, POLICIES, NOW), observations, RULES, NOW)


def too_young(**values: object) -> World:
    """Version 2 took over twenty minutes ago: there is too little of it."""
    return (
        World()
        .rolled_out(hours_ago=0.3)
        .answers("1", "now", errors=0.0105)
        .answers("2", "now", count=40, errors=0.0105)
        .alerted(alert().model_copy(update=values))
    )


def test_what_is_unresolved_while_its_alerts_are_young_is_looked_at_again() -> None:
    assert unresolved(too_young()) == NOW + RULES.look_again


def test_patience_has_an_end() -> None:
    assert unresolved(too_young(starts_at=NOW - RULES.patience)) is None
    assert unresolved(too_young(starts_at=NOW - RULES.patience + timedelta(minutes=5))) == NOW + timedelta(minutes=5)


def test_what_cannot_be_read_is_no_clearer_later() -> None:
    assert unresolved(too_young().without("predictions")) is None


def test_what_has_resolved_itself_is_not_waited_for() -> None:
    assert unresolved(too_young(status="resolved", ends_at=NOW)) is None


def test_what_is_found_stands() -> None:
    bad = World().rolled_out().answers("1", "now", count=700).answers("2", "now", count=1_300, accuracy=0.6)
    observations = bad.observed()
    recommended = recommend(assess(observations, POLICIES, NOW), observations, POLICIES, NOW)
    assert isinstance(recommended.action, Rollback)
    assert not isinstance(recommended.action, Notify)
    assert again_at(recommended, observations, RULES, NOW) is None
