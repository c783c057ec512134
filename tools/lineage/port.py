"""Where things come from: runs of jobs that read some data and write other data, told as they happen and asked for as a graph.

What is told is OpenLineage (`tools/lineage/openlineage.py`), so that other tools understand ours and we understand theirs. What
is asked for is a graph in which data flows along the edges:

    dataset -> run -> batch -> dataset          a run reads and writes; a batch is part of its dataset
    batch   -> run -> features -> run -> model  what was read by name is joined by name, not by the table it is in
    run     -> job, run -> parent run           whose it was; shown, and not walked through
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from pydantic import Field, FiniteFloat

from tools.errors import PermanentError
from tools.values import Frozen, Instant, Window

LAKE = "lake"
"""Namespace of the tables of raw data."""
FEATURES = "features"
"""Namespace of feature views; each version is a node of its own."""
MODELS = "models"
"""Namespace of registered models; each version is a node of its own."""
TRAINING = "training"
"""Namespace of training sets; each is a batch of the set of its name."""
JOBS = "oppen"
"""Namespace of our own jobs."""


class NotKnown(PermanentError):
    """Nobody has told anything of this node."""


class Job(Frozen):
    name: str
    namespace: str = JOBS
    kind: str = "JOB"
    """INGEST, FEATURES, TRAINING_SET, TRAINING: what OpenLineage calls the job's type."""


class Code(Frozen):
    """What ran. `commit` is None outside a checkout; then the version of the package has to do."""

    package: str
    version: str
    commit: str | None = None
    changed: bool = False
    """Whether the checkout had changes that are in no commit."""


class MlflowRun(Frozen):
    run_id: str
    experiment: str = ""


class Column(Frozen):
    name: str
    type: str


class ColumnStatistics(Frozen):
    count: int | None = None
    nulls: int | None = None
    distinct: int | None = None
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    total: FiniteFloat | None = None
    quantiles: dict[str, FiniteFloat] = Field(default_factory=dict)
    """By the quantile in decimals: `0.5`."""


class Batch(Frozen):
    """A part of a dataset that was written as a whole, and never changes."""

    key: str
    name: str = ""
    """For people: the file that it was."""
    rows: int | None = None
    quarantined: int | None = None
    bytes: int | None = None


class Dataset(Frozen):
    """What a run reads or writes. With `batches` it is those and not the rest; with `version` it is that version."""

    namespace: str
    name: str
    version: str | None = None
    batches: tuple[Batch, ...] = ()
    columns: tuple[Column, ...] = ()
    statistics: dict[str, ColumnStatistics] = Field(default_factory=dict)
    rows: int | None = None
    bytes: int | None = None
    window: Window | None = None
    """What of it, where it was a stretch of time."""
    location: str | None = None
    """Where it is kept, such as a folder. Never with a password."""


class RunState(StrEnum):
    START = "START"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    ABORT = "ABORT"
    FAIL = "FAIL"
    OTHER = "OTHER"


class Run(Frozen):
    id: str
    """A UUID."""
    job: Job
    code: Code | None = None
    mlflow: MlflowRun | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    """What it counted that no dataset says: batches that were there already, rows that were held back."""


class Event(Frozen):
    """What a run says at one moment. What it read and wrote is the union of what its events say."""

    run: Run
    state: RunState
    at: Instant
    inputs: tuple[Dataset, ...] = ()
    outputs: tuple[Dataset, ...] = ()
    error: str | None = None


class NodeKind(StrEnum):
    DATASET = "dataset"
    BATCH = "batch"
    FEATURES = "features"
    MODEL = "model"
    JOB = "job"
    RUN = "run"


class EdgeKind(StrEnum):
    INPUT = "input"
    """Data -> run."""
    OUTPUT = "output"
    """Run -> data."""
    PART = "part"
    """Batch -> dataset."""
    JOB = "job"
    """Run -> job."""
    PARENT = "parent"
    """Run -> the run that started it."""


FLOW = frozenset({EdgeKind.INPUT, EdgeKind.OUTPUT, EdgeKind.PART})
"""Along these, what is at the target depends on what is at the source."""


class Node(Frozen):
    id: str
    kind: NodeKind
    namespace: str
    name: str
    version: str | None = None
    """Of features, models and batches (the key)."""
    depth: int
    """Edges away from the node that was asked for."""
    job: str | None = None
    """Of a run: the id of its job."""
    state: str | None = None
    """Of a run: RUNNING, COMPLETE, ABORT or FAIL."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    facets: dict[str, Any]
    """As OpenLineage has them, the newest of each name."""


class Edge(Frozen):
    source: str
    target: str
    kind: EdgeKind
    facets: dict[str, Any]


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"
    """What is up and what is down; not what else came of what is up."""


MAX_DEPTH = 100
MAX_NODES = 500


class Query(Frozen):
    node: str
    direction: Direction = Direction.BOTH
    depth: int = Field(default=20, ge=0, le=MAX_DEPTH)
    """Edges away. From a model up to the files that its batches were: six, or eight with a training set."""
    limit: int = Field(default=200, ge=1, le=MAX_NODES)
    cursor: str | None = None


class Graph(Frozen):
    """A page: nodes nearest first, and every edge of which the later end is on this page. All pages together are the graph."""

    node: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    next_cursor: str | None = None


@runtime_checkable
class LineageWriter(Protocol):
    """The emitting half."""

    @property
    def destination(self) -> str:
        """Where it goes, for people; without passwords."""
        ...

    def emit(self, event: Event) -> None:
        """Have it told, now or, where the other side is away, later: what is away fails nobody and loses nothing. Telling the
        same event again is a no-op. Blocking. Raises PermanentError when it can be kept nowhere."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class LineageReader(Protocol):
    """The reading half."""

    def graph(self, query: Query) -> Graph:
        """Blocking. Raises NotKnown; PermanentError for a cursor that was never handed out; TemporaryError when it is away."""
        ...


class Lineage(LineageWriter, LineageReader, Protocol):
    """Both."""
