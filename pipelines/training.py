"""Trains the reference model on a window of flights. Seeded and on one thread: the same window and seed give the same model.

Only flights whose arrival was known when the window ended are used, as a retraining on that day would have had it.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipelines.checkpoints import Checkpoints, identity
from pipelines.faults import LostArrivals
from pipelines.flights import CATEGORICAL, CLASSES, Flights
from pipelines.learning import Epoch, Rows, learn
from pipelines.network import Network
from pipelines.recipe import REFERENCE, Recipe
from pipelines.references import counted
from tools.registry.serving_spec import CategoricalFeature, NumericFeature, ServingSpec
from tools.tables.port import Distributions
from tools.values import Window


@dataclass(frozen=True)
class TrainedModel:
    network: Network
    """In evaluation mode."""
    spec: ServingSpec
    recipe: Recipe
    window: Window
    metrics: dict[str, float]
    """On the validation part, which the best epoch was chosen by: `accuracy`, `auc`, `log_loss`, `late_share`; and `rows` of
    training, `seconds` of fitting, `best_epoch`."""
    epochs: tuple[Epoch, ...]
    device: str
    example: tuple[NDArray[np.float32], NDArray[np.int64]]
    """Two rows as the network takes them."""
    reference: Distributions
    """Of the validation part: what production is held against."""


def train(
    flights: Flights,
    window: Window,
    recipe: Recipe = REFERENCE,
    *,
    fault: LostArrivals | None = None,
    checkpoints: Path | None = None,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> TrainedModel:
    """`checkpoints`: a folder in which a training that was killed left how far it was, and goes on from there.

    Blocking, seconds long. Raises ValueError when the window holds too few flights of both classes to learn from.
    """
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
    rows = Rows(torch.from_numpy(known.numeric), torch.from_numpy(encode(known, spec)), torch.from_numpy(late))
    training, validation = rows.part(slice(split)), rows.part(slice(split, None))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        learnt = learn(
            training,
            validation,
            lambda: _network(training, spec, recipe),
            recipe,
            checkpoints=_checkpoints(checkpoints, rows, spec, recipe) if checkpoints is not None else None,
            progress=progress,
        )
        with torch.inference_mode():
            logits = learnt.network(validation.numeric, validation.categorical).numpy()
    finally:
        torch.set_num_threads(threads)
    told = {"rows": float(split), "seconds": learnt.seconds, "best_epoch": float(learnt.best)}
    metrics = _judge(logits, late[split:]) | told
    progress(1.0, f"validation: accuracy {metrics['accuracy']:.4f}, AUC {metrics['auc']:.4f}")
    example = (rows.numeric[:2].numpy(), rows.categorical[:2].numpy())
    probabilities = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
    reference = counted(known.rows(slice(split, None)), probabilities, spec.threshold, window)
    return TrainedModel(learnt.network, spec, recipe, window, metrics, learnt.epochs, learnt.device, example, reference)


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
        features=(*(NumericFeature(name=name) for name in flights.numeric_names), *categorical), task="binary", classes=CLASSES
    )


def _network(rows: Rows, spec: ServingSpec, recipe: Recipe) -> Network:
    categories = tuple(len(f.categories) for f in spec.features if isinstance(f, CategoricalFeature))
    return Network(*_scaling(rows.numeric), categories, hidden=recipe.hidden)


def _checkpoints(folder: Path, rows: Rows, spec: ServingSpec, recipe: Recipe) -> Checkpoints:
    settings = asdict(recipe) | {"spec": spec.model_dump_json(), "torch": torch.__version__}
    return Checkpoints(folder, identity(settings, (each.numpy() for each in (rows.numeric, rows.categorical, rows.late))))


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
