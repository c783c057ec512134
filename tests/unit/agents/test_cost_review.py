"""What costs more than it needs to: ranked, said with its evidence, and one thing done about it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents.actions import ConsolidateTraining, NoAction, Notify, Quantize, Scale, StartRollout
from agents.alerts import Alert
from agents.cost.case import CostCase, Serving
from agents.cost.changes import Change, Contributor
from agents.cost.inefficiency import Inefficiency
from agents.cost.optimization import Optimization, Trial
from agents.cost.progress import status_of
from agents.cost.quantization_rules import QuantizationRules
from agents.cost.review import review
from agents.cost.rollout import expecting, roll_out
from agents.evidence import Cause
from agents.policies import ModelPolicy, Policies
from agents.promotion_rules import Guardrails, Metric, Rollouts, Stage
from agents.quantization_job import Ordered
from agents.requests import REVIEW, Request
from agents.routing import Specialist, route
from tests.unit.agents.quantizations import measured
from tools.costs.port import Dimension
from tools.jobs.port import JobState, Phase, Progress
from tools.values import Window

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = "flights"
DATA = Window(start=NOW - timedelta(days=28), end=NOW)
POLICIES = Policies()
USUAL = Rollouts()


def alarm(**labels: str) -> Alert:
    given = {"monitor": "cost", "model": MODEL, **labels}
    return Alert(source="oppen", fingerprint="c", status="firing", name="CostUnusual", labels=given, starts_at=NOW)


def case(**values: Any) -> CostCase:
    content = {
        "alerts": (alarm(),),
        "model": MODEL,
        "window": Window(start=NOW - timedelta(days=7), end=NOW),
        "currency": "USD",
        "spent": Decimal(300),
        "champion": "3",
    }
    return CostCase.model_validate(content | values)


def serving(per_day: float) -> Serving:
    return Serving(version="3", cost=Decimal(repr(per_day)), hours=24, predictions=100_000)


def job(name: str, far: float, *, work: str = "w", data: Window | None = DATA, hours: float = 2) -> JobState:
    return JobState(
        name=name,
        model=MODEL,
        team="t",
        run_id="r",
        phase=Phase.RUNNING,
        progress=Progress(fraction=far),
        submitted_at=NOW - timedelta(hours=hours),
        started_at=NOW - timedelta(hours=hours),
        work=work,
        data=data,
    )


def idle(high: str = "40") -> Inefficiency:
    return Inefficiency.model_validate(
        {
            "kind": "scale_down",
            "subject": MODEL,
            "evidence": (),
            "expected": {"low": "20", "high": high, "currency": "USD"},
            "risk": "medium",
            "what": "4 workers, of which 0.1 are busy",
            "remedy": {"kind": "scale_down", "model": MODEL, "from_workers": 4, "workers": 1},
        }
    )


def change(by_price: str, component: str = "training") -> Change:
    at = {Dimension.COMPONENT: component, Dimension.VERSION: "", Dimension.WORKLOAD: ""}
    usage = Decimal(50) - Decimal(by_price)
    one = Contributor(at=at, before=Decimal(50), after=Decimal(100), by_price=Decimal(by_price), by_usage=usage)
    return Change(
        before=Decimal(50),
        after=Decimal(100),
        by_price=Decimal(by_price),
        by_usage=usage,
        contributors=(one,),
        explained=Decimal(1),
    )


def test_cost_alerts_and_reviews_go_to_the_cost_specialist() -> None:
    assert route([alarm()]) is Specialist.COST
    assert route([alarm(monitor="drift")]) is Specialist.DRIFT


def test_what_would_save_most_leads_and_the_others_are_named() -> None:
    found = review(case(serving=serving(30), others=(idle(),)), POLICIES, NOW)
    assert found.recommendation.action == Scale(model=MODEL, from_workers=4, workers=1)
    assert [each.cause for each in found.recommendation.finding.hypotheses] == [Cause.IDLE_CAPACITY, Cause.HEAVY_MODEL]
    assert found.optimization is not None
    assert found.optimization.inefficiency.kind == "scale_down"


def test_where_a_cost_has_risen_its_own_part_comes_first() -> None:
    jobs = job("a", 0.2), job("b", 0.7), job("c", 0.1)
    known = {"a": Decimal(1), "b": Decimal(1), "c": Decimal(1)}
    risen = case(serving=serving(30), others=(idle("400"),), jobs=jobs, by_job=known, change=change("0"))
    found = review(risen, POLICIES, NOW)
    assert found.recommendation.action == ConsolidateTraining(model=MODEL, kept="b", cancelled=("a", "c"))
    assert found.recommendation.finding.cause is Cause.DUPLICATE_TRAINING


def test_a_rise_of_prices_is_told_to_people_and_changes_nothing() -> None:
    found = review(case(serving=serving(30), change=change("45", "serving")), POLICIES, NOW)
    assert isinstance(found.recommendation.action, Notify)
    assert found.recommendation.finding.cause is Cause.PRICE_CHANGE
    assert "90.0% of the rise" in found.recommendation.finding.summary
    assert found.optimization is None


def test_a_review_that_is_asked_for_finds_what_to_save_whatever_prices_did() -> None:
    asked = Request(kind=REVIEW, model=MODEL, by="alice", reason="the budget")
    found = review(case(request=asked, serving=serving(30), change=change("45", "serving")), POLICIES, NOW)
    assert isinstance(found.recommendation.action, Quantize)


def test_what_is_not_worth_anybody_s_minute_is_not_proposed() -> None:
    asked = Request(kind=REVIEW, model=MODEL, by="schedule:cost-review", reason="it is time")
    found = review(case(request=asked, serving=serving(0.1)), POLICIES, NOW)
    assert isinstance(found.recommendation.action, NoAction)
    assert "nothing was found that would save enough" in found.recommendation.action.reason


@pytest.mark.parametrize(
    "other",
    [
        {"work": "another"},
        {"work": ""},
        {"data": None},
        {"data": Window(start=DATA.start + timedelta(days=14), end=DATA.end + timedelta(days=14))},
    ],
)
def test_another_command_or_other_data_is_another_training(other: dict[str, Any]) -> None:
    jobs = job("a", 0.2), job("b", 0.7, **other)
    found = review(case(jobs=jobs, by_job={"a": Decimal(1), "b": Decimal(1)}), POLICIES, NOW)
    assert isinstance(found.recommendation.action, Notify)


def test_a_day_more_of_four_weeks_is_the_same_training_again() -> None:
    later = Window(start=DATA.start + timedelta(days=1), end=DATA.end + timedelta(days=1))
    jobs = job("a", 0.2), job("b", 0.7, data=later)
    found = review(case(jobs=jobs, by_job={"a": Decimal(1), "b": Decimal(1)}), POLICIES, NOW)
    assert found.recommendation.action == ConsolidateTraining(model=MODEL, kept="b", cancelled=("a",))


def test_what_was_measured_and_does_not_pay_is_not_measured_again_until_it_is_old() -> None:
    known = measured().model_copy(update={"asked_at": NOW - timedelta(days=2)})
    assert isinstance(review(case(serving=serving(30), measured=known), POLICIES, NOW).recommendation.action, Notify)
    old = known.model_copy(update={"asked_at": NOW - timedelta(days=8)})
    assert isinstance(review(case(serving=serving(30), measured=old), POLICIES, NOW).recommendation.action, Quantize)


def tried(cost: str | None = "1") -> tuple[Optimization, Trial]:
    found = review(case(serving=serving(40)), POLICIES, NOW).optimization
    assert found is not None
    trial = Trial(job="j", pays=True, reason="it pays", low=0.4, high=0.6, cost=Decimal(cost) if cost else None, currency="USD")
    made = Ordered(model=MODEL, version="3", job="j", begun_at=NOW, artefact="a" * 64)
    return found.model_copy(update={"trial": trial, "version": "4", "ordered": made}), trial


def test_what_was_measured_takes_the_place_of_what_was_guessed() -> None:
    known = expecting(*tried(), case(serving=serving(40)))
    assert (known.inefficiency.expected.low, known.inefficiency.expected.high) == (16, 24)


def test_an_experiment_that_is_earned_back_too_late_leads_to_no_rollout() -> None:
    optimization, trial = tried("10000")
    known = expecting(optimization, trial, case(serving=serving(40)))
    found = roll_out(known, trial, case(), None, POLICIES, NOW, mirrors=True)
    assert isinstance(found.action, NoAction)
    assert "earned back in 500.00 days" in found.action.reason


def stages_of(rollouts: Rollouts = USUAL, *, mirrors: bool = True, **int8: Any) -> tuple[tuple[Stage, ...], bool]:
    """Of its rollout, and whether its copies are weighed."""
    policies = Policies(rollouts=rollouts, models={MODEL: ModelPolicy(quantization=QuantizationRules(**int8))})
    found = roll_out(*tried(), case(serving=serving(40)), None, policies, NOW, mirrors=mirrors).action
    assert isinstance(found, StartRollout)
    return found.stages, found.weighed is not None


def test_its_rollout_begins_with_a_shadow_as_long_as_policy_says() -> None:
    usual = Rollouts().stages
    assert stages_of() == ((Stage(weight=0, hold=timedelta(minutes=30)), *usual), True)
    assert stages_of(shadow=HOUR, mirror=0.2) == ((Stage(weight=0, hold=HOUR, mirror=0.2), *usual), True)
    assert stages_of(shadow=timedelta(0)) == (usual, False)
    assert stages_of(mirrors=False) == (usual, False)


def test_a_shadow_of_its_own_that_policy_asks_of_every_rollout_is_weighed_as_well() -> None:
    own = (Stage(weight=0, hold=2 * HOUR), *Rollouts().stages)
    assert stages_of(Rollouts(stages=own)) == (own, True)


def test_a_shadow_is_looked_at_within_its_time_and_by_something() -> None:
    seldom = Rollouts(look_every=HOUR)
    assert stages_of(seldom)[0][0].hold == HOUR
    by_business = Guardrails(errors=None, accuracy=None, latency=None, metric=Metric(name="revenue", margin=0.05))
    assert stages_of(Rollouts(guardrails=by_business)) == (Rollouts().stages, False)


@pytest.mark.parametrize(
    ("values", "told", "status"),
    [
        ({}, {"asked": True}, "proposed"),
        ({"ordered": True}, {}, "experiment"),
        ({"began_at": NOW}, {}, "rolling_out"),
        ({"began_at": NOW, "applied_at": NOW}, {}, "verifying"),
        ({"began_at": NOW, "applied_at": NOW}, {"outcome": "resolved"}, "kept"),
        ({"began_at": NOW, "applied_at": NOW}, {"outcome": "declined"}, "not_shown"),
        ({}, {"outcome": "declined"}, "declined"),
        ({"ordered": True}, {"outcome": "no_action"}, "not_worth_it"),
        ({"began_at": NOW}, {"outcome": "undone"}, "undone"),
        ({}, {"broken": True}, "failed"),
    ],
)
def test_how_it_stands_in_one_word(values: dict[str, Any], told: dict[str, Any], status: str) -> None:
    optimization, _ = tried()
    update = {"ordered": optimization.ordered if values.pop("ordered", False) else None, **values}
    given = {"outcome": None, "broken": False, "asked": False, **told}
    assert status_of(optimization.model_copy(update=update), **given) == status
