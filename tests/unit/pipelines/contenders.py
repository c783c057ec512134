"""Models whose answers are known, to hold against each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.evaluating import Contender, Labelled
from tools.registry.serving_spec import CategoricalFeature, Feature, NumericFeature, ServingSpec

CLASSES = ("no", "yes")
FEATURES: tuple[Feature, ...] = (NumericFeature(name="x"), CategoricalFeature(name="city", categories=("a", "b")))


@dataclass
class Model:
    """Answers `slope * x + shift`, and `spoilt` more where the city is its second. Counts its calls."""

    slope: float = 1.0
    shift: float = 0.0
    spoilt: float = 0.0
    calls: int = 0

    def __call__(self, *tensors: np.ndarray) -> np.ndarray:
        self.calls += 1
        numeric, categorical = tensors
        return (self.slope * numeric[:, 0] + self.shift + self.spoilt * (categorical[:, 0] == 2)).astype(np.float32)


def spec(task: Any = "binary", classes: tuple[str, ...] = CLASSES, features: tuple[Feature, ...] = FEATURES) -> ServingSpec:
    return ServingSpec(features=features, task=task, classes=classes)


def contender(engine: Any = None, of: ServingSpec | None = None, size: int = 1_000) -> Contender:
    return Contender(of or spec(), engine or Model(), size)


def rows(count: int = 2_000, *, seed: int = 1, city: str = "city") -> Labelled:
    """Labels by a logistic law in x, so that `Model()` is as good as can be; every third row of city b."""
    random = np.random.default_rng(seed)
    x = random.normal(scale=2, size=count)
    cities = np.where(np.arange(count) % 3 == 0, "b", "a")
    late = random.random(count) < 1 / (1 + np.exp(-x))
    return Labelled(
        pa.table({"x": x, city: cities, "team": np.where(x > 1, "red", "blue")}), np.array(CLASSES)[late.astype(int)]
    )
