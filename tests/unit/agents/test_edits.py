"""What somebody may make of a proposal, and how much more it then takes."""

from datetime import timedelta
from typing import Any

import pytest

from agents.actions import Catalogue, Promote, Retrain, Risk, Rollback, Scale, StartRollout, WorldState
from agents.cost.quantization_rules import Margins
from agents.evidence import Cause
from agents.guard import Ask, Deny, edit_flaw, judge
from agents.policies import Mode, Policies
from agents.promotion_rules import Guardrails, Judging, Rollouts, Stage, as_careful
from agents.proposals import fingerprint
from agents.risks import weigh
from tests.unit.agents.proposed import FINDING, ROLLBACK, SCALE, proposal
from tests.unit.agents.worlds import NOW

HOUR = timedelta(hours=1)
POLICIES = Policies()
STAGES = Rollouts().stages
ALONE = WorldState(champion="1", route_generation=3, weights={"1": 100})
BETTER = FINDING.model_copy(update={"cause": Cause.CANDIDATE_BETTER, "examined": ("2",)})
"""That version 2 is better than version 1, as an evaluation of the platform's own has it."""


def start(version: str = "2", stages: tuple[Stage, ...] = STAGES, **values: Any) -> StartRollout:
    return StartRollout(model="flights", from_version="1", version=version, stages=stages, **values)


def promote(version: str = "2") -> Promote:
    return Promote(model="flights", from_version="1", version=version)


@pytest.mark.parametrize(
    ("asked", "edited", "field", "said"),
    [
        (start(), start("3"), "action.version", "ask for the promotion of version 3"),
        (promote(), promote("3"), "action.version", "ask for the promotion of version 3"),
        (start(), promote("3"), "action.version", "ask for the promotion of version 3"),
        (start(), promote(), "action.kind", "edit the stages instead"),
        (start(), Rollback(model="flights", from_version="1", to_version="2"), "action.kind", "ask for the rollback"),
        (SCALE, start(), "action.kind", "ask for the promotion of version 2"),
        (ROLLBACK, promote(), "action.kind", "ask for the promotion of version 2"),
        (SCALE, Scale(model="other", from_workers=2, workers=4), "action.model", "stays with flights"),
    ],
)
def test_an_edit_brings_no_other_version_in(asked: Catalogue, edited: Catalogue, field: str, said: str) -> None:
    flaw = edit_flaw(proposal(asked), edited)
    assert flaw is not None
    assert flaw.field == field
    assert said in flaw.detail


TRAINING = Retrain(model="flights", version="1", window_start=NOW - 24 * HOUR, window_end=NOW)
TRIED = ALONE.model_copy(update={"weights": {"1": 90, "2": 10}})


@pytest.mark.parametrize("asked", [start(), promote()])
def test_a_rollout_under_way_is_not_made_into_what_lasts_for_hours(asked: Catalogue) -> None:
    about = proposal(asked).model_copy(update={"state": TRIED})
    flaw = edit_flaw(about, TRAINING)
    assert flaw is not None
    assert flaw.field == "action.kind"
    assert "ask for the training by itself" in flaw.detail
    assert edit_flaw(about.model_copy(update={"state": ALONE}), TRAINING) is None


def test_an_edit_may_slow_a_rollout_down_or_start_one_again() -> None:
    slower = (Stage(weight=0.01, hold=24 * HOUR), *STAGES)
    assert edit_flaw(proposal(start()), start(stages=slower)) is None
    assert edit_flaw(proposal(promote()), start(stages=slower)) is None
    assert edit_flaw(proposal(ROLLBACK), Rollback(model="flights", from_version="2", to_version="0")) is None


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"judging": None}, "action.judging"),
        ({"judging": Judging(guardrails=Guardrails(accuracy=None))}, "action.judging"),
        ({"slow_ms": 5_000}, "action.slow_ms"),
        ({"slow_ms": None}, "action.slow_ms"),
    ],
)
def test_an_edit_keeps_by_what_it_is_judged(changed: dict[str, Any], field: str) -> None:
    asked = start(judging=Judging(), slow_ms=40)
    flaw = edit_flaw(proposal(asked), start(**{"judging": Judging(), "slow_ms": 40, **changed}))
    assert flaw is not None
    assert (flaw.field, "change the rollouts of the policies" in flaw.detail) == (field, True)


@pytest.mark.parametrize("changed", [None, Margins(max_disagreement=0.5)])
def test_an_edit_keeps_by_what_int8_is_weighed(changed: Margins | None) -> None:
    flaw = edit_flaw(proposal(start(weighed=Margins())), start(weighed=changed))
    assert flaw is not None
    assert flaw.field == "action.weighed"
    assert edit_flaw(proposal(start(weighed=Margins())), start(weighed=Margins())) is None
    made_of_a_promotion = edit_flaw(proposal(promote()), start(weighed=Margins()))
    assert made_of_a_promotion is not None
    assert made_of_a_promotion.field == "action.weighed"


