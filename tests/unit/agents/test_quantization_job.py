"""What is submitted for a quantisation is what its job reads, and what it has become of."""

from datetime import timedelta

import pytest

from agents.cost.quantization_rules import QuantizationRules
from agents.drift.retraining import held_back
from agents.evaluation_job import EvaluationJob
from agents.policies import Training, parse_policies
from agents.quantization_job import CONFIG, Ordered, follow, is_quantization, key_of, spec_of, stands
from agents.training import JOB_TAG, TRACKING
from agents.verification import Status
from tests.unit.agents.quantizations import measured
from tests.unit.agents.worlds import NOW
from tools.jobs.port import JobState, Phase, Reason, job_name
from tools.registry.evaluations import KEY
from tools.registry.port import ModelVersion

NAME = job_name(key_of("run-1", "3"))
EXPERIMENT = Ordered(model="flights", version="3", job=NAME, begun_at=NOW)
REGISTRATION = EXPERIMENT.model_copy(update={"artefact": "a" * 64})


def job(phase: Phase, **more: object) -> JobState:
    given = {"name": NAME, "model": "flights", "team": "mlops", "run_id": "run-1", "submitted_at": NOW, **more}
    return JobState.model_validate({"phase": phase, **given})


def version(number: str, **tags: str) -> ModelVersion:
    return ModelVersion(
        model="flights", version=number, created_at=NOW, run_id="r", status="READY", format="onnx", tags=dict(tags)
    )


def test_its_job_gets_the_key_and_names_no_training() -> None:
    spec = spec_of(
        EXPERIMENT,
        "run-1",
        QuantizationRules(),
        EvaluationJob(source="flights"),
        Training(),
        held_out=None,
        recent=None,
        left_out=(),
        traffic="",
    )
    assert spec.secrets == {KEY, TRACKING}
    assert list(spec.config) == [CONFIG]
    assert is_quantization(NAME)
    assert not is_quantization(job_name("evaluation/run-1/3-beside-2"))


def test_who_names_no_command_quantises_nothing() -> None:
    rules = parse_policies({"models": {"flights": {"quantization": {"command": None}}}}).quantization_of("flights")
    with pytest.raises(ValueError, match=r"models\.flights\.quantization\.command"):
        spec_of(EXPERIMENT, "r", rules, EvaluationJob(), Training(), held_out=None, recent=None, left_out=(), traffic="")


def test_a_quantisation_under_way_holds_up_no_training() -> None:
    running = (job(Phase.RUNNING),) * 5
    assert held_back(running, Training(command=("train",), per_day=3), NOW, by_person=False) is None


def test_an_experiment_holds_when_it_has_ended_and_a_registration_when_its_version_is_there() -> None:
    assert follow(EXPERIMENT, job(Phase.RUNNING)).status is Status.WAITING
    assert follow(EXPERIMENT, job(Phase.SUCCEEDED)).status is Status.HOLDS
    assert follow(EXPERIMENT, job(Phase.FAILED, reason=Reason.OUT_OF_MEMORY)).status is Status.FAILED
    assert follow(REGISTRATION, job(Phase.SUCCEEDED), (version("3"),)).status is Status.FAILED
    made = follow(REGISTRATION, job(Phase.SUCCEEDED), (version("4", **{JOB_TAG: NAME}), version("3")))
    assert (made.status, made.produced) == (Status.HOLDS, "4")


def test_what_was_measured_stands_for_a_while() -> None:
    assert stands(measured(), QuantizationRules(), NOW + timedelta(days=6))
    assert not stands(measured(), QuantizationRules(), NOW + timedelta(days=7))
