"""Policies as an installation writes them."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.actions import Risk
from agents.policies import Mode, Policies, PolicyError, parse_policies

ROOT = Path(__file__).parents[3]
PRINT_VERSION = """
from agents.actions import Risk
from agents.policies import parse_policies
freeze = {"name": "f", "start": "2026-12-20T00:00:00Z", "end": "2027-01-04T00:00:00Z", "models": ["fraud", "churn", "eta"]}
print(parse_policies({"freezes": [freeze], "approval": {"automatic": ["none", "low", "medium"]}}).version)
"""


def refused(raw: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(PolicyError) as caught:
        parse_policies(raw)
    return dict(caught.value.errors)


def test_what_is_of_the_wrong_kind_is_told_what_to_write() -> None:
    raw = {"rollouts": {"extend": [4], "cpu_hour": "much"}, "models": {"a": {"training": {"command": "train me"}}}}
    told = refused(raw)
    assert "90s" in told["rollouts.extend"]
    assert told["rollouts.cpu_hour"] == "has to be a number"
    assert "[a, b]" in told["models.a.training.command"]


def test_the_example_is_the_defaults() -> None:
    text = (ROOT / "infra" / "policies" / "default.yaml").read_text()
    example = yaml.safe_load(text)
    assert parse_policies(example) == Policies()
    assert set(example) == set(Policies.model_fields)
    documented = (
        "intake",
        "investigation",
        "approval",
        "verification",
        "slo",
        "rollouts",
        "evaluations",
        "experiments",
        "cost",
    )
    for name in documented:
        assert set(example[name]) == set(type(getattr(Policies(), name)).model_fields), name


def test_nothing_is_needed() -> None:
    assert parse_policies({}) == Policies()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("PT15M", timedelta(minutes=15)),
        ("P1D", timedelta(days=1)),
    ],
)
def test_durations_are_written_as_people_write_them(written: str, meant: timedelta) -> None:
    assert parse_policies({"verification": {"settle": written}}).verification.settle == meant


@pytest.mark.parametrize("written", [15, 1.5, "15", "m", "-5m", "15 minutes", "400d", True, None, []])
def test_a_duration_without_a_sense_is_refused(written: object) -> None:
    assert set(refused({"verification": {"settle": written}})) == {"verification.settle"}


def test_unknown_keys_are_refused_with_their_path() -> None:
    found = refused({"investigation": {"min_label": 5}, "models": {"fraud": {"slo": {"accuracy": 0.9}}}, "modes": "act"})
    assert found == dict.fromkeys(("investigation.min_label", "models.fraud.slo.accuracy", "modes"), "there is no such policy")


def test_what_cannot_hold_is_refused() -> None:
    backwards = {"name": "f", "start": "2027-01-04T00:00:00Z", "end": "2026-12-20T00:00:00Z"}
    assert "ends after it starts" in refused({"freezes": [backwards]})["freezes[0]"]
    assert set(refused({"slo": {"max_error_rate": 5}, "approval": {"quorum": {"high": 0}}})) == {
        "slo.max_error_rate",
        "approval.quorum.high",
    }
    assert "zone" in refused({"freezes": [backwards | {"start": "2026-01-01T00:00:00"}]})["freezes[0].start"]


def test_a_quorum_that_is_left_out_keeps_its_default() -> None:
    quorum = parse_policies({"approval": {"quorum": {"medium": 3}}}).approval.quorum
    assert quorum == {Risk.NONE: 1, Risk.LOW: 1, Risk.MEDIUM: 3, Risk.HIGH: 2}


def test_a_model_without_an_slo_of_its_own_has_everybodys() -> None:
    policies = parse_policies({"slo": {"min_accuracy": 0.8}, "models": {"fraud": {"max_workers": 2}, "eta": {"slo": {}}}})
    assert policies.slo_of("fraud").min_accuracy == policies.slo_of("other").min_accuracy == 0.8
    assert policies.slo_of("eta").min_accuracy is None
    assert policies.model("fraud").max_workers == 2


def test_every_difference_makes_another_version() -> None:
    assert Policies().version == Policies().version
    assert Policies(mode=Mode.ACT).version != Policies().version
    assert parse_policies({"models": {"a": {}, "b": {}}}).version == parse_policies({"models": {"b": {}, "a": {}}}).version


def test_the_version_is_the_same_in_every_process() -> None:
    versions = {
        subprocess.run(
            [sys.executable, "-c", PRINT_VERSION],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(versions) == 1
    assert versions.pop().strip()


@pytest.mark.parametrize(
    ("rollouts", "said"),
    [
        ({"stages": [{"weight": 0.125, "hold": "1h"}, {"weight": 1}]}, "whole percents"),
        ({"stages": [*({"weight": n / 100, "hold": "1h"} for n in range(1, 25)), {"weight": 1}]}, "20 at most"),
        ({"look_every": "2h"}, "a stage of 1 h is looked at within its time"),
    ],
)
def test_what_no_rollout_could_follow_is_refused_as_policy(rollouts: dict[str, object], said: str) -> None:
    assert any(said in reason for reason in refused({"rollouts": rollouts}).values())


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 * *", "x"])
def test_a_schedule_without_a_moment_is_refused(cron: str) -> None:
    assert any(
        "five fields" in reason for reason in refused({"models": {"flights": {"training": {"schedule": cron}}}}).values()
    )
