"""The cluster's infrastructure: its files parse, grant what the adapters use, and keep the platform's own tests of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kubernetes.rights import TERRAFORM, granted, read
from tools.jobs.manifests import GPU, Settings
from tools.kubernetes import kinds
from tools.serving.replicas import Settings as Scaling

FILES = sorted(TERRAFORM.rglob("*.tf")) + sorted(TERRAFORM.rglob("*.tftest.hcl"))
needs_terraform = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TERRAFORM)))
def test_every_file_parses(path: Path) -> None:
    assert read(path)


def test_no_rights_on_secrets_and_none_on_everything() -> None:
    for where in ("jobs", "service"):
        for group, resource, verb in granted(where):
            assert "*" not in (group, resource, verb)
            assert resource.split("/")[0] not in {"secrets", "roles", "rolebindings", "serviceaccounts", "nodes"}
            assert verb not in {"delete", "deletecollection", "escalate", "bind", "impersonate"}


def test_there_is_no_role_for_jobs_and_none_for_the_whole_cluster() -> None:
    made = [kind for block in read(TERRAFORM / "access.tf")["resource"] for kind in block]
    assert sorted(made) == [
        "kubernetes_role_binding_v1",
        "kubernetes_role_v1",
        "kubernetes_service_account_v1",
        "kubernetes_service_account_v1",
    ]


def test_what_is_put_out_for_jobs_is_what_jobs_are_set_up_with() -> None:
    (settings,) = [block["job_settings"] for block in read(TERRAFORM / "outputs.tf")["output"] if "job_settings" in block]
    put_out = set(settings["value"])
    assert put_out <= set(Settings.model_fields)
    assert set(Settings.model_fields) - put_out == {"image", "user", "longest_keep"}


def test_the_record_of_scaling_is_made_and_granted_by_the_name_that_the_service_knows() -> None:
    (found,) = read(TERRAFORM / "modules/plan/rights.tf")["locals"]
    assert found["scaling_record"] == Scaling().record
    (rule,) = [each for each in found["rights_on_serving"] if each["resources"] == ["configmaps"]]
    assert "local.scaling_record" in rule["resource_names"]
    (put_out,) = [
        block["scaling_settings"] for block in read(TERRAFORM / "outputs.tf")["output"] if "scaling_settings" in block
    ]
    assert set(put_out["value"]) <= set(Scaling.model_fields)


def test_the_record_of_capacity_is_granted_by_the_name_that_is_put_out() -> None:
    (found,) = read(TERRAFORM / "modules/plan/rights.tf")["locals"]
    named = [each for each in found["rights_on_jobs"] if each["resource_names"] == ["${local.capacity_record}"]]
    assert [(each["resources"], each["verbs"]) for each in named] == [(["configmaps"], ["patch"])]


def test_whatever_the_code_names_to_the_api_server_is_granted_and_nothing_else_is() -> None:
    """Kinds: verbs are compared call by call where the adapters run (tests/contract)."""
    named = {(kind.api.rpartition("/")[0], kind.plural) for kind in vars(kinds).values() if isinstance(kind, kinds.Kind)}
    given = {
        (group, resource.split("/")[0]) for where in ("jobs", "service", "rollouts") for group, resource, _ in granted(where)
    }
    assert given == named


def test_the_gpus_taint_is_the_one_that_jobs_tolerate() -> None:
    (locals_,) = read(TERRAFORM / "modules/plan/main.tf")["locals"]
    assert locals_["gpu"] == GPU


def test_both_modules_take_the_same() -> None:
    """The plan's variables are the root's, with the same types and defaults, less those that only the root needs."""
    root, plan = (
        {name: body["type"] for block in read(path)["variable"] for name, body in block.items()}
        for path in (TERRAFORM / "variables.tf", TERRAFORM / "modules/plan/variables.tf")
    )
    assert {name: root[name] for name in plan} == plan
    assert root.keys() - plan.keys() == {"secret", "checkpoints", "spot_pool"}


@needs_terraform
def test_files_are_formatted() -> None:
    _terraform(TERRAFORM, "fmt", "-check", "-recursive")


@needs_terraform
def test_the_plan_is_valid_and_passes_its_tests(tmp_path: Path) -> None:
    module = Path(shutil.copytree(TERRAFORM / "modules/plan", tmp_path / "plan"))
    _terraform(module, "init", "-backend=false")
    _terraform(module, "validate")
    assert "0 failed" in _terraform(module, "test")


@needs_terraform
@pytest.mark.skipif(not os.environ.get("OPPEN_TEST_TERRAFORM"), reason="OPPEN_TEST_TERRAFORM: the provider is downloaded")
def test_the_whole_is_valid_and_passes_its_tests(tmp_path: Path) -> None:
    module = Path(shutil.copytree(TERRAFORM, tmp_path / "terraform"))
    _terraform(module, "init", "-backend=false", limit_s=110)
    _terraform(module, "validate")
    assert "0 failed" in _terraform(module, "test")


def _terraform(folder: Path, *words: str, limit_s: float = 60) -> str:
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
    done = subprocess.run(
        ["terraform", f"-chdir={folder}", *words, *([] if words[0] == "fmt" else ["-no-color"])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
