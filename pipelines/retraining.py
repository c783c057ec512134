"""The reference training as a job: what the platform asks for comes in by files and variables, and a version goes out.

It is the contract that anybody's training follows (docs/training.md): the window and the champion are in `training.json`, the
registry is MLFLOW_TRACKING_URI, and the version carries the job's name. What it is worth is found out by another job.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from pipelines.faults import LostArrivals
from pipelines.flights import Flights
from pipelines.joined import joined
from pipelines.metering import Meter
from pipelines.reference_rows import without
from pipelines.registration import Registered, record_cost, register, registered_by
from tools.errors import PermanentError
from tools.features.addresses import Place
from tools.jobs.port import Resources
from tools.jobs.prices import Prices, cost_of
from tools.values import LeftOut, Window

JOB_TAG = "oppen.job"


@dataclass(frozen=True)
class Order:
    """What is asked of the job."""

    job: str
    model: str
    champion: str
    window: Window
    tracking_uri: str
    held_out_start: datetime | None = None
    """From here on the window is what the version will be held to: nothing of it is learnt from. None: all is."""
    checkpoints: Path | None = None
    left_out: tuple[LeftOut, ...] = ()
    resources: Resources | None = None
    """What is reserved for it, which is what it costs."""
    prices: Prices | None = None
    features: tuple[str, ...] = ()
    """Of the feature store, learnt from beside the flights' own."""
    feature_store: Place | None = None

    @property
    def learnt(self) -> Window:
        """Raises PermanentError when nothing is left of the window to learn from."""
        if self.held_out_start is None:
            return self.window
        if not self.window.start < self.held_out_start <= self.window.end:
            raise PermanentError(f"held_out_start: {self.held_out_start} leaves nothing of {self.window} to train on")
        return Window(start=self.window.start, end=self.held_out_start)

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From what a job finds. Raises PermanentError, which names the variable or field."""
        try:
            folder = Path(environment["OPPEN_JOB_CONFIG"])
            asked = json.loads((folder / "training.json").read_text())
            window = Window(
                start=datetime.fromisoformat(asked["window_start"]), end=datetime.fromisoformat(asked["window_end"])
            )
            held_out = asked.get("held_out_start")
            return cls(
                job=environment["OPPEN_JOB"],
                model=str(asked["model"]),
                champion=str(asked["champion"]),
                window=window,
                tracking_uri=environment["MLFLOW_TRACKING_URI"],
                held_out_start=datetime.fromisoformat(held_out) if held_out else None,
                checkpoints=Path(environment["OPPEN_JOB_CHECKPOINTS"]) if "OPPEN_JOB_CHECKPOINTS" in environment else None,
                left_out=tuple(LeftOut(**each) for each in asked.get("left_out", ())),
                resources=Resources(**asked["resources"]) if asked.get("resources") else None,
                prices=Prices(**asked["prices"]) if asked.get("prices") else None,
                features=features_of(environment),
                feature_store=place_of(environment),
            )
        except KeyError as error:
            raise PermanentError(f"{error.args[0]}: it is not set, and a training job needs it") from error
        except (OSError, ValueError) as error:
            raise PermanentError(f"OPPEN_JOB_CONFIG: training.json cannot be used: {error}") from error


def features_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in environment.get("OPPEN_FEATURE_VIEW", "").split(",") if name.strip())


def place_of(environment: Mapping[str, str]) -> Place | None:
    """The feature store; its registry's address may be a secret."""
    folder = environment.get("OPPEN_FEATURES", "")
    return Place(Path(folder).absolute(), environment.get("OPPEN_FEATURES_REGISTRY", "")) if folder else None


def retrain(
    order: Order,
    flights: Flights,
    *,
    shift: timedelta = timedelta(0),
    seed: int = 7,
    fault: LostArrivals | None = None,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> dict[str, Any]:
    """Train on the window but what is held out at its end, and register.

    `shift`: by how much the window lies after the flights of 2013 that stand for it. After a kill it goes on at the last epoch
    that has a checkpoint, or ends where its version is registered already. Blocking, some seconds; raises PortError, and
    ValueError when the window is too short to learn from.
    """
    window = order.learnt.shifted(-shift)
    meter = Meter(order.checkpoints)

    def tell(fraction: float, text: str) -> None:
        meter.keep()
        progress(fraction, text)

    flights = without(flights, order.left_out, shift)
    if fault is not None:
        # Whoever prepared the data spoilt what is trained on and what is evaluated on alike.
        flights = fault.spoil(flights)
    registered = registered_by(order.job, JOB_TAG, tracking_uri=order.tracking_uri, model=order.model)
    if registered is None:
        registered = _trained(order, flights, window, shift, seed, tell)
    _tell_cost(order, registered, meter)
    tell(1.0, f"version {registered.version}")
    return {
        "ok": True,
        "model": order.model,
        "version": registered.version,
        "run_id": registered.run_id,
        "metrics": registered.metrics,
    }


def _trained(
    order: Order, flights: Flights, window: Window, shift: timedelta, seed: int, tell: Callable[[float, str], None]
) -> Registered:
    from pipelines.recipe import Recipe
    from pipelines.training import train

    tell(0.05, "training")
    views: tuple[str, ...] = ()
    if order.features:
        if order.feature_store is None:
            raise PermanentError("OPPEN_FEATURES: name the feature store's folder; OPPEN_FEATURE_VIEW asks for features of it")
        found = joined(flights.departing(window).arrived_by(window.end), order.features, order.feature_store, shift)
        flights, views = found.flights, found.views
    trained = train(
        flights,
        window,
        Recipe(seed=seed),
        checkpoints=order.checkpoints,
        progress=lambda fraction, text: tell(0.05 + 0.75 * fraction, text),
    )
    tell(0.8, "registering")
    return register(
        trained,
        tracking_uri=order.tracking_uri,
        model=order.model,
        tags={JOB_TAG: order.job},
        feature_view=", ".join(views) or None,
    )


def _tell_cost(order: Order, registered: Registered, meter: Meter) -> None:
    if order.prices is not None and order.resources is not None:
        seconds = meter.seconds
        record_cost(registered, seconds, cost_of(order.resources, seconds, order.prices), tracking_uri=order.tracking_uri)
