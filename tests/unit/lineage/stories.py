"""Events for tests: two batches, features of them, a training set, a model."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from tools.lineage.port import (
    FEATURES,
    LAKE,
    MODELS,
    Batch,
    Code,
    Column,
    ColumnStatistics,
    Dataset,
    Event,
    Job,
    MlflowRun,
    Run,
    RunState,
)
from tools.values import Window

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
CODE = Code(package="oppen", version="0.1.0", commit="c96e9d7", changed=True)


def run(number: int, job: str, kind: str = "JOB") -> Run:
    return Run(id=str(UUID(int=number)), job=Job(name=job, kind=kind), code=CODE)


def told(of: Run, inputs: Iterable[Dataset], outputs: Iterable[Dataset], at: datetime = START) -> tuple[Event, Event]:
    """Its START and its COMPLETE."""
    reads, writes = tuple(inputs), tuple(outputs)
    return (
        Event(run=of, state=RunState.START, at=at, inputs=reads),
        Event(run=of, state=RunState.COMPLETE, at=at + timedelta(seconds=9), inputs=reads, outputs=writes),
    )


def trips(*keys: str) -> Dataset:
    return Dataset(namespace=LAKE, name="trips", batches=tuple(Batch(key=key, rows=10, quarantined=1) for key in keys))


VIEW = Dataset(namespace=FEATURES, name="trip_features", version="5c1d", columns=(Column(name="distance", type="double"),))
MODEL = Dataset(namespace=MODELS, name="flights", version="1")


def story() -> list[Event]:
    """Three batches, of which the features know two."""
    source = Dataset(namespace="file", name="/in", statistics={"a": ColumnStatistics(count=3, nulls=0, minimum=1.5)})
    ingests = [
        told(run(number, "ingest.trips", "INGEST"), [source], [trips(key)], START + timedelta(minutes=number))
        for number, key in enumerate("abc", 1)
    ]
    features = told(run(10, "features.trip_features", "FEATURES"), [trips("a", "b")], [VIEW], START + timedelta(hours=1))
    window = Window(start=START - timedelta(days=7), end=START)
    training = told(
        run(20, "train.flights", "TRAINING").model_copy(update={"mlflow": MlflowRun(run_id="0cefbd6f", experiment="flights")}),
        [VIEW.model_copy(update={"window": window, "rows": 20})],
        [MODEL],
        START + timedelta(hours=2),
    )
    return [event for pair in (*ingests, features, training) for event in pair]
