"""The reference training as a job: what the platform asks for comes in by files and variables, and a version goes out.

It is the contract that anybody's training follows (docs/training.md): the window and the champion are in `training.json`, the
registry is MLFLOW_TRACKING_URI, the version carries the job's name, and beside it lies what it is worth next to the champion.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipelines.evaluating import Labelled, Part, contender, measure
from pipelines.faults import LostArrivals
from pipelines.flights import CATEGORICAL, CLASSES, NUMERIC, Flights
from tools.errors import PermanentError
from tools.registry.evaluations import Evaluation, artifact
from tools.registry.library import opened
from tools.registry.tracking import Tracking, translated
from tools.values import Window

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

    `shift`: by how much the window lies after the flights of 2013 that stand for it. Blocking, some ten seconds; raises
    PortError, and ValueError when the window is too short to learn from.
    """
    from pipelines.registration import register
    from pipelines.training import Recipe, train

    window = order.window.shifted(-shift)
    split = window.end - HELD_OUT
    if split <= window.start:
        raise PermanentError(f"window_start: a window of {window.length} leaves nothing to train on beside {HELD_OUT} held out")
    progress(0.05, "training")
    if fault is not None:
        # Whoever prepared the data spoilt what is trained on and what is evaluated on alike.
        flights = fault.spoil(flights)
    trained = train(
        flights, Window(start=window.start, end=split), Recipe(seed=seed), progress=lambda text: progress(0.3, text)
    )
    progress(0.6, "registering")
    registered = register(trained, tracking_uri=order.tracking_uri, model=order.model, tags={JOB_TAG: order.job})
    progress(0.8, f"evaluating beside version {order.champion}")
    held_out, recent = Window(start=split, end=window.end - RECENT), Window(start=window.end - RECENT, end=window.end)
    known = flights.arrived_by(window.end)
    parts: dict[Part, Labelled] = {"held_out": _rows(known.departing(held_out)), "recent": _rows(known.departing(recent))}
    with tempfile.TemporaryDirectory() as cache:
        tracking = Tracking(order.tracking_uri)
        files = [tracking.fetch(order.model, version, Path(cache)) for version in (registered.version, order.champion)]
        facts = measure(contender(files[0]), contender(files[1]), parts, seed=seed)
    evaluation = Evaluation(
        model=order.model,
        version=registered.version,
        champion=order.champion,
        held_out=held_out.shifted(shift),
        recent=recent.shifted(shift),
        facts=facts,
        measured_at=datetime.now(UTC),
    )
    with translated():
        mlflow = opened(order.tracking_uri)
        client = mlflow.MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.tracking_uri)
        client.log_text(registered.run_id, evaluation.model_dump_json(), artifact(order.champion))
    progress(1.0, f"version {registered.version}")
    accuracy = next(each for each in facts.compared if each.name == "accuracy")
    return {
        "ok": True,
        "model": order.model,
        "version": registered.version,
        "run_id": registered.run_id,
        "metrics": trained.metrics,
        "accuracy": {"candidate": accuracy.candidate, "champion": accuracy.champion, "rows": accuracy.rows},
    }


def _rows(flights: Flights) -> Labelled:
    columns: dict[str, pa.Array] = {
        name: pa.array(column, mask=np.isnan(column))
        for name, column in zip(NUMERIC, flights.numeric.astype(np.float64).T, strict=True)
    }
    for place, (name, names) in enumerate(zip(CATEGORICAL, flights.names, strict=True)):
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(flights.codes[:, place].astype(np.int32)), list(names))
    return Labelled(pa.table(columns), np.array(CLASSES)[flights.late.astype(int)])
