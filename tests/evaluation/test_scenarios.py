"""Scenario files: those that come along can be played, and others are refused with their file and field."""

from pathlib import Path

import pytest

from simulations.evaluation.suite import FOLDER
from simulations.worlds.scenario import ScenarioError, load, load_folder
from simulations.worlds.world import STEP, World
from tools.predictions.records import LabelRecord, PredictionRecord

GOOD = "family: null_spike\nabout: a feature goes missing\nexpect: {cause: [data_quality], action: [quarantine_data]}\n"


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_at_least_thirty_come_along_and_each_family_is_there() -> None:
    found = load_folder(FOLDER)
    assert len(found) >= 30
    assert {each.family for each in found} >= {
        "covariate_drift",
        "concept_drift",
        "label_shift",
        "null_spike",
        "unit_change",
        "stuck_feature",
        "new_category",
        "bad_rollout",
        "slow_version",
        "memory_leak",
        "cpu_starvation",
        "upstream_down",
        "traffic_surge",
        "label_feed_broken",
        "feature_pipeline_stale",
        "alert_storm",
        "two_faults",
        "false_alarm",
        "heals_itself",
        "red_herring",
    }


def test_a_folder_from_elsewhere_is_read(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    assert [each.name for each in load_folder(tmp_path)] == ["mine"]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (GOOD + "faults: [{kind: nulls, feature: income, share: 2}]\n", "faults[0].nulls.share"),
        (GOOD + "faults: [{kind: nulls, feature: shoe_size, share: 0.2}]\n", "faults[0]"),
        (GOOD + "faults: [{kind: earthquake}]\n", "faults[0]"),
        (GOOD + "rollouts: [{version: '7'}]\n", "rollouts[0].version"),
        (GOOD + "horizon: 5\n", "horizon"),
        (GOOD + "weather: bad\n", "weather"),
        (GOOD + "policies: {investigation: {windw: 6h}}\n", "policies.investigation.windw"),
        (GOOD.replace("data_quality", "bad_luck"), "expect.cause[0]"),
        ("family: null_spike\n", "about"),
        ("- a list\n", "(top)"),
        ("a: [", "no YAML"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_field(tmp_path: Path, text: str, field: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ScenarioError) as refused:
        load(file)
    assert str(file) in str(refused.value)
    assert field in str(refused.value)


def test_all_bad_files_of_a_folder_are_named_at_once(tmp_path: Path) -> None:
    written(tmp_path, "family: a\n", "a.yaml")
    written(tmp_path, "family: b\n", "b.yaml")
    with pytest.raises(ScenarioError, match=r"a\.yaml.*(?s:.)*b\.yaml"):
        load_folder(tmp_path)


def test_who_asks_does_not_depend_on_when_the_platform_looks(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, GOOD + "traffic: {history: 1d}\nfaults: [{kind: nulls, feature: income, share: 0.4}]\n"))
    records = []
    for steps in (1, 36):
        world = World(scenario, 3, "m")
        assert sum(len(each) for each in world.history()) > 1_000
        for place in range(steps):
            world.flow_to(world.start + STEP * 36 * (place + 1) / steps)
        records.append(sorted(map(repr, world.written())))
    assert records[0] == records[1]


def test_a_fault_begins_when_it_says(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, GOOD + "faults: [{kind: nulls, at: 2h, feature: income, share: 1.0}]\n"))
    world = World(scenario, 1, "m")
    list(world.history())
    world.flow_to(world.start + scenario.faults[0].at)
    assert all(each.features["income"] is not None for each in world.written() if isinstance(each, PredictionRecord))
    world.flow_to(world.start + scenario.faults[0].at + STEP)
    assert all(each.features["income"] is None for each in world.written() if isinstance(each, PredictionRecord))


def test_labels_that_stop_do_not_come(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, GOOD + "faults: [{kind: labels_stop, at: 1h}]\n"))
    world = World(scenario, 1, "m")
    list(world.history())
    world.flow_to(world.start + scenario.faults[0].at)
    assert any(isinstance(each, LabelRecord) for each in world.written())
    world.flow_to(world.start + scenario.horizon)
    assert not any(isinstance(each, LabelRecord) for each in world.written())
