"""From a model's output to predictions and scores, by the version's `ServingSpec`."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.registry.serving_spec import ServingSpec


class Misshapen(ValueError):
    """The model's output is not what its spec promises."""


@dataclass(slots=True)
class Outputs:
    """One entry per row. `predictions` is None for a regression; a score that is not finite marks a failed row."""

    predictions: list[str] | None
    scores: list[float]
    batch_s: float | None = None
    """Processor time of the batch that they were computed in; None where it is not known."""
    batch_rows: int = 1
    took_s: float = 0.0
    """What that batch took of a request's time: processor time here, time on the clock where somebody else computes."""

    @property
    def cpu_us(self) -> float | None:
        """A row's part of it, in microseconds."""
        return None if self.batch_s is None else round(1_000_000 * self.batch_s / self.batch_rows, 1)

    def part(self, start: int, stop: int) -> "Outputs":
        predictions = self.predictions[start:stop] if self.predictions is not None else None
        return Outputs(predictions, self.scores[start:stop])


def decode(spec: ServingSpec, output: NDArray[Any], count: int) -> Outputs:
    """`output`: `[count]` or `[count, 1]` (binary logit, value), `[count, classes]` (multiclass logits). Raises Misshapen."""
    wide = spec.task == "multiclass"
    wanted: tuple[tuple[int, ...], ...] = ((count, len(spec.classes)),) if wide else ((count,), (count, 1))
    if output.shape not in wanted:
        raise Misshapen(f"the model gave {list(output.shape)} where {' or '.join(str(list(w)) for w in wanted)} was due")
    values = output.astype(np.float64)
    match spec.task:
        case "regression":
            return Outputs(None, values.reshape(count).tolist())
        case "binary":
            # exp overflows to inf far out, where the probability is 0 all the same.
            with np.errstate(over="ignore"):
                scores = (1.0 / (1.0 + np.exp(-values.reshape(count)))).tolist()
            low, high = spec.classes
            return Outputs([high if score >= spec.threshold else low for score in scores], scores)
        case "multiclass":
            with np.errstate(invalid="ignore"):
                powers = np.exp(values - values.max(axis=1, keepdims=True))
                shares = powers / powers.sum(axis=1, keepdims=True)
            best = shares.argmax(axis=1)
            return Outputs([spec.classes[i] for i in best], shares[np.arange(count), best].tolist())
