"""What jobs tell of where things come from. Each function is one kind of job; `recorded` is under them all.

Lineage that cannot be told ends no job: the job goes on, and `tell` hears why.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tools.clock import Clock, SystemClock
from tools.errors import PortError
from tools.lineage.code import code_version
from tools.lineage.port import (
    FEATURES,
    LAKE,
    MODELS,
    TRAINING,
    Batch,
    Code,
    Column,
    ColumnStatistics,
    Dataset,
    Event,
    Job,
    LineageWriter,
    MlflowRun,
    Run,
    RunState,
)
from tools.values import Window

if TYPE_CHECKING:
    from tools.lake.port import Receipt

FILE = "lineage.jsonl"
"""In the home, for jobs."""
LAKE_FILE = "_lineage.jsonl"
"""In the folder of a lake; readers of Parquet pass over it."""
OFF = "off"
"""The destination of those who want none."""

_BATCHES = 1_000
_EVERY_S = 5.0
"""So many batches, or so long, a run keeps to itself what it has written: what a SIGKILL can take from lineage."""

Tell = Callable[[str], None]


def _silent(_text: str) -> None:
    pass


class Recording:
    """A run on its way. What it reads and writes may be said as it goes."""

    def __init__(self, writer: LineageWriter, job: Job, code: Code, clock: Clock, tell: Tell) -> None:
        self._writer = writer
        self._clock = clock
        self._tell = tell
        self._run = Run(id=str(uuid.uuid4()), job=job, code=code)
        self._inputs: list[Dataset] = []
        self._outputs: list[Dataset] = []
        self.aborted = False
        """Set when somebody ended the run before its end."""
        self.fault: str | None = None
        """Why something of it could not be told."""

    @property
    def run_id(self) -> str:
        return self._run.id

    def reads(self, *datasets: Dataset) -> None:
        self._inputs.extend(datasets)

    def writes(self, *datasets: Dataset) -> None:
        self._outputs.extend(datasets)

    def forget(self) -> None:
        """What was written and has been said: the next event says what came after."""
        self._outputs.clear()

    def in_mlflow(self, run_id: str, experiment: str = "") -> None:
        self._run = self._run.model_copy(update={"mlflow": MlflowRun(run_id=run_id, experiment=experiment)})

    def counted(self, **counts: int) -> None:
        self._run = self._run.model_copy(update={"counts": {**self._run.counts, **counts}})

    def say(self, state: RunState, *, error: str | None = None, at: datetime | None = None) -> None:
        """In several events where it has read or written more batches than one should hold; the others are RUNNING."""
        moment = at or self._clock.now()
        inputs, outputs = _parts(self._inputs), _parts([] if state is RunState.START else self._outputs)
        nothing: list[Dataset] = []
        more = [
            Event(run=self._run, state=RunState.RUNNING, at=moment, inputs=tuple(read), outputs=tuple(written))
            for read, written in zip_longest(inputs[1:], outputs[1:], fillvalue=nothing)
        ]
        event = Event(run=self._run, state=state, at=moment, inputs=tuple(inputs[0]), outputs=tuple(outputs[0]), error=error)
        # What was said of many inputs need not be said again.
        self._inputs = inputs[0]
        for each in (event, *more) if state is RunState.START else (*more, event):
            self._emit(each)

    def _emit(self, event: Event) -> None:
        try:
            self._writer.emit(event)
        except PortError as failure:
            self.fault = str(failure)
            self._tell(f"lineage is not recorded: {failure}")


def _parts(datasets: Sequence[Dataset]) -> list[list[Dataset]]:
    """Each with at most so many batches of a dataset; the first has all datasets."""
    parts: list[list[Dataset]] = [[]]
    for dataset in datasets:
        for place, start in enumerate(range(0, max(1, len(dataset.batches)), _BATCHES)):
            if place == len(parts):
                parts.append([])
            parts[place].append(dataset.model_copy(update={"batches": dataset.batches[start : start + _BATCHES]}))
    return parts


@contextmanager
def recorded(
    writer: LineageWriter,
    job: Job,
    *,
    inputs: Iterable[Dataset] = (),
    code: Code | None = None,
    clock: Clock | None = None,
    tell: Tell = _silent,
) -> Iterator[Recording]:
    """START now; COMPLETE when the block is left, FAIL with the reason when it raises, ABORT when it was interrupted."""
    recording = Recording(writer, job, code or code_version(), clock or SystemClock(), tell)
    recording.reads(*inputs)
    recording.say(RunState.START)
    try:
        yield recording
    except Exception as error:
        recording.say(RunState.FAIL, error=f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        recording.say(RunState.ABORT, error=type(error).__name__)
        raise
    recording.say(RunState.ABORT if recording.aborted else RunState.COMPLETE)


class Ingestion:
    """Of an ingestion: tells the batches as they are stored, some at a time."""

    def __init__(self, recording: Recording, table: str, location: str | None, columns: Callable[[], Sequence[Column]]) -> None:
        self._recording = recording
        self._table = table
        self._location = location
        self._columns = columns
        self._batches: list[Batch] = []
        self._said = time.monotonic()

    @property
    def fault(self) -> str | None:
        return self._recording.fault

    def stored(self, receipt: "Receipt") -> None:
        self._batches.append(
            Batch(
                key=receipt.key,
                name=receipt.name,
                rows=receipt.rows,
                quarantined=receipt.quarantined,
                bytes=receipt.bytes,
            )
        )
        if len(self._batches) >= _BATCHES or time.monotonic() - self._said >= _EVERY_S:
            self.take()
            self._recording.say(RunState.RUNNING)
            self._recording.forget()

    def ended(self, *, aborted: bool = False, **counts: int) -> None:
        self._recording.aborted = aborted
        self._recording.counted(**counts)

    def take(self) -> None:
        """Have the next event say what has been stored since the last."""
        self._said = time.monotonic()
        if self._batches:
            written = Dataset(
                namespace=LAKE,
                name=self._table,
                batches=tuple(self._batches),
                columns=tuple(self._columns()),
                rows=sum(each.rows or 0 for each in self._batches),
                bytes=sum(each.bytes or 0 for each in self._batches),
                location=self._location,
            )
            self._recording.writes(written)
            self._batches = []


@contextmanager
def ingesting(
    writer: LineageWriter,
    source: Dataset,
    table: str,
    *,
    columns: Callable[[], Sequence[Column]] = tuple,
    location: str | None = None,
    clock: Clock | None = None,
    tell: Tell = _silent,
) -> Iterator[Ingestion]:
    """Source -> batches of `table`. Hand `stored` to what ingests, say how it `ended`. `columns`: asked when there are any."""
    job = Job(name=f"ingest.{table}", kind="INGEST")
    with recorded(writer, job, inputs=(source,), clock=clock, tell=tell) as recording:
        ingestion = Ingestion(recording, table, location, columns)
        try:
            yield ingestion
        finally:
            # Also of a run that fails: what was committed stays.
            ingestion.take()


def features_computed(
    writer: LineageWriter,
    view: str,
    version: str,
    *,
    batches: Mapping[str, Iterable[Batch | str]],
    columns: Iterable[Column] = (),
    statistics: Mapping[str, ColumnStatistics] | None = None,
    rows: int | None = None,
    window: Window | None = None,
    code: Code | None = None,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    tell: Tell = _silent,
) -> str:
    """Raw batches (table -> batches, or their keys) -> a version of a feature view; the id of the run.

    `version`: such as the hash of the view's definition. Times default to now."""
    output = Dataset(
        namespace=FEATURES,
        name=view,
        version=version,
        columns=tuple(columns),
        statistics=dict(statistics or {}),
        rows=rows,
    )
    job = Job(name=f"features.{view}", kind="FEATURES")
    return _told(writer, job, _batches(batches, window), (output,), code, started_at, ended_at, tell=tell)


