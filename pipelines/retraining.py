"""The reference training as a job: what the platform asks for comes in by files and variables, and a version goes out.

It is the contract that anybody's training follows (docs/training.md): the window and the champion are in `training.json`, the
registry is MLFLOW_TRACKING_URI, the version carries the job's name, and beside it lies what it is worth next to the champion.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipelines.beside import Pair, evaluate, told
from pipelines.evaluating import Labelled
from pipelines.faults import LostArrivals
from pipelines.flights import CATEGORICAL, CLASSES, NUMERIC, Flights
from pipelines.labelled import Sample
from pipelines.metering import Meter
from pipelines.registration import Registered, record_cost, register, registered_by
from tools.errors import PermanentError
from tools.jobs.port import Resources
from tools.jobs.prices import Prices, cost_of
from tools.values import LeftOut, Window

JOB_TAG = "oppen.job"
HELD_OUT = timedelta(days=7)
"""A whole week, so that the days cancel out."""
RECENT = timedelta(days=1)
"""The end of it, looked at by itself: what the candidate is about to meet."""


@dataclass(frozen=True)
class Order:
    """What is asked of the job."""

    job: str
    model: str
    champion: str
    window: Window
    tracking_uri: str
    checkpoints: Path | None = None
    left_out: tuple[LeftOut, ...] = ()
    resources: Resources | None = None
    """What is reserved for it, which is what it costs."""
    prices: Prices | None = None
    feature_view: str | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From what a job finds. Raises PermanentError, which names the variable or field."""
        try:
            folder = Path(environment["OPPEN_JOB_CONFIG"])
            asked = json.loads((folder / "training.json").read_text())
            window = Window(
                start=datetime.fromisoformat(asked["window_start"]), end=datetime.fromisoformat(asked["window_end"])
            )
            return cls(
                job=environment["OPPEN_JOB"],
                model=str(asked["model"]),
                champion=str(asked["champion"]),
                window=window,
                tracking_uri=environment["MLFLOW_TRACKING_URI"],
                checkpoints=Path(environment["OPPEN_JOB_CHECKPOINTS"]) if "OPPEN_JOB_CHECKPOINTS" in environment else None,
                left_out=tuple(LeftOut(**each) for each in asked.get("left_out", ())),
                resources=Resources(**asked["resources"]) if asked.get("resources") else None,
                prices=Prices(**asked["prices"]) if asked.get("prices") else None,
                feature_view=environment.get("OPPEN_FEATURE_VIEW"),
            )
        except KeyError as error:
            raise PermanentError(f"{error.args[0]}: it is not set, and a training job needs it") from error
        except (OSError, ValueError) as error:
            raise PermanentError(f"OPPEN_JOB_CONFIG: training.json cannot be used: {error}") from error


def retrain(
    order: Order,
    flights: Flights,
    *,
    shift: timedelta = timedelta(0),
    seed: int = 7,
    fault: LostArrivals | None = None,
    progress: Callable[[float, str], None] = lambda _fraction, _text: None,
) -> dict[str, Any]:
    """Train on the window but its last week, register, and hold it beside the champion on that week.

    `shift`: by how much the window lies after the flights of 2013 that stand for it. After a kill it goes on at the last epoch
    that has a checkpoint, or, where its version is registered already, with the evaluation. Blocking, some ten seconds; raises
    PortError, and ValueError when the window is too short to learn from.
    """
    window = order.window.shifted(-shift)
    split = window.end - HELD_OUT
    if split <= window.start:
        raise PermanentError(f"window_start: a window of {window.length} leaves nothing to train on beside {HELD_OUT} held out")
    meter = Meter(order.checkpoints)

    def tell(fraction: float, text: str) -> None:
        meter.keep()
        progress(fraction, text)

    flights = _without(flights, order.left_out, shift)
    if fault is not None:
        # Whoever prepared the data spoilt what is trained on and what is evaluated on alike.
        flights = fault.spoil(flights)
    registered = registered_by(order.job, JOB_TAG, tracking_uri=order.tracking_uri, model=order.model)
    if registered is None:
        registered = _trained(order, flights, Window(start=window.start, end=split), seed, tell)
    tell(0.7, f"version {registered.version} beside version {order.champion}")
    _tell_cost(order, registered, meter)
    known = flights.arrived_by(window.end)
    held_out, recent = Window(start=split, end=window.end - RECENT), Window(start=window.end - RECENT, end=window.end)
    sample = Sample(
        {"held_out": _rows(known.departing(held_out)), "recent": _rows(known.departing(recent))},
        {"held_out": held_out.shifted(shift), "recent": recent.shifted(shift)},
        f"flights from New York, {split:%Y-%m-%d} to {window.end:%Y-%m-%d}",
    )
    evaluation = evaluate(
        Pair(order.model, registered.version, order.champion, order.tracking_uri),
        lambda _spec: sample,
        seed=seed,
        progress=lambda fraction, text: tell(0.7 + 0.25 * fraction, text),
    )
    _tell_cost(order, registered, meter)
    tell(1.0, f"version {registered.version}")
    return {"ok": True, **told(evaluation), "run_id": registered.run_id, "metrics": registered.metrics}


def _trained(order: Order, flights: Flights, window: Window, seed: int, tell: Callable[[float, str], None]) -> Registered:
    from pipelines.recipe import Recipe
    from pipelines.training import train

    tell(0.05, "training")
    trained = train(
        flights,
        window,
        Recipe(seed=seed),
        checkpoints=order.checkpoints,
        progress=lambda fraction, text: tell(0.05 + 0.45 * fraction, text),
    )
    tell(0.5, "registering")
    return register(
        trained,
        tracking_uri=order.tracking_uri,
        model=order.model,
        tags={JOB_TAG: order.job},
        feature_view=order.feature_view,
    )


def _without(flights: Flights, left_out: Sequence[LeftOut], shift: timedelta) -> Flights:
    """Data in quarantine is not learnt from, and nobody is judged by it."""
    kept = np.ones(len(flights), dtype=bool)
    for each in left_out:
        window = each.window.shifted(-shift)
        start, end = (np.datetime64(moment.astimezone(UTC).replace(tzinfo=None)) for moment in (window.start, window.end))
        kept &= ~((flights.departed >= start) & (flights.departed < end))
    return flights.rows(kept) if not kept.all() else flights


def _tell_cost(order: Order, registered: Registered, meter: Meter) -> None:
    """Before the evaluation and once more at the end, so that it is there whatever comes between."""
    if order.prices is not None and order.resources is not None:
        seconds = meter.seconds
        record_cost(registered, seconds, cost_of(order.resources, seconds, order.prices), tracking_uri=order.tracking_uri)


def _rows(flights: Flights) -> Labelled:
    columns: dict[str, pa.Array] = {
        name: pa.array(column, mask=np.isnan(column))
        for name, column in zip(NUMERIC, flights.numeric.astype(np.float64).T, strict=True)
    }
    for place, (name, names) in enumerate(zip(CATEGORICAL, flights.names, strict=True)):
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(flights.codes[:, place].astype(np.int32)), list(names))
    return Labelled(pa.table(columns), np.array(CLASSES)[flights.late.astype(int)])
