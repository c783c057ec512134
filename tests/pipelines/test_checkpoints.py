"""A training that was interrupted, and where it goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.checkpoints import Checkpoints, identity
from pipelines.flights import Flights
from pipelines.recipe import REFERENCE, Recipe
from pipelines.training import TrainedModel, train
from tests.pipelines.windows import window

WEEK = window("2013-01-01", "2013-01-08")


class Killed(BaseException):
    """What a process that is killed sees of the rest: nothing."""


def killed_after(epoch: int, year: Flights, folder: Path, recipe: Recipe = REFERENCE) -> None:
    def progress(_fraction: float, text: str) -> None:
        if text.startswith(f"epoch {epoch} "):
            raise Killed

    with pytest.raises(Killed):
        train(year, WEEK, recipe, checkpoints=folder, progress=progress)


def told(year: Flights, folder: Path, recipe: Recipe = REFERENCE) -> tuple[TrainedModel, list[str]]:
    said: list[str] = []
    return train(year, WEEK, recipe, checkpoints=folder, progress=lambda _, text: said.append(text)), said


def same(one: TrainedModel, other: TrainedModel) -> bool:
    weights = other.network.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in one.network.state_dict().items())


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(epochs=6, patience=1, learning_rate=0.05, class_weights="balanced")])
def test_wherever_it_is_interrupted_the_same_model_comes_out(year: Flights, tmp_path: Path, recipe: Recipe) -> None:
    whole = train(year, WEEK, recipe)
    for epoch in range(1, len(whole.epochs) + 1):
        folder = tmp_path / str(epoch)
        folder.mkdir()
        killed_after(epoch, year, folder, recipe)
        resumed, said = told(year, folder, recipe)
        assert said[0] == f"resumed after epoch {epoch} of {recipe.epochs}"
        assert same(resumed, whole)
        assert [each.loss for each in resumed.epochs] == [each.loss for each in whole.epochs]


def test_a_checkpoint_of_another_training_is_left_alone(year: Flights, tmp_path: Path) -> None:
    killed_after(2, year, tmp_path)
    for other, flights in ((Recipe(seed=8), year), (Recipe(), replace(year, late=~year.late))):
        again, said = told(flights, tmp_path, other)
        assert said[0].startswith("epoch 1 ")
        assert same(again, train(flights, WEEK, other))


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_a_checkpoint_that_cannot_be_read_is_no_checkpoint(year: Flights, tmp_path: Path, damage: bytes | None) -> None:
    killed_after(2, year, tmp_path)
    path = tmp_path / "training.pt"
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    _, said = told(year, tmp_path)
    assert said[0].startswith("epoch 1 ")


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (touch, (str(tmp_path / "ran"),))

    torch.save({"identity": "it", "random": Trap()}, tmp_path / "training.pt")
    assert Checkpoints(tmp_path, "it").load(torch.device("cpu")) is None
    assert not (tmp_path / "ran").exists()


def touch(path: str) -> None:
    Path(path).touch()


def test_the_identity_tells_arrays_apart_that_have_the_same_bytes() -> None:
    zeros = np.zeros(4, dtype=np.float32)
    assert identity({}, [zeros]) != identity({}, [zeros.reshape(2, 2)])
    assert identity({}, [zeros]) != identity({}, [zeros.astype(np.int32)])
    assert identity({"seed": 1}, [zeros]) != identity({"seed": 2}, [zeros])


def test_it_stops_when_it_brings_nothing_more_and_keeps_the_best_epoch(year: Flights) -> None:
    # Far too large a rate: some epoch is followed by worse ones.
    trained = train(year, WEEK, Recipe(epochs=12, patience=2, learning_rate=0.1))
    losses = [each.validation_loss for each in trained.epochs]
    best = int(trained.metrics["best_epoch"])
    assert len(losses) < 12
    assert best == int(np.argmin(losses)) + 1 == len(losses) - 2
    assert trained.metrics["log_loss"] == pytest.approx(losses[best - 1], abs=1e-5)


def test_balanced_classes_find_more_of_the_rare_one(year: Flights) -> None:
    plain, balanced = (train(year, WEEK, Recipe(class_weights=weights)).reference for weights in ("none", "balanced"))
    assert plain.prediction is not None
    assert balanced.prediction is not None
    assert balanced.prediction.values["late"] > plain.prediction.values["late"]