def training_set_built(
    writer: LineageWriter,
    name: str,
    version: str,
    *,
    features: Iterable[tuple[str, str]] = (),
    batches: Mapping[str, Iterable[Batch | str]] | None = None,
    columns: Iterable[Column] = (),
    rows: int | None = None,
    window: Window | None = None,
    code: Code | None = None,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    tell: Tell = _silent,
) -> str:
    """Feature views (view, version) and raw batches -> a training set, of which `version` is the hash or the snapshot."""
    inputs = (*_features(features, window), *_batches(batches or {}, window))
    output = Dataset(namespace=TRAINING, name=name, batches=(Batch(key=version, rows=rows),), columns=tuple(columns), rows=rows)
    job = Job(name=f"training_set.{name}", kind="TRAINING_SET")
    return _told(writer, job, inputs, (output,), code, started_at, ended_at, tell=tell)


def trained(
    writer: LineageWriter,
    model: str,
    version: str,
    *,
    mlflow_run: str | None = None,
    training_set: tuple[str, str] | None = None,
    features: Iterable[tuple[str, str]] = (),
    batches: Mapping[str, Iterable[Batch | str]] | None = None,
    datasets: Iterable[Dataset] = (),
    window: Window | None = None,
    rows: int | None = None,
    code: Code | None = None,
    started_at: datetime | None = None,
    ended_at: datetime | None = None,
    tell: Tell = _silent,
) -> str:
    """What it learnt from -> a registered version of a model: a training set (name, version) as `training_set_built` told it,
    feature views (view, version), raw batches, or other data."""
    inputs = [*_features(features, window, rows), *_batches(batches or {}, window), *datasets]
    if training_set is not None:
        name, of = training_set
        inputs.append(Dataset(namespace=TRAINING, name=name, batches=(Batch(key=of, rows=rows),), rows=rows, window=window))
    output = Dataset(namespace=MODELS, name=model, version=version)
    job = Job(name=f"train.{model}", kind="TRAINING")
    return _told(writer, job, inputs, (output,), code, started_at, ended_at, mlflow_run=mlflow_run, model=model, tell=tell)


