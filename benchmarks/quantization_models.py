"""The models of `benchmarks.quantization`: the reference network in several widths, each really trained on one task with a
known truth, and exported as the platform's trainings export theirs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.evaluating import Labelled
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import FILE, CategoricalFeature, NumericFeature, ServingSpec

SPEC = ServingSpec(
    features=(
        *(NumericFeature(name=f"x{place}") for place in range(6)),
        CategoricalFeature(name="kind", categories=("a", "b", "c")),
    ),
    task="binary",
    classes=("no", "yes"),
)
_SHARP = 4.0
"""Of the logistic law: with it the best possible answers are right nine times in ten."""
_BATCH = 128
_RATE = 2e-3
_WIDE = 1024
"""From here on it learns in smaller steps, or not at all."""


@dataclass(frozen=True)
class Task:
    table: pa.Table
    labels: NDArray[Any]
    best: NDArray[np.bool_]
    """What would be answered by who knows the law."""

    def part(self, start: int, stop: int) -> Labelled:
        return Labelled(self.table.slice(start, stop - start), self.labels[start:stop])


def task(rows: int, seed: int) -> Task:
    """A law with products, a wave and a step by kind: nothing that a linear model could learn."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(rows, 6))
    kind = random.integers(0, 3, size=rows)
    score = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.7 * x[:, 3] + np.where(kind == 0, x[:, 4], -x[:, 5])
    late = random.random(rows) < 1 / (1 + np.exp(-_SHARP * score))
    columns = {f"x{place}": x[:, place].astype(np.float32) for place in range(6)}
    table = pa.table({**columns, "kind": np.array(["a", "b", "c"])[kind]})
    return Task(table, np.array(SPEC.classes)[late.astype(int)], score > 0)


def trained(learnt: Labelled, width: int, *, epochs: int, seed: int) -> Any:
    """The reference network in this width, trained on these rows. Seconds; minutes above 2,048.

    In one thread: on a machine with other work two spend their time waiting for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _fitted(learnt, width, epochs, seed)
    finally:
        torch.set_num_threads(threads)


def _fitted(learnt: Labelled, width: int, epochs: int, seed: int) -> Any:
    import torch

    from tools.inference.tables import encode

    torch.manual_seed(seed)
    numeric, categorical = (torch.from_numpy(each) for each in encode(learnt.table, SPEC))
    truth = torch.from_numpy((learnt.labels == SPEC.classes[1]).astype(np.float32))
    module = network(width)
    optimiser = torch.optim.Adam(module.parameters(), _RATE if width < _WIDE else _RATE / 4)
    order = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        shuffled = torch.randperm(len(truth), generator=order)
        for start in range(0, len(truth), _BATCH):
            chosen = shuffled[start : start + _BATCH]
            logits = module(numeric[chosen], categorical[chosen])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth[chosen])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    return module.eval()


def exported(module: Any, folder: Path, version: str = "1") -> ModelFiles:
    """As a version's files, in `folder`, which is made."""
    import torch

    folder.mkdir(parents=True)
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.zeros(4, 6), torch.zeros(4, 1, dtype=torch.int64))
    program = torch.export.export(module, example, dynamic_shapes=({0: batch}, {0: batch}))
    torch.export.save(program, folder / "model.pt2")
    (folder / FILE).write_text(SPEC.model_dump_json())
    return ModelFiles(model="task", version=version, folder=folder, format="pt2")


def network(width: int) -> Any:
    """Untrained. Its features are of unit variance as they come."""
    import torch

    from pipelines.network import Network

    return Network(torch.zeros(6), torch.ones(6), (3,), hidden=width)
