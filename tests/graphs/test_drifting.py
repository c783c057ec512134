"""From a model's traffic to the cause of its drift, over the port; whole runs of generated cases are in `simulations`."""

from datetime import timedelta

import numpy as np
import pytest

from agents.drift.causes import DriftFinding, explain
from agents.policies import Drift
from graphs.drifting import observe_drift
from simulations.drift_cases import CURRENT, REFERENCE, traffic
from simulations.drift_worlds import CAUSES, World
from tests.twins.predictions import TwinPredictions
from tools.errors import TemporaryError

RULES = Drift()


async def found_of(world: World, *, rows: int = 1_600, labelled: float = 0.8) -> DriftFinding:
    store = TwinPredictions()
    store.add(traffic(world, rows, labelled, RULES))
    return explain(await observe_drift(world.model, REFERENCE, CURRENT, store, RULES), RULES.rules)


@pytest.mark.parametrize("cause", CAUSES)
async def test_each_cause_is_told_from_the_others(cause: str) -> None:
    found = await found_of(World(3, cause))
    assert found.cause == cause, (found.reason, found.considered)
    assert found.reason
    assert found.performance.accuracy is not None


async def test_what_moved_is_named_in_the_reason() -> None:
    world = World(3, "covariate_drift")
    found = await found_of(world)
    moved = [each.name for each in found.features.features if each.drifted]
    assert moved
    assert all(name in found.reason for name in moved)
    assert all(f"'{name}'" in world.detail for name in moved)


async def test_without_labels_only_inputs_are_spoken_of() -> None:
    found = await found_of(World(3, "label_shift"), labelled=0.0)
    assert found.cause in ("covariate_drift", "none")
    assert any("Too few labels" in each for each in found.considered)
    assert found.performance.accuracy is None


async def test_without_earlier_seasons_a_rhythm_cannot_be_told_and_that_is_said() -> None:
    store = TwinPredictions()
    world = World(3, "seasonality")
    store.add(world.draw(REFERENCE, 2_000, 0.5, hit=False))
    store.add(world.draw(CURRENT, 1_000, 0.5, hit=True))
    found = explain(await observe_drift(world.model, REFERENCE, CURRENT, store, RULES), RULES.rules)
    assert found.cause == "covariate_drift"
    assert any("earlier seasons" in each for each in found.considered)


async def test_a_model_without_traffic_is_undetermined() -> None:
    observations = await observe_drift("nobody", REFERENCE, CURRENT, TwinPredictions(), RULES)
    assert explain(observations, RULES.rules).cause == "undetermined"


async def test_a_store_that_is_down_is_said_and_not_guessed() -> None:
    store = TwinPredictions()
    store.go_down()
    with pytest.raises(TemporaryError):
        await observe_drift("model", REFERENCE, CURRENT, store, RULES)


async def test_two_windows_of_one_world_agree_on_the_same_grids() -> None:
    world = World(5, "none")
    store = TwinPredictions()
    store.add(world.draw(REFERENCE, 800, 0.5, hit=False))
    store.add(world.draw(CURRENT, 400, 0.5, hit=False))
    seen = await observe_drift(world.model, REFERENCE, CURRENT, store, RULES)
    for one, other in zip(seen.reference.features, seen.current.features, strict=True):
        assert (one.grid is None) == (other.grid is None)
        if one.grid is not None and other.grid is not None:
            assert np.isclose(one.grid.low, other.grid.low)
    assert CURRENT.length == timedelta(hours=6)


@pytest.mark.parametrize(("cause", "classes"), [("none", set[str]()), ("label_shift", {"yes", "no"})])
async def test_the_inputs_within_each_class_are_asked_for_only_where_the_labels_moved(cause: str, classes: set[str]) -> None:
    world = World(5, cause)
    store = TwinPredictions()
    store.add(world.draw(REFERENCE, 2_000, 0.5, hit=False))
    store.add(world.draw(CURRENT, 1_000, 0.5, hit=True))
    seen = await observe_drift(world.model, REFERENCE, CURRENT, store, RULES)
    assert set(seen.by_label) == classes
