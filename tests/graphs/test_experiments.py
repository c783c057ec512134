"""An experiment in the supervisor: arms are split by entity, what harms is ended at once, a winner is put before people."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest

from agents.actions import NoAction, Promote, StartExperiment, StartRollout, StopExperiment
from agents.evidence import Cause
from agents.experiment_facts import Goal
from agents.experiment_plans import Plan, Treatment
from agents.experiments import Call
from agents.guard import Deny, edit_flaw, judge
from agents.policies import Freeze, Mode, Policies, Slo, Verification
from agents.promotion_rules import Experiments, Stage
from agents.proposals import Edit, Reject
from agents.requests import Request, to_alert
from api.work.experiments import standing_of
from gateway.routing import Slots, assign, slot
from graphs.context import Order
from graphs.state import Outcome
from graphs.world import read_state
from tests.graphs.evaluations import leave, measured
from tests.graphs.platform import MODEL, UNEXAMINED, Platform, healthy
from tools.errors import PermanentError, TemporaryError
from tools.predictions.records import LabelRecord, PredictionRecord
from tools.registry.evaluations import StagingCheck

STEP = timedelta(hours=1)
RULES = Experiments(look_every=STEP, shortest=timedelta(hours=6), longest=timedelta(hours=30), min_units=100)
POLICIES = Policies(
    slo=Slo(min_accuracy=0.5), experiments=RULES, verification=Verification(settle=timedelta(minutes=5)), models=UNEXAMINED
)
WRONG = Goal(name="wrong", kind="share", better="lower", margin=0.05)
ERRORS = Goal(name="errors", kind="share", better="lower", margin=0.05)
PLAN = Plan(treatments=(Treatment(version="2", weight=50),), goal=WRONG, guardrails=(ERRORS,))
THREE = Plan(
    treatments=(Treatment(version="2", weight=30), Treatment(version="3", weight=30)), goal=WRONG, guardrails=(ERRORS,)
)


async def asked(plan: Plan = PLAN, examined: dict[str, Any] | None = None, **values: Any) -> Platform:
    """Somebody wants version 2 tried beside champion 1. `examined`: versions that are evaluated, all of them unless given."""
    platform = await healthy(policies=values.pop("policies", POLICIES), **values)
    for version, more in ({"2": {}, "3": {}} if examined is None else examined).items():
        leave(platform, version, measured(version, **more))
    request = Request(kind="experiment", model=MODEL, by="carol", reason="fewer wrong answers at night", plan=plan)
    await platform.start(to_alert(request, "trg", platform.clock.now()))
    return platform


async def begun(plan: Plan = PLAN, examined: dict[str, Any] | None = None, **values: Any) -> Platform:
    platform = await asked(plan, examined, **values)
    await platform.decide(by=("alice", "bob"))
    return platform


async def visited(
    platform: Platform,
    wrong: dict[str, float] | None = None,
    failed: dict[str, float] | None = None,
    *,
    time: timedelta = STEP,
    visitors: int = 300,
    lost: str | None = None,
    known: bool = True,
) -> None:
    """Let `time` pass, with new entities that the route assigns. `wrong`, `failed`: shares by version. `lost`: a version of
    whose entities a third leaves no trace. `known`: whether they say who they are."""
    route = await platform.serving.route(MODEL)
    slots: Slots = assign(assign((), {"1": 100}), route.weights)
    start, end = platform.clock.now(), platform.clock.now() + time
    for place in range(visitors):
        at = int((start + (place + 0.5) * time / visitors).timestamp() * 1e6)
        entity = f"customer-{at}"
        version = slots[slot(MODEL, entity, route.salt)]
        # Dice of the visitor's own, whichever version answers.
        die, other = slot("wrong", entity) / 100, slot("failed", entity) / 100
        if version == lost and place % 3 == 0:
            continue
        error = "out of memory" if other < (failed or {}).get(version, 0.0) else None
        record = PredictionRecord(
            id=f"v{at}",
            model=MODEL,
            version=version,
            at=at,
            entity=entity if known else "",
            latency_us=40_000,
            features={},
            prediction=None if error else "late",
            score=None if error else 0.7,
            error=error,
        )
        label = LabelRecord(
            id=record.id, model=MODEL, at=at, label="on_time" if die < (wrong or {}).get(version, 0.2) else "late"
        )
        platform.predictions.add([record, label])
    platform.clock.pass_(end - platform.clock.now())


async def go_on(platform: Platform, *looks: Any, most: int = 40, **visits: Any) -> dict[str, Any]:
    """Look after look with visitors in between, until something else happens than waiting for the next look."""
    for _ in range(most):
        await visited(platform, *looks, **visits)
        ended: dict[str, Any] = await platform.wake()
        if "outcome" in ended or not await waits(platform) or ended["experiment"].over:
            return ended
    raise AssertionError("it goes on for ever")


async def waits(platform: Platform) -> bool:
    interrupts = (await platform.graph.aget_state(platform.config)).interrupts
    return bool(interrupts) and interrupts[0].value["kind"] == "wait"


async def verified(platform: Platform, **visits: Any) -> dict[str, Any]:
    for _ in range(40):
        await visited(platform, **visits)
        ended: dict[str, Any] = await platform.wake()
        if "outcome" in ended:
            return ended
    raise AssertionError("it is never verified")


def titles(platform: Platform) -> str:
    return "\n".join(message.title for _, message, _ in platform.notify.sent)


async def test_it_is_asked_about_with_arms_and_rules_before_anything_moves() -> None:
    platform = await asked()
    proposal = await platform.proposal()
    assert proposal.action == StartExperiment(model=MODEL, from_version="1", plan=PLAN, rules=RULES)
    assert proposal.requested_by == "carol"
    # Half of the traffic at once, where a rollout begins with a tenth.
    assert (await platform.waits_for("approval"))["quorum"] == 2
    assert await platform.weights() == {"1": 100}


SMALL = PLAN.model_copy(update={"treatments": (Treatment(version="2", weight=10),)})
BOTH = PLAN.model_copy(update={"treatments": (Treatment(version="2", weight=5), Treatment(version="3", weight=5))})
LEARNT_FROM = {"seen_until": datetime(2026, 3, 2, tzinfo=UTC)}
UNCHECKED = {"staging": (StagingCheck(name="security", ok=True, reason="looked at"),)}
WORTHLESS = {"won": 150, "lost": 150}
"""Nobody can tell which is better: what an experiment is for."""


@pytest.mark.parametrize(
    ("plan", "examined", "quorum"),
    [
        (SMALL, {"2": {}}, 1),
        (SMALL, {"2": WORTHLESS}, 1),
        (SMALL, {}, 2),
        (SMALL, {"3": {}}, 2),
        (SMALL, {"2": UNCHECKED}, 2),
        (SMALL, {"2": LEARNT_FROM}, 2),
        (BOTH, {"2": {}, "3": {}}, 1),
        (BOTH, {"2": {}}, 2),
    ],
)
async def test_a_small_arm_takes_one_yes_where_every_version_was_evaluated_and_checked(
    plan: Plan, examined: dict[str, Any], quorum: int
) -> None:
    platform = await asked(plan, examined)
    assert isinstance((await platform.proposal()).action, StartExperiment)
    assert (await platform.waits_for("approval"))["quorum"] == quorum


async def test_what_has_failed_a_check_is_not_tried_whoever_wants_it() -> None:
    failed = {"staging": (StagingCheck(name="security", ok=False, reason="its files run code"),)}
    platform = await asked(SMALL, {"2": failed})
    assert await platform.weights() == {"1": 100}
    assert "arm is worse by its evaluation" in (await platform.graph.aget_state(platform.config)).values["reason"]
    about = await (await asked(SMALL)).proposal()
    finding = about.finding.model_copy(update={"cause": Cause.CANDIDATE_WORSE})
    judged = judge(about.model_copy(update={"finding": finding}), POLICIES, Mode.PROPOSE, platform.clock.now())
    assert isinstance(judged, Deny)


@pytest.mark.parametrize(("examined", "quorum"), [({"2": WORTHLESS}, 1), ({}, 2)])
async def test_that_a_version_has_won_does_not_stand_in_for_its_evaluation(examined: dict[str, Any], quorum: int) -> None:
    platform = await begun(SMALL, examined)
    await go_on(platform, {"1": 0.8, "2": 0.02}, visitors=1_200)
    proposal = await platform.proposal()
    assert isinstance(proposal.action, Promote)
    assert (await platform.waits_for("approval"))["quorum"] == quorum
    assert ("has not been evaluated" in proposal.finding.summary) is (quorum == 2)


async def test_the_arms_are_split_by_a_salt_of_their_own() -> None:
    platform = await begun()
    route = await platform.serving.route(MODEL)
    assert (route.weights, route.salt) == ({"1": 50, "2": 50}, "run-1/1")
    assert platform.serving.calls["run-1/1/arms"] == 1
    assert await platform.champion() == "1"


async def test_a_winner_is_proposed_and_becomes_champion_when_others_say_yes() -> None:
    platform = await begun()
    await go_on(platform, {"1": 0.4, "2": 0.1})
    proposal = await platform.proposal()
    assert proposal.action == Promote(model=MODEL, from_version="1", version="2")
    assert proposal.part_of is None
    assert "has won its experiment" in proposal.finding.summary
    assert await platform.weights() == {"1": 50, "2": 50}
    ended = await platform.decide()
    assert (await platform.weights(), await platform.champion()) == ({"2": 100}, "2")
    assert (ended["experiment"].over, ended["experiment"].ended_by) == (True, "promote")
    assert (await platform.serving.route(MODEL)).salt == ""
    assert (await verified(platform))["outcome"] == Outcome.RESOLVED


async def test_no_winner_before_the_shortest_time() -> None:
    platform = await begun()
    for _ in range(5):
        await visited(platform, {"1": 0.4, "2": 0.1})
        looked = await platform.wake()
        assert looked["experiment"].look.outcome.call is Call.RUNNING


async def test_a_winner_that_is_not_wanted_leaves_the_control_with_the_traffic() -> None:
    platform = await begun()
    await go_on(platform, {"1": 0.4, "2": 0.1})
    ended = await platform.decide(Reject(reason="not before the holidays"))
    assert isinstance(ended["proposal"].action, StopExperiment)
    assert "not before the holidays" in ended["recommendation"].reason
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    assert (ended["experiment"].ending, ended["experiment"].ended_by) == ("winner", "stop_experiment")


async def test_what_harms_is_taken_back_at_the_first_look_that_can_tell_and_people_are_told() -> None:
    platform = await begun()
    ended = await go_on(platform, {}, {"2": 0.5}, most=2)
    assert isinstance(ended["proposal"].action, StopExperiment)
    assert ended["proposal"].part_of == "run-1/1"
    assert ended["experiment"].ending == "harmful"
    assert await platform.weights() == {"1": 100}
    assert "harms" in titles(platform)
    ended = await verified(platform)
    assert ended["outcome"] == Outcome.RESOLVED


async def test_of_several_arms_one_that_harms_ends_the_experiment() -> None:
    platform = await begun(THREE)
    assert await platform.weights() == {"1": 40, "2": 30, "3": 30}
    ended = await go_on(platform, {}, {"3": 0.5}, most=3)
    assert ended["experiment"].ending == "harmful"
    assert "version 3" in ended["recommendation"].reason
    assert await platform.weights() == {"1": 100}


async def test_of_several_arms_the_best_becomes_champion_and_the_others_end_with_it() -> None:
    platform = await begun(THREE)
    await go_on(platform, {"1": 0.4, "2": 0.4, "3": 0.05})
    proposal = await platform.proposal()
    assert proposal.action == Promote(model=MODEL, from_version="1", version="3", beside=("2",))
    other = Promote(model=MODEL, from_version="1", version="3")
    assert (flaw := edit_flaw(proposal, other)) is not None
    assert flaw.field == "action.beside"
    await platform.decide()
    assert (await platform.weights(), await platform.champion()) == ({"3": 100}, "3")


async def test_a_treatment_that_loses_is_ended() -> None:
    platform = await begun()
    ended = await go_on(platform, {"1": 0.1, "2": 0.5})
    assert ended["experiment"].ending == "loser"
    assert await platform.weights() == {"1": 100}


async def test_requests_that_get_lost_are_a_mismatch_whatever_else_was_measured() -> None:
    platform = await begun()
    ended = await go_on(platform, {"1": 0.4, "2": 0.1}, lost="2")
    assert ended["experiment"].ending == "mismatch"
    assert ended["experiment"].look.outcome.mismatch <= 0.001
    assert "not as assigned" in titles(platform)
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_entities_that_two_arms_answer_are_a_mismatch_too() -> None:
    platform = await begun()
    await visited(platform)
    for record in list(platform.predictions._predictions[MODEL])[-300:-200]:
        other = "1" if record.version == "2" else "2"
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        platform.predictions.add([PredictionRecord(**{**fields, "id": f"again-{record.id}", "version": other})])
    ended = await platform.wake()
    assert ended["experiment"].ending == "mismatch"
    assert "answered by two arms" in ended["recommendation"].reason


async def test_without_a_difference_it_ends_inconclusive_and_the_control_stays() -> None:
    platform = await begun()
    ended = await go_on(platform)
    assert ended["experiment"].ending == "inconclusive"
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    assert (await verified(platform))["outcome"] == Outcome.RESOLVED


async def test_requests_without_an_entity_expose_nobody() -> None:
    platform = await begun()
    await visited(platform, {}, {"2": 1.0}, known=False)
    seen = (await platform.wake())["experiment"].look
    assert (seen.units, seen.anonymous) == ({"1": 0, "2": 0}, 300)
    assert seen.outcome.call is Call.RUNNING


async def test_an_order_to_stop_is_carried_out_in_its_givers_name() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "the campaign is over")
    ended = await platform.wake()
    assert ended["proposal"].requested_by == "dave"
    assert ended["experiment"].ending == "stopped"
    assert await platform.weights() == {"1": 100}


async def test_somebody_elses_change_of_the_route_stands() -> None:
    platform = await begun()
    generation = (await platform.serving.route(MODEL)).generation
    await platform.serving.set_weights(MODEL, {"3": 100}, expected_generation=generation, key="by hand")
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.FAILED
    assert await platform.weights() == {"3": 100}


async def test_the_kill_switch_changes_nothing_not_even_back() -> None:
    platform = await begun()
    platform.mode = Mode.OBSERVE
    for _ in range(3):
        await visited(platform, {}, {"2": 0.5})
        await platform.wake()
    assert await platform.weights() == {"1": 50, "2": 50}
    platform.mode = Mode.PROPOSE
    await visited(platform)
    await platform.wake()
    assert await platform.weights() == {"1": 100}


async def test_a_freeze_keeps_a_winner_waiting_and_not_what_harms() -> None:
    platform = await begun()
    now = platform.clock.now()
    freeze = Freeze(name="holidays", start=now, end=now + timedelta(hours=10))
    platform.policies = POLICIES.model_copy(update={"freezes": (freeze,)})
    ended = await go_on(platform, {"1": 0.4, "2": 0.1})
    assert ended["proposal"].proposed_at >= freeze.end
    assert isinstance((await platform.proposal()).action, Promote)
    harmed = await begun(policies=platform.policies.model_copy(update={"freezes": ()}))
    harmed.policies = POLICIES.model_copy(update={"freezes": (freeze.model_copy(update={"end": now + timedelta(days=9)}),)})
    await go_on(harmed, {}, {"2": 0.5}, most=3)
    assert await harmed.weights() == {"1": 100}


async def test_what_nobody_can_see_is_ended_after_a_while() -> None:
    platform = await begun()
    platform.predictions.go_down()
    for _ in range(10):
        if (await platform.wake())["experiment"].over:
            break
    assert await platform.weights() == {"1": 100}
    assert "not seen" in titles(platform)


async def test_what_nobody_can_see_under_the_kill_switch_is_told_once_and_keeps_its_traffic() -> None:
    platform = await begun()
    platform.predictions.go_down()
    platform.mode = Mode.OBSERVE
    for _ in range(8):
        await platform.wake()
    assert await platform.weights() == {"1": 50, "2": 50}
    (told,) = [message for _, message, _ in platform.notify.sent if "not seen" in message.title]
    assert (told.severity, "nothing may be changed now" in told.title) == ("warning", True)
    platform.mode = Mode.PROPOSE
    await platform.wake()
    assert await platform.weights() == {"1": 100}


async def test_an_order_to_stop_is_carried_out_while_the_registry_is_away() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.registry.go_down()
    ended = await platform.wake()
    assert await platform.weights() == {"1": 100}
    action = ended["proposal"].action
    assert isinstance(action, StopExperiment)
    assert (action.blind, ended["proposal"].requested_by, ended["experiment"].over) == (True, "dave", True)
    status, reason = standing_of(ended)
    assert status == "stopped"
    assert "dave ended it: complaints. The registry does not answer" in reason


async def test_what_harms_is_taken_back_while_the_registry_is_away() -> None:
    platform = await begun()
    platform.registry.go_down()
    ended = await go_on(platform, {}, {"2": 0.5}, most=2)
    assert (ended["experiment"].ending, await platform.weights()) == ("harmful", {"1": 100})
    platform.registry.come_back()
    assert await platform.champion() == "1"
    assert (await verified(platform))["outcome"] == Outcome.RESOLVED


async def test_nobody_wins_while_the_registry_is_away() -> None:
    platform = await begun()
    platform.registry.go_down()
    for _ in range(10):
        await visited(platform, {"1": 0.4, "2": 0.1})
        await platform.wake()
        assert await waits(platform)
    platform.registry.come_back()
    await go_on(platform, {"1": 0.4, "2": 0.1}, most=1)
    assert isinstance((await platform.proposal()).action, Promote)


async def test_a_registry_that_refuses_for_good_ends_it_by_the_route() -> None:
    platform = await begun()

    async def refused(*_: Any) -> Any:
        raise PermanentError("no such model")

    platform.registry.alias = refused  # type: ignore[method-assign]
    ended = await platform.wake()
    assert ("no such model" in ended["recommendation"].reason, ended["experiment"].over) == (True, True)
    assert await platform.weights() == {"1": 100}


async def test_a_registry_that_goes_away_between_the_proposal_and_the_end_does_not_keep_it_from_the_route() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    real, calls = platform.registry.alias, iter([True, True])

    async def twice(*args: Any, **values: Any) -> Any:
        if next(calls, False):
            return await real(*args, **values)
        raise TemporaryError("the registry is away")

    platform.registry.alias = twice  # type: ignore[method-assign]
    ended = await platform.wake()
    assert (ended["experiment"].over, await platform.weights()) == (True, {"1": 100})


async def test_killed_after_the_arms_were_split_they_are_split_once() -> None:
    platform = await asked()
    platform.serving.disturb.after("set_weights", TemporaryError("lost"), Killed())
    with pytest.raises(Killed):
        await platform.decide(by=("alice", "bob"))
    await platform.go_on()
    assert (await platform.serving.route(MODEL)).weights == {"1": 50, "2": 50}
    assert (await platform.serving.route(MODEL)).generation == 2
    await go_on(platform, {"1": 0.4, "2": 0.1})


async def test_killed_while_it_is_taken_back_it_is_taken_back_once() -> None:
    platform = await begun()
    platform.serving.disturb.after("set_weights", Killed())
    with pytest.raises(Killed):
        await go_on(platform, {}, {"2": 0.5})
    ended = await platform.go_on()
    assert ended["experiment"].over
    assert (await platform.serving.route(MODEL)).generation == 3
    assert [key for _, _, key in platform.notify.sent].count("run-1/1/told/harmful") == 1


async def test_what_answers_already_beside_the_champion_is_not_tried_at_once() -> None:
    """A rollout, for one: one change of a model at a time."""
    platform = await healthy(policies=POLICIES)
    generation = (await platform.serving.route(MODEL)).generation
    await platform.serving.set_weights(MODEL, {"1": 90, "3": 10}, expected_generation=generation, key="rollout")
    request = Request(kind="experiment", model=MODEL, by="carol", reason="r", plan=PLAN)
    ended = await platform.start(to_alert(request, "trg", platform.clock.now()))
    assert (ended["outcome"], "one change of it at a time" in ended["reason"]) == (Outcome.DENIED, True)


async def test_beside_a_shadow_no_other_version_is_tried_nor_rolled_out() -> None:
    """It answers nobody, and is a change of the traffic under way all the same."""
    kinds: tuple[tuple[Literal["promote", "experiment"], str], ...] = (
        ("promote", "one rollout at a time"),
        ("experiment", "one change of it at a time"),
    )
    for kind, told in kinds:
        platform = await healthy(policies=POLICIES)
        generation = (await platform.serving.route(MODEL)).generation
        await platform.serving.set_weights(MODEL, {"1": 100}, shadow={"2": 100}, expected_generation=generation, key="shadow")
        plan = Plan(treatments=(Treatment(version="3", weight=10),), goal=WRONG) if kind == "experiment" else None
        request = Request(kind=kind, model=MODEL, version=None if plan else "3", by="carol", reason="r", plan=plan)
        ended = await platform.start(to_alert(request, "trg", platform.clock.now()))
        assert (ended["outcome"], told in ended["reason"]) == (Outcome.DENIED, True)
    own = StartRollout(model=MODEL, from_version="1", version="2", stages=(Stage(weight=1.0),))
    assert (await read_state(own, platform.context)).weights == {"1": 100}


async def test_a_rollout_does_not_begin_beside_an_experiment() -> None:
    platform = await begun()
    other = Request(kind="promote", model=MODEL, version="3", by="carol", reason="r")
    platform.run_id = "run-2"
    ended = await platform.start(to_alert(other, "other", platform.clock.now()))
    assert ended["outcome"] == Outcome.DENIED
    assert await platform.weights() == {"1": 50, "2": 50}


async def test_an_edit_changes_weights_and_durations_only() -> None:
    platform = await asked()
    proposal = await platform.proposal()
    assert isinstance(proposal.action, StartExperiment)
    smaller = PLAN.model_copy(update={"treatments": (Treatment(version="2", weight=10),)})
    action = proposal.action.model_copy(update={"plan": smaller})
    assert edit_flaw(proposal, action) is None
    for plan in (
        PLAN.model_copy(update={"treatments": (Treatment(version="3", weight=50),)}),
        PLAN.model_copy(update={"goal": ERRORS, "guardrails": ()}),
    ):
        assert edit_flaw(proposal, proposal.action.model_copy(update={"plan": plan})) is not None
    await platform.decide(Edit(action=action), by="alice")
    await platform.decide(by="bob")
    assert await platform.weights() == {"1": 90, "2": 10}


async def test_a_winner_may_be_rolled_out_instead() -> None:
    platform = await begun()
    await go_on(platform, {"1": 0.4, "2": 0.1})
    stages = POLICIES.rollouts.stages[1:]
    rollout = StartRollout(model=MODEL, from_version="1", version="2", stages=stages)
    await platform.decide(Edit(action=rollout), by="alice")
    ended = await platform.decide(by=("bob", "dora"))
    assert (ended["experiment"].over, ended["rollout"].stage) == (True, 0)
    assert await platform.weights() == {"1": 50, "2": 50}


async def test_what_a_person_makes_of_a_winner_that_ends_nothing_is_followed_by_the_end() -> None:
    platform = await begun()
    await go_on(platform, {"1": 0.4, "2": 0.1})
    await platform.decide(Edit(action=NoAction(reason="let it be")), by="alice")
    assert await platform.weights() == {"1": 100}


class Killed(BaseException):
    """Nothing that the code could catch: the process is gone."""
