"""What is deployed refers to what exists: settings by their names, metrics by theirs, files that are there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from agents.training import TRACKING
from api.settings import Settings
from gateway.metrics import Metrics
from gateway.settings import Settings as GatewaySettings
from tools.registry.evaluations import KEY

ROOT = Path(__file__).parents[2]


def _compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


def test_compose_sets_only_settings_that_exist() -> None:
    known = {f"OPPEN_{name.upper()}" for name in Settings.model_fields}
    known |= {f"OPPEN_GATEWAY_{name.upper()}" for name in GatewaySettings.model_fields}
    given = {
        name
        for service in _compose()["services"].values()
        for name in service.get("environment", {})
        if name.startswith("OPPEN_")
    }
    assert given
    assert given <= known


def test_compose_names_files_that_exist() -> None:
    for service in _compose()["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_dir(), source
    assert (ROOT / _compose()["x-oppen"]["build"]["dockerfile"]).is_file()


def test_secrets_in_compose_come_from_outside() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.search(r"(PASSWORD|TOKEN): (?!\$\{|\"\$\{)\S", text)


def test_alerting_rules_ask_for_metrics_that_the_gateway_has() -> None:
    rules = (ROOT / "infra/prometheus/rules.yml").read_text()
    asked = set(re.findall(r"oppen_gateway_\w+", rules))
    had = {f"{family.name}{suffix}" for family in Metrics().registry.collect() for suffix in ("_bucket", "_count", "_total")}
    assert asked - had == {"oppen_gateway_log_bytes"}, "read when scraped, so it has no family before"


def test_the_secrets_that_are_made_by_hand_are_all_that_the_service_and_its_jobs_need() -> None:
    """On a cluster it does not start without the key of evaluations, and no job runs without what its spec names."""
    text = (ROOT / "infra/kubernetes/oppen.yaml").read_text()
    service, jobs = re.findall(r"secret generic oppen(.*?)(?=kubectl|apiVersion)", text, re.DOTALL)
    by_hand = dict.fromkeys(re.findall(r"--from-literal=OPPEN_([A-Z_]+)", service), "a secret of sixteen or more")
    assert "EVALUATION_KEY" in by_hand
    assert set(re.findall(r"--from-literal=([A-Z_]+)", jobs)) == {TRACKING, KEY}
    (config,) = [each for each in yaml.safe_load_all(text) if each["kind"] == "ConfigMap"]
    given = {name.removeprefix("OPPEN_").lower(): value for name, value in config["data"].items()}
    cluster = json.loads(given["jobs_cluster"])
    assert Settings(jobs=given["jobs"], jobs_cluster=cluster, evaluation_key=by_hand["EVALUATION_KEY"])
    with pytest.raises(ValidationError, match="evaluation_key"):
        Settings(jobs=given["jobs"], jobs_cluster=cluster)
