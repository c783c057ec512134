"""The loop of the reference training: epoch after epoch until it brings nothing more, with a checkpoint after each.

On a processor the outcome depends on the recipe and the rows alone: not on how often it was interrupted, nor on what else the
process draws at random. On a GPU sums are taken in another order each time, so two trainings differ in the last digits.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pipelines.checkpoints import Checkpoints
from pipelines.network import Network
from pipelines.recipe import Recipe

_CHUNK = 65_536
"""Rows of the validation part that are computed at once."""


@dataclass(frozen=True)
class Rows:
    """numeric float32 [n, numeric], categorical int64 [n, categorical], late float32 [n]."""

    numeric: Tensor
    categorical: Tensor
    late: Tensor

    def on(self, device: torch.device) -> "Rows":
        return Rows(self.numeric.to(device), self.categorical.to(device), self.late.to(device))

    def part(self, rows: slice | Tensor) -> "Rows":
        return Rows(self.numeric[rows], self.categorical[rows], self.late[rows])

    def __len__(self) -> int:
        return len(self.late)


@dataclass(frozen=True)
class Epoch:
    """Mean losses, weighted as the recipe has it, and what the epoch took."""

    loss: float
    validation_loss: float
    seconds: float


@dataclass(frozen=True)
class Learnt:
    network: Network
    """Of the best epoch, on the processor, in evaluation mode."""
    epochs: tuple[Epoch, ...]
    best: int
    """Place of the best among them, from 1."""
    device: str

    @property
    def seconds(self) -> float:
        """Over all attempts, without what was lost when one was killed."""
        return sum(epoch.seconds for epoch in self.epochs)


def learn(
    training: Rows,
    validation: Rows,
    network: Callable[[], Network],
    recipe: Recipe,
    *,
    checkpoints: Checkpoints | None = None,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> Learnt:
    """`network`: makes an untrained one, drawing from torch's own randomness. Blocking."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        loop = _Loop(network().to(device), training.on(device), validation.on(device), recipe)
        if checkpoints is not None and (state := checkpoints.load(device)) is not None:
            loop.restore(state)
            progress(len(loop.epochs) / recipe.epochs, f"resumed after epoch {len(loop.epochs)} of {recipe.epochs}")
        while not loop.over:
            loop.step()
            if checkpoints is not None:
                checkpoints.save(loop.state())
            done, last = len(loop.epochs), loop.epochs[-1]
            losses = f"loss {last.loss:.4f}, validation {last.validation_loss:.4f}"
            progress(done / recipe.epochs, f"epoch {done} of {recipe.epochs}: {losses}")
    return loop.learnt(str(device))


class _Loop:
    """All that changes from epoch to epoch."""

    def __init__(self, network: Network, training: Rows, validation: Rows, recipe: Recipe) -> None:
        self._network, self._training, self._validation, self._recipe = network, training, validation, recipe
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        steps = recipe.epochs * -(-len(training) // recipe.batch)
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(self._optimiser, recipe.learning_rate, total_steps=steps)
        self._weight = _positive_weight(training.late) if recipe.class_weights == "balanced" else None
        self._best_weights = _copied(network)
        self.epochs: list[Epoch] = []

    @property
    def over(self) -> bool:
        if len(self.epochs) >= self._recipe.epochs:
            return True
        return bool(self.epochs) and len(self.epochs) - 1 - _best_of(self.epochs) >= self._recipe.patience

    def step(self) -> None:
        started = time.perf_counter()
        loss, validation_loss = self._trained(), self._validated()
        self.epochs.append(Epoch(loss, validation_loss, time.perf_counter() - started))
        if _best_of(self.epochs) == len(self.epochs) - 1:
            self._best_weights = _copied(self._network)

    def state(self) -> dict[str, Any]:
        return {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "random": torch.get_rng_state(),
            "best": self._best_weights,
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"].cpu())
        self._best_weights = state["best"]
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]

    def learnt(self, device: str) -> Learnt:
        self._network.load_state_dict(self._best_weights)
        return Learnt(self._network.cpu().eval(), tuple(self.epochs), _best_of(self.epochs) + 1, device)

    def _trained(self) -> float:
        self._network.train()
        total, rows = 0.0, self._training
        # Drawn on the processor, so that it is the same order on every device.
        for batch in torch.split(torch.randperm(len(rows)), self._recipe.batch):
            chosen = rows.part(batch.to(rows.late.device))
            self._optimiser.zero_grad()
            loss = self._loss(chosen)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            self._schedule.step()
            total += loss.item() * len(batch)
        return total / len(rows)

    def _validated(self) -> float:
        self._network.eval()
        total, rows = 0.0, self._validation
        with torch.inference_mode():
            for start in range(0, len(rows), _CHUNK):
                chosen = rows.part(slice(start, start + _CHUNK))
                total += self._loss(chosen).item() * len(chosen)
        return total / len(rows)

    def _loss(self, rows: Rows) -> Tensor:
        return binary_cross_entropy_with_logits(
            self._network(rows.numeric, rows.categorical), rows.late, pos_weight=self._weight
        )


def _best_of(epochs: list[Epoch]) -> int:
    return min(range(len(epochs)), key=lambda place: epochs[place].validation_loss)


def _positive_weight(late: Tensor) -> Tensor:
    positive = late.sum()
    return (len(late) - positive) / positive


def _copied(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
