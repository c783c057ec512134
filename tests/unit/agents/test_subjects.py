"""What an alert speaks of, and who takes it."""

from agents.alerts import Alert
from agents.policies import Intake
from agents.routing import Specialist, route
from agents.subjects import Subject, model_of, subject_of, version_of
from tests.unit.agents.worlds import NOW

INTAKE = Intake()


def alert(labels: dict[str, str], annotations: dict[str, str] | None = None) -> Alert:
    return Alert(
        source="test", fingerprint="f", status="firing", name="N", labels=labels, annotations=annotations or {}, starts_at=NOW
    )


def test_the_model_is_found_before_the_job() -> None:
    found = alert({"job": "models", "model": "fraud", "version": "3"})
    assert str(subject_of(found, INTAKE)) == "model:fraud"
    assert version_of(found, INTAKE) == "3"


def test_annotations_are_looked_at_after_labels() -> None:
    assert model_of(alert({}, {"model_name": "churn"}), INTAKE) == "churn"
    assert model_of(alert({"model_name": "fraud"}, {"model": "churn"}), INTAKE) == "fraud"


def test_policy_names_the_labels() -> None:
    intake = Intake(model_labels=("ml_app",))
    assert model_of(alert({"model": "fraud", "ml_app": "churn"}), intake) == "churn"


def test_without_a_model_the_component_is_the_subject() -> None:
    assert subject_of(alert({"job": "gateway", "instance": "a:1"}), INTAKE) == Subject(kind="component", name="gateway")
    assert subject_of(alert({"model": " "}), INTAKE) == Subject(kind="component", name="N")


def test_long_names_stay_apart() -> None:
    one, other = alert({"model": "m" * 3_000 + "1"}), alert({"model": "m" * 3_000 + "2"})
    assert len(subject_of(one, INTAKE).name) == 200
    assert subject_of(one, INTAKE) != subject_of(other, INTAKE)


def test_what_matches_no_rule_is_an_incident() -> None:
    assert route([alert({})]) is Specialist.INCIDENT
    assert route([]) is Specialist.INCIDENT
