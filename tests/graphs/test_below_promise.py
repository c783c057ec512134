"""An accuracy below its promise is a reason to train, where a training would help: the incident specialist hands it over."""

from typing import Any

import pytest

from agents.actions import NoAction, Notify, QuarantineData, Retrain
from agents.policies import ModelPolicy, Policies, Slo, Training
from agents.routing import Specialist
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MODEL, alert, bad_rollout
from tests.graphs.test_drift_specialist import Drifted, drifted

TRAINED = Policies(
    slo=Slo(min_accuracy=0.97), models={MODEL: ModelPolicy(training=Training(command=("python", "-m", "train")))}
)


async def told(case: Drifted, **slo: Any) -> dict[str, Any]:
    """What comes of the monitor's own alert about performance."""
    case.platform.policies = TRAINED.model_copy(update={"slo": Slo(**{"min_accuracy": 0.97, **slo})})
    labels = {"alertname": "ModelBelowSlo", "monitor": "performance", "model": MODEL}
    return await case.platform.start(
        alert(case.platform.clock.now(), source="monitor", name="ModelBelowSlo", labels=labels, severity="critical")
    )


async def test_an_accuracy_below_its_promise_asks_for_a_training() -> None:
    case = await drifted("concept_drift")
    await told(case)
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, Retrain)
    assert proposal.requested_by == "agent:drift"
    assert "Handed over by the incident specialist: accuracy is below its promise" in proposal.finding.summary


async def test_broken_data_below_the_promise_is_not_trained_on() -> None:
    case = await drifted("data_quality")
    await told(case)
    assert isinstance((await case.platform.proposal()).action, QuarantineData)


async def test_where_a_training_learns_nothing_new_people_are_told() -> None:
    case = await drifted("none")
    ended = await told(case)
    assert ended["outcome"] == Outcome.NOTIFIED
    assert (ended["handed"].by, ended["specialist"]) == (Specialist.INCIDENT, Specialist.INCIDENT)
    assert isinstance(ended["proposal"].action, Notify)


async def test_a_promise_that_is_kept_asks_for_nothing() -> None:
    case = await drifted("covariate_drift")
    ended = await told(case, min_accuracy=0.5)
    assert ended.get("handed") is None


async def test_inputs_that_moved_are_trained_on_when_the_promise_is_broken_although_nothing_was_lost() -> None:
    case = await drifted("covariate_drift")
    await told(case)
    assert isinstance((await case.platform.proposal()).action, Retrain)


async def test_a_bad_version_below_the_promise_is_taken_back_and_nothing_is_trained() -> None:
    platform = await bad_rollout(policies=TRAINED)
    await platform.start()
    assert (await platform.proposal()).action.kind == "rollback"


async def test_a_training_that_is_under_way_leaves_it_to_people_to_know() -> None:
    case = await drifted("concept_drift")
    await told(case)
    await case.platform.decide()
    case.platform.run_id = "run-2"
    ended = await told(case)
    assert not isinstance(ended["proposal"].action, NoAction | Retrain)
    assert ended["outcome"] == Outcome.NOTIFIED


@pytest.mark.parametrize("hours", [6])
async def test_wrong_labels_prove_nothing(hours: int) -> None:
    case = await drifted("none")
    case.platform.traffic("1", hours * HOUR, accuracy=0.02)
    ended = await told(case)
    assert not isinstance(ended["proposal"].action, Retrain)
