"""What is deployed for Flagger keeps its schemas and refers to what exists; settings that lack something say what."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from api import settings
from api.settings import Sender, WrongSettings
from gateway.metrics import Metrics
from tests.kubernetes.store import faults
from tools.rollouts import canaries
from tools.rollouts.port import Plan

FOLDER = Path(__file__).parents[2] / "infra" / "flagger"
SETTINGS = canaries.Settings(hooks="http://oppen.oppen:8000", prometheus="http://prometheus.monitoring:9090")


def manifests(name: str) -> list[dict[str, Any]]:
    return [dict(each) for each in yaml.safe_load_all((FOLDER / name).read_text())]


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_manifests_keep_their_schemas(name: str) -> None:
    found = manifests(name)
    assert found
    assert {each["metadata"]["name"]: faults(each) for each in found if faults(each)} == {}


def test_schemas_refuse_what_flagger_does_not_know() -> None:
    canary = manifests("canary.yaml")[-1]
    for change in ({"stepWeigths": [10]}, {"stepWeights": ["10"]}, {"interval": "soon"}, {"webhooks": [{"name": "a"}]}):
        assert faults({**canary, "spec": {**canary["spec"], "analysis": change}}), change
    assert faults({**canary, "spec": {"analysis": {}}}), "a Canary without a target"
    template = manifests("metric-templates.yaml")[0]
    assert faults({**template, "spec": {**template["spec"], "provider": {"type": "guesses"}}})


def test_the_templates_are_those_that_the_service_makes() -> None:
    assert manifests("metric-templates.yaml") == canaries.metric_templates(SETTINGS)


def test_templates_ask_for_metrics_that_the_gateway_has() -> None:
    asked = set(re.findall(r"oppen_gateway_\w+", str(canaries.metric_templates(SETTINGS))))
    had = {f"{family.name}{suffix}" for family in Metrics().registry.collect() for suffix in ("_bucket", "_count", "_total")}
    assert asked
    assert asked <= had


def test_the_example_asks_for_templates_that_there_are() -> None:
    analysis = manifests("canary.yaml")[-1]["spec"]["analysis"]
    named = {each["templateRef"]["name"] for each in analysis["metrics"]}
    assert named <= {each["metadata"]["name"] for each in manifests("metric-templates.yaml")}
    config, deployment, _ = manifests("canary.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    read = container["env"][0]["valueFrom"]["configMapKeyRef"]
    assert (read["name"], read["key"]) == (SETTINGS.serving("flights"), SETTINGS.entry)
    assert config["metadata"]["name"] == read["name"]


def test_a_canary_that_is_made_keeps_its_schema() -> None:
    hooks = canaries.webhooks(SETTINGS, "ml", "flights", "key", {"model": "flights", "rollout": "run-1/1"})
    analysis = canaries.analysis({}, SETTINGS, [10, 50, 100], hooks, canaries.metrics(SETTINGS, "ml", "flights"))
    assert faults(canaries.manifest("flights", SETTINGS, {"analysis": analysis})) == []


def test_a_canarys_password_is_its_own() -> None:
    assert canaries.password("key", "ml", "flights") != canaries.password("key", "ml", "fraud")
    assert canaries.password("key", "ml", "flights") != canaries.password("other", "ml", "flights")
    (first, *_) = canaries.webhooks(SETTINGS, "ml", "flights", "the key itself", {})
    assert "the key itself" not in str(first)


@pytest.mark.parametrize("steps", [(), (10, 50), (50, 10, 100), (10, 10, 100), (0, 0, 100)])
def test_a_plan_rises_to_everything(steps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="steps"):
        Plan(key="k", model="flights", version="2", from_version="1", steps=steps)


CLUSTER = '{"hooks": "http://oppen.oppen:8000", "prometheus": "http://prometheus:9090"}'
SENDER = '{"flagger": {"canary": "sesame"}}'


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({}, "OPPEN_ROLLOUTS_CLUSTER"),
        ({"OPPEN_ROLLOUTS_CLUSTER": CLUSTER}, "OPPEN_SENDERS"),
        ({"OPPEN_ROLLOUTS_CLUSTER": CLUSTER, "OPPEN_SENDERS": '{"flagger": {"bearer": "x"}}'}, "OPPEN_SENDERS"),
        ({"OPPEN_ROLLOUTS_CLUSTER": CLUSTER, "OPPEN_SENDERS": SENDER, "OPPEN_ROLLOUTS": "argo"}, "OPPEN_ROLLOUTS"),
        ({"OPPEN_ROLLOUTS_CLUSTER": '{"hooks": "oppen"}', "OPPEN_SENDERS": SENDER}, "OPPEN_ROLLOUTS_CLUSTER.hooks"),
    ],
)
def test_settings_that_lack_something_say_what(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], variable: str) -> None:
    for name, value in {"OPPEN_ROLLOUTS": "flagger:ml", **given}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WrongSettings) as wrong:
        settings.read()
    assert variable in [each for each, _ in wrong.value.faults]
    assert "sesame" not in str(wrong.value)


def test_settings_with_flagger(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROLLOUTS", "flagger:ml"), ("ROLLOUTS_CLUSTER", CLUSTER), ("SENDERS", SENDER)):
        monkeypatch.setenv(f"OPPEN_{name}", value)
    found = settings.read()
    assert found.canary_key == SecretStr("sesame")
    assert found.senders["flagger"] == Sender(canary=SecretStr("sesame"))


def test_what_jobs_lack_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPEN_JOBS", "kubernetes:ml")
    with pytest.raises(WrongSettings) as wrong:
        settings.read()
    assert [each for each, _ in wrong.value.faults] == ["OPPEN_JOBS_CLUSTER"]
