"""The drift specialist in the supervisor: what it proposes for each cause, and where that stops."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from langgraph.runtime import Runtime

from agents.actions import NoAction, Notify, QuarantineData, Retrain, Rollback
from agents.alerts import Alert
from agents.evidence import Cause
from agents.policies import Mode, ModelPolicy
from agents.requests import Request, to_alert
from agents.routing import HandOver, Specialist, route
from graphs.state import Outcome
from graphs.supervisor import pass_on
from simulations.drift_worlds import World
from tests.graphs.platform import HOUR, MODEL, Platform, alert, bad_rollout, healthy
from tests.twins.predictions import TwinPredictions
from tools.errors import TemporaryError
from tools.predictions.port import Period
from tools.predictions.records import PredictionRecord
from tools.tables import stored
from tools.values import Window

DAY = 24 * HOUR


@dataclass
class Drifted:
    platform: Platform
    world: World
    reference: Window
    current: Window

    async def run(self) -> dict[str, Any]:
        return await self.platform.start(self.alert())

    def alert(self) -> Alert:
        labels = {"alertname": "ModelDrift", "monitor": "drift", "model": MODEL}
        return alert(self.platform.clock.now(), source="monitor", name="ModelDrift", labels=labels)


async def drifted(cause: str, *, labelled: float = 0.8, seed: int = 3, champion: bool = True) -> Drifted:
    platform = Platform()
    for _ in range(2):
        platform.registry.publish(MODEL)
    if champion:
        await platform.move("1")
    now, rules = platform.clock.now(), platform.policies.drift
    current = Window(start=now - rules.window, end=now)
    reference = Window(start=current.start - rules.reference, end=current.start)
    world = World(seed, cause)
    world.model = MODEL
    platform.predictions.add(world.draw(reference, 6_000, labelled, hit=False))
    platform.predictions.add(world.draw(current, 1_500, labelled, hit=True))
    return Drifted(platform, world, reference, current)


async def test_a_changed_concept_asks_for_training_on_what_came_since_and_stops_where_nothing_trains() -> None:
    case = await drifted("concept_drift")
    ended = await case.run()
    proposal = ended["proposal"]
    assert proposal.requested_by == "agent:drift"
    assert proposal.finding.cause is Cause.CONCEPT_DRIFT
    assert isinstance(proposal.action, Retrain)
    least = case.platform.policies.training_of(MODEL).least_window
    assert (proposal.action.window_start, proposal.action.window_end) == (case.current.end - least, case.current.end)
    assert proposal.action.expected_gain is not None
    assert proposal.action.expected_gain > 0.03
    assert ended["outcome"] == Outcome.DENIED
    assert ended["reason"] == "no training command is configured: set models.flights.training.command in the policies"
    ((_, told, _),) = case.platform.notify.sent
    assert "no training command is configured" in told.body


async def test_labels_that_shifted_ask_for_training_on_the_whole_window() -> None:
    case = await drifted("label_shift")
    proposal = (await case.run())["proposal"]
    assert proposal.finding.cause is Cause.LABEL_SHIFT
    assert isinstance(proposal.action, Retrain)
    assert proposal.action.window_start == case.reference.start


async def test_inputs_that_moved_without_harm_retrain_nothing() -> None:
    case = await drifted("covariate_drift")
    proposal = (await case.run())["proposal"]
    assert proposal.finding.cause is Cause.DATA_DRIFT
    assert isinstance(proposal.action, NoAction)
    assert "as right as they were" in proposal.action.reason


async def test_inputs_that_moved_and_cost_accuracy_ask_for_training() -> None:
    case = await drifted("covariate_drift", seed=8)
    proposal = (await case.run())["proposal"]
    assert isinstance(proposal.action, Retrain)
    assert proposal.action.expected_gain is not None
    assert proposal.action.expected_gain >= case.platform.policies.drift.min_gain
    assert {each.id for each in proposal.finding.evidence} >= {"accuracy.current", "accuracy.estimate"}


async def test_a_model_says_itself_how_much_accuracy_is_worth_a_training() -> None:
    case = await drifted("covariate_drift", seed=8)
    own = ModelPolicy(drift=case.platform.policies.drift.model_copy(update={"min_gain": 0.5}))
    case.platform.policies = case.platform.policies.model_copy(update={"models": {MODEL: own}})
    proposal = (await case.run())["proposal"]
    assert isinstance(proposal.action, NoAction)


async def test_without_labels_training_is_asked_for_because_harm_would_go_unseen() -> None:
    case = await drifted("covariate_drift", labelled=0.0)
    proposal = (await case.run())["proposal"]
    assert isinstance(proposal.action, Retrain)
    assert proposal.action.expected_gain is None


async def test_broken_values_are_quarantined_and_people_are_told_to_repair_them() -> None:
    case = await drifted("data_quality")
    await case.run()
    action = (await case.platform.proposal()).action
    assert isinstance(action, QuarantineData)
    assert action.features == (case.world.detail.split(":")[0].split()[0],)
    assert (action.window_start, action.window_end) == (case.current.start, case.current.end)
    await case.platform.decide()
    ended = await case.platform.wake()
    assert ended["outcome"] == Outcome.CONTAINED
    (placed,) = await case.platform.quarantines.in_force(MODEL)
    assert (placed.window, placed.placed_by) == (case.current, "alice")
    assert "still to be repaired" in case.platform.notify.sent[-1][1].body


async def test_a_fault_that_has_just_begun_is_quarantined_from_then_on() -> None:
    case = await drifted("none")
    since = case.current.end - 6 * HOUR
    case.world = World(3, "data_quality")
    case.world.model = MODEL
    fresh = case.world.draw(Window(start=since, end=case.current.end), 2_400, 0.5, hit=True)
    case.platform.predictions.add(msgspec.structs.replace(each, id=f"fresh-{each.id}") for each in fresh)
    await case.run()
    action = (await case.platform.proposal()).action
    assert isinstance(action, QuarantineData)
    assert action.window_start == since


async def test_what_is_quarantined_already_is_not_asked_about_again_and_people_are_told() -> None:
    case = await drifted("data_quality")
    await case.platform.quarantines.place(MODEL, case.current, (), expected=(), key="k", actor="ann", reason="broken")
    ended = await case.run()
    assert ended["outcome"] == Outcome.NOTIFIED
    assert "quarantined already" in ended["reason"]


async def test_a_training_says_what_it_leaves_out_because_it_is_quarantined() -> None:
    case = await drifted("label_shift")
    broken = Window(start=case.reference.start + DAY, end=case.reference.start + 2 * DAY)
    older = broken.shifted(-10 * DAY)
    for place, window in enumerate((broken, older)):
        await case.platform.quarantines.place(MODEL, window, (), expected=(), key=f"{place}", actor="ann", reason="broken")
    action = (await case.run())["proposal"].action
    assert isinstance(action, Retrain)
    assert [each.window for each in action.left_out] == [broken]


async def test_quarantines_that_cannot_be_read_are_named_as_missing() -> None:
    case = await drifted("label_shift")
    case.platform.quarantines.go_down()
    assert [each.source for each in (await case.run())["proposal"].finding.missing] == ["quarantines"]


async def test_nothing_that_moved_is_a_false_alarm() -> None:
    case = await drifted("none")
    ended = await case.run()
    assert (ended["outcome"], ended["proposal"].finding.cause) == (Outcome.NO_ACTION, Cause.FALSE_ALARM)


async def test_inputs_unlike_those_of_training_are_found_though_nothing_moved() -> None:
    case = await drifted("none")
    other = World(5, "covariate_drift")
    other.model = "elsewhere"
    case.platform.predictions.add(other.draw(case.reference, 2_000, 0.0, hit=True))
    learnt = await case.platform.predictions.distributions("elsewhere", case.reference)
    version = case.platform.registry.publish(MODEL, files={stored.FILE: stored.written(learnt).encode()})
    await case.platform.move(version)
    # The new champion has answered as many of the same requests.
    records = list(case.world.draw(case.current, 1_500, 0.8, hit=False))
    case.platform.predictions.add(
        msgspec.structs.replace(
            each, id=f"again-{each.id}", **({"version": version} if isinstance(each, PredictionRecord) else {})
        )
        for each in records
    )
    proposal = (await case.run())["proposal"]
    assert proposal.finding.cause is Cause.DATA_DRIFT
    assert f"what version {version} was trained on" in proposal.finding.summary
    assert isinstance(proposal.action, Retrain)
    assert proposal.action.expected_gain is None
    assert any(each.id.startswith("drift.training.") for each in proposal.finding.evidence)


async def test_traffic_that_cannot_be_read_is_said() -> None:
    case = await drifted("none")
    case.platform.predictions.go_down()
    proposal = (await case.run())["proposal"]
    assert (proposal.finding.cause, [each.source for each in proposal.finding.missing]) == (Cause.UNRESOLVED, ["predictions"])
    assert isinstance(proposal.action, Notify)


async def test_a_model_without_a_champion_is_told_about() -> None:
    case = await drifted("concept_drift", champion=False)
    assert isinstance((await case.run())["proposal"].action, Notify)


async def test_in_mode_observe_nothing_is_asked_either() -> None:
    case = await drifted("concept_drift")
    case.platform.mode = Mode.OBSERVE
    assert (await case.run())["outcome"] == Outcome.DENIED


@pytest.mark.parametrize(
    ("name", "labels", "specialist"),
    [
        ("ModelDrift", {"monitor": "drift"}, Specialist.DRIFT),
        ("BadData", {"monitor": "data_quality"}, Specialist.DRIFT),
        ("ModelTrainingSkew", {"monitor": "skew"}, Specialist.DRIFT),
        ("FeatureDriftDetected", {}, Specialist.DRIFT),
        ("DriftOfLatency", {"monitor": "performance"}, Specialist.INCIDENT),
        ("ModelAccuracyLow", {}, Specialist.INCIDENT),
    ],
)
def test_who_takes_a_case(name: str, labels: dict[str, str], specialist: Specialist) -> None:
    platform = Platform()
    assert route([alert(platform.clock.now(), name=name, labels={"model": MODEL, **labels})]) is specialist


def drift_alert(platform: Platform) -> Alert:
    labels = {"alertname": "ModelDrift", "monitor": "drift", "model": MODEL}
    return alert(platform.clock.now(), source="monitor", name="ModelDrift", labels=labels)


async def test_drift_that_came_with_a_version_is_handed_to_the_incident_specialist_who_takes_it_back() -> None:
    platform = await bad_rollout()
    await platform.start(drift_alert(platform))
    proposal = await platform.proposal()
    assert proposal.requested_by == "agent:incident"
    assert proposal.action == Rollback(model=MODEL, from_version="2", to_version="1")
    assert "Handed over by the drift specialist: it came with version 2" in proposal.finding.summary
    await platform.decide()
    assert await platform.champion() == "1"


async def test_a_version_that_is_as_right_as_the_one_before_is_nobody_else_s_case() -> None:
    platform = await healthy()
    await platform.move("2")
    platform.traffic("2", 4 * HOUR)
    ended = await platform.start(drift_alert(platform))
    assert ended["proposal"].requested_by == "agent:drift"
    assert ended.get("handed") is None


async def test_where_other_versions_are_as_wrong_it_is_the_world_and_stays_with_the_drift_specialist() -> None:
    platform = await healthy()
    platform.traffic("1", 16 * HOUR, accuracy=0.5)
    await platform.move("2")
    platform.traffic("2", 6 * HOUR, accuracy=0.5)
    ended = await platform.start(drift_alert(platform))
    assert ended["proposal"].requested_by == "agent:drift"
    assert isinstance(ended["proposal"].action, Retrain)


class WithoutPeriods(TwinPredictions):
    """What the incident specialist rests on cannot be read."""

    async def periods(self, model: str, windows: Sequence[Window], *, steps: int) -> tuple[Period, ...]:
        raise TemporaryError("too slow today")


async def test_where_the_other_specialist_finds_nothing_the_first_one_s_word_stands() -> None:
    platform = await bad_rollout(predictions=WithoutPeriods())
    ended = await platform.start(drift_alert(platform))
    assert ended["handed"].by is Specialist.DRIFT
    proposal = ended["proposal"]
    assert proposal.requested_by == "agent:drift"
    assert proposal.action == ended["handed"].recommendation.action


async def test_a_case_is_handed_over_once_whoever_wishes_it_again() -> None:
    platform = await bad_rollout()
    await platform.start(drift_alert(platform))
    state = (await platform.graph.aget_state(platform.config)).values
    back = HandOver(to=Specialist.DRIFT, reason="it is yours after all")
    step = await pass_on({**state, "handover": back, "specialist": Specialist.INCIDENT}, Runtime(context=platform.context))
    assert step.goto == "propose"


@pytest.mark.parametrize(("cause", "stands"), [(Cause.TRAFFIC_CHANGE, True), (Cause.LABELS, False)])
async def test_a_training_that_a_person_asks_for_is_not_answered_by_telling_people(cause: Cause, stands: bool) -> None:
    platform = await bad_rollout()
    request = Request(kind="retrain", model=MODEL, by="carol", reason="the new airport has opened")
    await platform.start(to_alert(request, "trg", platform.clock.now()))
    state = (await platform.graph.aget_state(platform.config)).values
    asked = state["handed"].recommendation
    assert isinstance(asked.action, Retrain)
    told = Notify(channel="ops", title="flights: the traffic has changed", body="look")
    found = asked.model_copy(update={"action": told, "finding": asked.finding.model_copy(update={"cause": cause})})
    step = await pass_on({**state, "recommendation": found}, Runtime(context=platform.context))
    assert (step.update["recommendation"].action == asked.action) is stands  # type: ignore[call-overload,index]
