"""The training of the scenario's team, as a job finds and leaves it (docs/training.md). It is
`python -m simulations.hours48.training`.

It keeps to the contract and knows no more: the window from its order, rows from the team's warehouse, and a version in
MLflow with the job's tag. `--first` makes what was there before the clock starts: four versions of two hours each, and the
champion.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from simulations.hours48.warehouse import LABEL, TIME, learnable
from simulations.hours48.world import CLASSES, FEATURES
from tools.registry.library import opened

TAG = "oppen.job"
_EPOCHS, _BATCH, _RATE = 4, 128, 3e-3
_HALF_LIFE = timedelta(hours=1)
"""Of a row's weight: what came lately is what will come next."""


class Scorer(nn.Module):
    """float32 [n, features] to the logit of the second class [n]; scaling is part of it."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.body = nn.Sequential(
            nn.Linear(len(mean), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, numeric: Tensor) -> Tensor:
        known = torch.where(torch.isnan(numeric), self.mean, numeric)
        logit: Tensor = self.body((known - self.mean) / self.scale)
        return logit.squeeze(1)


def progress(fraction: float, text: str) -> None:
    """A line that is a JSON object with `progress` is shown to people."""
    print(json.dumps({"progress": round(fraction, 3), "text": text}), flush=True)


def fit(table: pa.Table, width: int, *, seed: int, epochs: int = _EPOCHS) -> Scorer:
    """Seeded and on one thread: the same rows give the same model."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    inputs = torch.from_numpy(np.stack([table[name].to_numpy() for name in FEATURES], axis=1).astype(np.float32))
    truth = torch.from_numpy((table[LABEL].to_numpy(zero_copy_only=False) == CLASSES[1]).astype(np.float32))
    at = table[TIME].to_numpy()
    ages = (at[-1] - at) / np.timedelta64(_HALF_LIFE // timedelta(microseconds=1), "us")
    weights = torch.from_numpy((0.5**ages).astype(np.float32))
    weights /= weights.mean()
    scorer = Scorer(inputs.mean(0), inputs.std(0), width)
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=_RATE / 3)
    steps = epochs * -(-len(inputs) // _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for epoch in range(epochs):
        order = torch.randperm(len(inputs))
        for first in range(0, len(inputs), _BATCH):
            chosen = order[first : first + _BATCH]
            logit = scorer(inputs[chosen])
            loss = nn.functional.binary_cross_entropy_with_logits(logit, truth[chosen], weight=weights[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        progress(0.1 + 0.6 * (epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}")
    return scorer.eval()


class Library:
    """Versions of one model in MLflow."""

    def __init__(self, uri: str, model: str) -> None:
        # As the platform does it: several programs may make the embedded database at one time.
        self._client = opened(uri).MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._uri, self._model = uri, model

    def registered(self, job: str) -> bool:
        """Whether an attempt before this one got so far and was killed then."""
        found = self._client.search_model_versions(f"name = '{self._model}'")
        return any(version.tags.get(TAG) == job for version in found)

    def register(self, scorer: Scorer, tags: dict[str, str]) -> str:
        """Last, and with its tags at once: a version that is there is complete."""
        run = self._client.create_run(self._experiment(), tags=tags)
        with tempfile.TemporaryDirectory() as folder:
            write(scorer, Path(folder))
            self._client.log_artifacts(run.info.run_id, folder, "model")
        if not self._client.search_registered_models(f"name = '{self._model}'"):
            self._client.create_registered_model(self._model)
        source = f"{run.info.artifact_uri}/model"
        made = self._client.create_model_version(self._model, source, run.info.run_id, tags=tags)
        self._client.set_terminated(run.info.run_id)
        return str(made.version)

    def release(self, version: str) -> None:
        """As a team does that has no platform yet."""
        self._client.set_registered_model_alias(self._model, "champion", version)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self._model)
        if found is not None:
            return str(found.experiment_id)
        # Beside the embedded database; MLflow's own choice would be the working folder, which is deleted after the job.
        database = Path(self._uri.removeprefix("sqlite:///"))
        return str(self._client.create_experiment(self._model, (database.parent / "artifacts").as_uri()))


def write(scorer: Scorer, folder: Path) -> None:
    """A graph and its weights, and no code; and what goes in and comes out."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.zeros(2, len(FEATURES)),)
    torch.export.save(torch.export.export(scorer, example, dynamic_shapes=({0: batch},)), folder / "model.pt2")
    spec = {
        "features": [{"kind": "numeric", "name": name} for name in FEATURES],
        "task": "binary",
        "classes": list(CLASSES),
    }
    (folder / "serving.json").write_text(json.dumps(spec))


def retrain() -> None:
    """What the platform orders."""
    asked: dict[str, Any] = json.loads((Path(os.environ["OPPEN_JOB_CONFIG"]) / "training.json").read_text())
    job, library = os.environ["OPPEN_JOB"], Library(os.environ["MLFLOW_TRACKING_URI"], asked["model"])
    if library.registered(job):
        progress(1.0, "an earlier attempt has registered its version")
        return
    start, end = datetime.fromisoformat(asked["window_start"]), datetime.fromisoformat(asked["window_end"])
    until = datetime.fromisoformat(asked.get("held_out_start") or asked["window_end"])
    table = learnable(Path(os.environ["WAREHOUSE"]), start, until, known_by=end)
    for each in asked.get("left_out", ()):
        table = _without(table, each["window"])
    progress(0.1, f"{len(table):,} rows")
    scorer = fit(table, int(os.environ["WIDTH"]), seed=int(os.environ["SEED"]))
    tags = {TAG: job, "data.from": start.isoformat(), "data.to": until.isoformat(), "data.rows": str(len(table))}
    progress(0.8, "registering")
    progress(1.0, f"version {library.register(scorer, tags)}")


def _without(table: pa.Table, window: dict[str, str]) -> pa.Table:
    first, last = (
        np.datetime64(datetime.fromisoformat(window[each]).astimezone(UTC).replace(tzinfo=None), "us")
        for each in ("start", "end")
    )
    at = table[TIME].to_numpy()
    return table.filter(pa.array((at < first) | (at >= last)))


def first(uri: str, model: str, start: datetime) -> None:
    """Versions 1 to 4, of their two hours, and 5, of the last six before `start`. The first is the champion until the last."""
    warehouse, library = Path(os.environ["WAREHOUSE"]), Library(uri, model)
    width, seed, hour = int(os.environ["WIDTH"]), int(os.environ["SEED"]), timedelta(hours=1)
    version = ""
    for begins, ends, epochs in (*((b, b + 2, 1) for b in (-24, -19, -14, -10)), (-6, 0, _EPOCHS)):
        table = learnable(warehouse, start + begins * hour, start + ends * hour, known_by=start)
        tags = {
            "data.from": (start + begins * hour).isoformat(),
            "data.to": (start + ends * hour).isoformat(),
            "data.rows": str(len(table)),
        }
        version = library.register(fit(table, width, seed=seed, epochs=epochs), tags)
        if version == "1":
            library.release(version)
    library.release(version)
    print(json.dumps({"model": model, "version": version}), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m simulations.hours48.training")
    parser.add_argument("--first", nargs=3, metavar=("TRACKING_URI", "MODEL", "START"), help="make what was there before")
    given = parser.parse_args(arguments).first
    if given:
        first(given[0], given[1], datetime.fromisoformat(given[2]))
    else:
        retrain()


if __name__ == "__main__":
    main()
