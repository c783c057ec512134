"""What a training job does from its data to the registry, with the heavy imports where they are needed."""

import time
from collections.abc import Callable
from typing import Any

from pipelines.faults import LostArrivals
from pipelines.flights import Flights
from tools.values import Window


def train_and_register(
    flights: Flights,
    window: Window,
    seed: int,
    fault: LostArrivals | None,
    tracking_uri: str,
    model: str,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """One new version of `model`, told as a report for JSON; seconds, ten more the first time in a process.

    Raises ValueError when the window or the fault cannot be trained on, PortError when the registry does not take it.
    """
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
    return {
        "ok": True,
        "model": registered.model,
        "version": registered.version,
        "run_id": registered.run_id,
        "window": window.model_dump(mode="json"),
        "seed": seed,
        "metrics": trained.metrics,
        "seconds": {"train": round(fitted - started, 2), "register": round(time.perf_counter() - fitted, 2)},
    }
