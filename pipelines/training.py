"""Trains the reference model on a window of flights. Seeded and on one thread: the same window and seed give the same model.

Only flights whose arrival was known when the window ended are used, as a retraining on that day would have had it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pipelines.faults import LostArrivals
from pipelines.flights import CATEGORICAL, CLASSES, NUMERIC, Flights
from pipelines.network import Network
from pipelines.references import counted
from tools.registry.serving_spec import CategoricalFeature, NumericFeature, ServingSpec
from tools.tables.port import Distributions
from tools.values import Window


@dataclass(frozen=True)
class Recipe:
    """How the reference model is trained. The defaults were enough to reach the accuracy of much larger networks."""

    seed: int = 7
    epochs: int = 4
    batch: int = 512
    hidden: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    validation_share: float = 0.2
    """The end of the window, because the model will be asked about what comes after it."""
    min_category: int = 50
    """Rarer values of a category are all 'unknown'."""


@dataclass(frozen=True)
class TrainedModel:
    network: Network
    """In evaluation mode."""
    spec: ServingSpec
    recipe: Recipe
    window: Window
    metrics: dict[str, float]
    """On the validation part: `accuracy`, `auc`, `log_loss`, `late_share`; and `rows` of training, `seconds` of fitting."""
    example: tuple[NDArray[np.float32], NDArray[np.int64]]
    """Two rows as the network takes them."""
    reference: Distributions
    """Of the validation part: what production is held against."""


def train(
    flights: Flights,
    window: Window,
    recipe: Recipe = Recipe(),
    *,
    fault: LostArrivals | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> TrainedModel:
    """Blocking, seconds long. Raises ValueError when the window holds too few flights of both classes to learn from."""
    known = flights.departing(window).arrived_by(window.end)
    if fault is not None:
        known = fault.spoil(known)
    split = round(len(known) * (1 - recipe.validation_share))
    late = known.late.astype(np.float32)
    for part in (late[:split], late[split:]):
        if len(part) < recipe.batch or part.min() == part.max():
            raise ValueError(
                f"{len(known)} flights from {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d} are too few to learn from"
            )
    spec = _spec(known, split, recipe)
    numeric, categorical = torch.from_numpy(known.numeric), torch.from_numpy(encode(known, spec))
    started = time.perf_counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network = _fit((numeric[:split], categorical[:split], torch.from_numpy(late[:split])), spec, recipe, progress)
        with torch.inference_mode():
            logits = network(numeric[split:], categorical[split:]).numpy()
    finally:
        torch.set_num_threads(threads)
    metrics = _judge(logits, late[split:]) | {"rows": float(split), "seconds": time.perf_counter() - started}
    progress(f"validation: accuracy {metrics['accuracy']:.4f}, AUC {metrics['auc']:.4f}")
    example = (numeric[:2].numpy(), categorical[:2].numpy())
    probabilities = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    reference = counted(known.rows(slice(split, None)), probabilities, spec.threshold, window)
    return TrainedModel(network, spec, recipe, window, metrics, example, reference)


def encode(flights: Flights, spec: ServingSpec) -> NDArray[np.int64]:
    """The second tensor, [n, categorical], as the spec has it."""
    columns = []
    wanted = [feature for feature in spec.features if isinstance(feature, CategoricalFeature)]
    for column, (names, feature) in enumerate(zip(flights.names, wanted, strict=True)):
        position = {name: index + 1 for index, name in enumerate(feature.categories)}
        columns.append(np.array([position.get(name, 0) for name in names])[flights.codes[:, column]])
    return np.stack(columns, axis=1).astype(np.int64)


def _spec(flights: Flights, split: int, recipe: Recipe) -> ServingSpec:
    categorical = []
    for column, (name, names) in enumerate(zip(CATEGORICAL, flights.names, strict=True)):
        counts = np.bincount(flights.codes[:split, column], minlength=len(names))
        frequent = sorted(value for value, count in zip(names, counts, strict=True) if count >= recipe.min_category)
        categorical.append(CategoricalFeature(name=name, categories=tuple(frequent)))
    return ServingSpec(
        features=(*(NumericFeature(name=name) for name in NUMERIC), *categorical), task="binary", classes=CLASSES
    )


def _fit(rows: tuple[Tensor, Tensor, Tensor], spec: ServingSpec, recipe: Recipe, progress: Callable[[str], None]) -> Network:
    numeric, categorical, late = rows
    categories = tuple(len(f.categories) for f in spec.features if isinstance(f, CategoricalFeature))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = Network(*_scaling(numeric), categories, hidden=recipe.hidden)
        optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        steps = recipe.epochs * -(-len(late) // recipe.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps=steps)
        for epoch in range(recipe.epochs):
            total = 0.0
            for batch in torch.split(torch.randperm(len(late)), recipe.batch):
                optimiser.zero_grad()
                loss = binary_cross_entropy_with_logits(network(numeric[batch], categorical[batch]), late[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                schedule.step()
                total += loss.item() * len(batch)
            progress(f"epoch {epoch + 1} of {recipe.epochs}: loss {total / len(late):.4f}")
    return network.eval()


def _scaling(numeric: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of what is known; a feature that never varies, or is never known, is left as it is."""
    values = numeric.numpy().astype(np.float64)
    known = ~np.isnan(values)
    count = known.sum(axis=0).clip(min=1)
    mean = np.where(known, values, 0).sum(axis=0) / count
    spread = np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(axis=0) / count)
    scale = np.where(spread > 0, spread, 1.0)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))


def _judge(logits: NDArray[np.float32], late: NDArray[np.float32]) -> dict[str, float]:
    truth = late > 0
    # Mann-Whitney: the share of pairs of a late and a punctual flight that the score puts in the right order.
    order = np.sort(logits[~truth])
    below, through = (np.searchsorted(order, logits[truth], side=side) for side in ("left", "right"))
    loss = np.logaddexp(0, np.where(truth, -logits, logits).astype(np.float64))
    return {
        "accuracy": float(np.mean((logits >= 0) == truth)),
        "auc": float(np.mean(below + through) / (2 * len(order))),
        "log_loss": float(loss.mean()),
        "late_share": float(truth.mean()),
    }