def default_file(tracking_uri: str, home: Path) -> Path:
    """Beside an embedded MLflow, which is in the home; for a server in `home`."""
    parts = urlsplit(tracking_uri)
    # sqlite:////absolute/path: the path begins after the third slash.
    return Path(parts.path.removeprefix("/")).parent / FILE if parts.scheme == "sqlite" and parts.path else home / FILE


def _told(
    writer: LineageWriter,
    job: Job,
    inputs: Iterable[Dataset],
    outputs: Iterable[Dataset],
    code: Code | None,
    started_at: datetime | None,
    ended_at: datetime | None,
    *,
    mlflow_run: str | None = None,
    model: str = "",
    tell: Tell,
) -> str:
    """START and COMPLETE of a run that is over."""
    recording = Recording(writer, job, code or code_version(), SystemClock(), tell)
    recording.reads(*inputs)
    recording.writes(*outputs)
    if mlflow_run is not None:
        recording.in_mlflow(mlflow_run, model)
    recording.say(RunState.START, at=started_at)
    recording.say(RunState.COMPLETE, at=ended_at)
    return recording.run_id


def _batches(batches: Mapping[str, Iterable[Batch | str]], window: Window | None) -> tuple[Dataset, ...]:
    found = {
        table: tuple(Batch(key=each) if isinstance(each, str) else each for each in wanted) for table, wanted in batches.items()
    }
    # A table of which nothing was read is none of the inputs; without batches it would be read as all of it.
    return tuple(
        Dataset(namespace=LAKE, name=table, batches=wanted, window=window) for table, wanted in found.items() if wanted
    )


def _features(features: Iterable[tuple[str, str]], window: Window | None, rows: int | None = None) -> tuple[Dataset, ...]:
    return tuple(
        Dataset(namespace=FEATURES, name=view, version=version, window=window, rows=rows) for view, version in features
    )