def test_a_rollout_that_was_approved_before_its_judging_was_kept_has_the_fingerprint_that_it_had() -> None:
    """As written down from the releases that had neither judging, nor shadows, losses and named metrics."""
    assert fingerprint(start(), ALONE) == "06233a1a26070e0d622684e6a5ad1109c6f9dc85e414ddfcef2e8c27f1f9c38c"
    judged = start(judging=Rollouts().judging)
    assert fingerprint(judged, ALONE) == "cc2f1ee8fdaac71bf52aed8ad9b4bd72b7e74d0a865a062f228f21c3b5407a1d"
    before = judged.model_dump(mode="json")
    before["judging"]["guardrails"] |= {"metric_better": "higher"}
    assert StartRollout.model_validate(before) == judged
    assert StartRollout.model_validate(start().model_dump(mode="json", exclude={"judging"})) == start()
    assert Rollouts().approved(STAGES, None) == Rollouts()


def test_what_came_later_is_part_of_the_fingerprint_where_it_is_used() -> None:
    shadowed = start(stages=(Stage(weight=0, hold=HOUR), *STAGES))
    known = {
        fingerprint(action, ALONE)
        for action in (
            shadowed,
            start(stages=(Stage(weight=0, hold=HOUR, mirror=0.5), *STAGES)),
            start(judging=Rollouts().judging),
            start(judging=Rollouts().judging_of("numbers")),
            start(weighed=Margins()),
            start(weighed=Margins(max_disagreement=0.1)),
        )
    }
    assert len(known) == 6


def test_a_shadow_is_denied_where_nothing_can_copy_requests() -> None:
    shadowed = start(stages=(Stage(weight=0, hold=HOUR), *STAGES))
    for mirrors in (None, False):
        state = ALONE.model_copy(update={"mirrors": mirrors})
        denied = judge(proposal(shadowed, state=state, finding=BETTER), POLICIES, Mode.ACT, NOW)
        assert isinstance(denied, Deny)
        assert "begin with a weight above 0" in denied.reason
    assert quorum(shadowed, ALONE.model_copy(update={"mirrors": True})) == 1


def quorum(action: Catalogue, state: WorldState = ALONE) -> int:
    judgement = judge(proposal(action, state=state, finding=BETTER), POLICIES, Mode.ACT, NOW)
    assert isinstance(judgement, Ask)
    return judgement.quorum


def test_a_version_that_the_finding_is_not_about_needs_two() -> None:
    assert (quorum(start()), quorum(start("3"))) == (1, 2)
    with_all = {each: ALONE.model_copy(update={"weights": {each: 100}}) for each in ("2", "3")}
    assert (quorum(promote(), with_all["2"]), quorum(promote("3"), with_all["3"])) == (1, 2)


def test_a_rollback_to_a_candidate_needs_two_and_one_away_from_it_one() -> None:
    assert quorum(Rollback(model="flights", from_version="1", to_version="2")) == 2
    promoted = WorldState(champion="2", route_generation=3, weights={"2": 100})
    assert quorum(Rollback(model="flights", from_version="2", to_version="1"), promoted) == 1


@pytest.mark.parametrize("state", [ALONE, WorldState(champion="1", route_generation=3, weights={"1": 100, "2": 0})])
def test_what_has_no_traffic_is_not_made_champion(state: WorldState) -> None:
    judgement = judge(proposal(promote(), state=state, finding=BETTER), POLICIES, Mode.ACT, NOW)
    assert isinstance(judgement, Deny)
    assert "by a rollout" in judgement.reason


HASTY = [
    (Stage(weight=1.0),),
    (Stage(weight=0.1, hold=HOUR), Stage(weight=1.0)),
    (Stage(weight=0.2, hold=HOUR), Stage(weight=0.5, hold=2 * HOUR), Stage(weight=1.0)),
    (Stage(weight=0.1, hold=HOUR), Stage(weight=0.5, hold=HOUR), Stage(weight=1.0)),
]


@pytest.mark.parametrize("stages", HASTY)
def test_a_rollout_that_hurries_more_than_policy_needs_two(stages: tuple[Stage, ...]) -> None:
    assert not as_careful(stages, STAGES)
    assert quorum(start(stages=stages)) == 2
    assert weigh(start(stages=stages), BETTER, ALONE, POLICIES).risk is Risk.HIGH


@pytest.mark.parametrize(
    "stages",
    [
        STAGES,
        (Stage(weight=0.01, hold=HOUR), *STAGES),
        (Stage(weight=0.05, hold=HOUR / 2), Stage(weight=0.1, hold=HOUR / 2), *STAGES[1:]),
        (Stage(weight=0.05, hold=HOUR), Stage(weight=0.4, hold=3 * HOUR), Stage(weight=1.0)),
    ],
)
def test_a_rollout_as_careful_as_policy_needs_one(stages: tuple[Stage, ...]) -> None:
    assert quorum(start(stages=stages)) == 1


def test_what_is_left_of_a_rollout_is_as_careful_as_the_whole() -> None:
    half_way = WorldState(champion="1", route_generation=3, weights={"1": 90, "2": 10})
    assert quorum(start(stages=STAGES[1:]), half_way) == 1
    assert quorum(start(stages=STAGES[2:]), half_way) == 2


def test_a_promotion_becomes_no_rollout_that_is_judged_otherwise_than_by_policy() -> None:
    flaw = edit_flaw(proposal(promote()), start(judging=Judging(guardrails=Guardrails(errors=0.99, accuracy=None))))
    assert flaw is not None
    assert (flaw.field, "by the policies" in flaw.detail) == ("action.judging", True)
