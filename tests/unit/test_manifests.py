"""What is deployed on Kubernetes, and what our code sends there, keeps the server's own schemas, unknown fields refused; it
sets settings that exist, and asks for accounts and priorities that Terraform makes."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import Settings
from gateway.settings import Settings as GatewaySettings
from tests.kubernetes.rights import TERRAFORM, read
from tests.kubernetes.store import faults, has_schema
from tools.jobs import manifests
from tools.jobs.port import MIB, JobSpec, Resources
from tools.rollouts import canaries

INFRA = Path(__file__).parents[2] / "infra"
FILES = [*sorted((INFRA / "kubernetes").glob("*.yaml")), *sorted((INFRA / "flagger").glob("*.yaml"))]
JOBS = manifests.Settings(
    image="oppen:1",
    secret="s",
    checkpoints_claim="c",
    priority_class="p",
    gpu_priority_class="g",
    gpu_node_selector={"a": "b"},
)
ROLLOUTS = canaries.Settings(hooks="http://oppen:8000", prometheus="http://prometheus:9090", provider="kubernetes")
SPEC = JobSpec(
    model="Late flights",
    team="search",
    run_id="run-1",
    command=("train", "$HOME"),
    environment={"A": "b"},
    secrets=frozenset({"TOKEN"}),
    config={"a.json": "{}"},
    resources=Resources(cpu=0.5, memory_bytes=64 * MIB, gpus=1),
    deadline=timedelta(hours=1),
)


def documents(path: Path) -> list[dict[str, Any]]:
    return [dict(each) for each in yaml.safe_load_all(path.read_text())]


def made() -> dict[str, dict[str, Any]]:
    """By our code, as the server is sent them."""
    hooks = canaries.webhooks(ROLLOUTS, "ml", "flights", "a key", {"model": "flights", "rollout": "run-1/1"})
    analysis = canaries.analysis({}, ROLLOUTS, [10, 50, 100], hooks, canaries.metrics(ROLLOUTS, "ml", "flights"))
    found = {
        "job": manifests.job("oppen-x", "k", SPEC, JOBS),
        "bare job": manifests.job(
            "oppen-x", "k", SPEC.model_copy(update={"config": {}, "secrets": frozenset()}), manifests.Settings(image="i")
        ),
        "files": manifests.config_map("oppen-x", "9d1c", SPEC),
        "canary": canaries.manifest("flights", ROLLOUTS, {"analysis": analysis}),
        "scale": {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": {"name": "a", "resourceVersion": "7"},
            "spec": {"replicas": 3},
        },
    }
    return found | {f"template {number}": each for number, each in enumerate(canaries.metric_templates(ROLLOUTS))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(INFRA)))
def test_what_is_deployed_keeps_the_schemas(path: Path) -> None:
    for each in documents(path):
        assert has_schema(each), f"nothing is known of {each['kind']}, so nothing was checked"
        assert faults(each) == [], each["metadata"]["name"]


@pytest.mark.parametrize(("name", "manifest"), made().items(), ids=lambda each: each if isinstance(each, str) else "")
def test_what_is_sent_keeps_the_schemas(name: str, manifest: dict[str, Any]) -> None:
    assert has_schema(manifest)
    assert faults(manifest) == []
    assert faults({**manifest, "spek": {}}), "an unknown field is refused"
    assert faults({**manifest, "metadata": {**manifest["metadata"], "nmae": "x"}})


def deployment() -> dict[str, Any]:
    (found,) = [each for each in documents(INFRA / "kubernetes" / "oppen.yaml") if each["kind"] == "Deployment"]
    return found


def test_the_deployment_sets_settings_that_exist_and_that_are_right(monkeypatch: pytest.MonkeyPatch) -> None:
    (config,) = [each for each in documents(INFRA / "kubernetes" / "oppen.yaml") if each["kind"] == "ConfigMap"]
    known = {f"OPPEN_{name.upper()}" for name in Settings.model_fields}
    known |= {f"OPPEN_GATEWAY_{name.upper()}" for name in GatewaySettings.model_fields} | {"HOME"}
    containers = deployment()["spec"]["template"]["spec"]["containers"]
    own = {each["name"] for container in containers for each in container["env"]}
    assert own | config["data"].keys() <= known
    for name, value in config["data"].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPPEN_EVALUATION_KEY", "of the Secret that is made by hand")
    settings = Settings()
    assert settings.jobs_cluster is not None
    assert settings.jobs_cluster.image == containers[0]["image"]


def test_its_pod_keeps_the_restricted_standard_and_the_gateway_gets_no_token() -> None:
    pod = deployment()["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"livenessProbe", "readinessProbe", "startupProbe"} <= container.keys()
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert ("token" in mounted) == (container["name"] == "service")


def test_it_runs_as_terraform_has_made_it() -> None:
    pod = deployment()["spec"]["template"]["spec"]
    text = (TERRAFORM / "access.tf").read_text()
    assert f'name      = "{pod["serviceAccountName"]}"' in text
    priorities = next(
        block["priorities"] for block in read(TERRAFORM / "modules/plan/outputs.tf")["output"] if "priorities" in block
    )
    assert pod["priorityClassName"] in json.dumps(priorities)
