"""What an OpenLineage event says of nodes and edges, and how what several events say becomes one.

Joining is commutative, associative and idempotent: of each facet the newest stands. So events may come in any order, twice, in
parts, from several files, or without their START, and the graph is the same.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from tools.errors import PermanentError
from tools.lineage import names
from tools.lineage.names import MAX_NAME
from tools.lineage.port import EdgeKind, NodeKind, RunState
from tools.lineage.secrets import cleaned
from tools.values import Instant

Facets = dict[str, Any]
"""By name, stamped: {"at": TIME, "value": VALUE}."""

BATCHES = "oppen_batches"
SEEN, STARTED, ENDED, JOB = "_seen", "_started", "_ended", "_job"
"""What is kept of a run beside its facets, under names that no facet from outside gets."""

_OURS = ("_producer", "_schemaURL", "_deleted")
_ENDS = (RunState.COMPLETE, RunState.ABORT, RunState.FAIL)
MAX_BATCHES = 10_000
"""In one dataset of one event: more are told in several events of the run."""
MAX_DATASETS = 10_000
_FAULTS = 20
"""So many are told."""

P = TypeVar("P", bound=BaseModel)


class Unreadable(PermanentError):
    """It is no RunEvent. `faults`: for each, the field and what is wrong with it."""

    def __init__(self, faults: tuple[tuple[str, str], ...]) -> None:
        super().__init__("this is no RunEvent of OpenLineage: " + "; ".join(f"{where}: {what}" for where, what in faults[:3]))
        self.faults = faults


def _text(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def _uuid(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError as error:
        raise ValueError("must be a UUID") from error


Text = Annotated[str, Field(max_length=MAX_NAME // 2), AfterValidator(_text)]
LongText = Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_text)]
# Some clients write null for what is empty.
Named = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
RunId = Annotated[str, AfterValidator(_uuid)]


class _Part(BaseModel):
    """Of an event: what we need of it, and the rest as it came."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class BatchOf(_Part):
    model_config = ConfigDict(frozen=True, extra="allow")

    key: LongText


class JobOf(_Part):
    namespace: Text
    name: LongText
    facets: Named = Field(default_factory=dict)


class RunOf(_Part):
    run_id: RunId = Field(alias="runId")
    facets: Named = Field(default_factory=dict)


class DatasetOf(_Part):
    namespace: Text
    name: LongText
    facets: Named = Field(default_factory=dict)
    input_facets: Named = Field(default_factory=dict, alias="inputFacets")
    output_facets: Named = Field(default_factory=dict, alias="outputFacets")


Datasets = Annotated[
    list[DatasetOf], Field(max_length=MAX_DATASETS), BeforeValidator(lambda value: [] if value is None else value)
]


class RunEventOf(_Part):
    """An OpenLineage RunEvent, of any version of its schema so far."""

    event_time: Instant = Field(alias="eventTime")
    event_type: RunState = Field(default=RunState.OTHER, alias="eventType")
    producer: str = Field(max_length=MAX_NAME)
    run: RunOf
    job: JobOf
    inputs: Datasets = Field(default_factory=list)
    outputs: Datasets = Field(default_factory=list)


class _ParentOf(_Part):
    run: RunOf
    job: JobOf | None = None


class _VersionOf(_Part):
    version: LongText = Field(alias="datasetVersion")


class _BatchesOf(_Part):
    batches: list[BatchOf] = Field(max_length=MAX_BATCHES)


@dataclass
class NodeFacts:
    id: str
    kind: NodeKind
    namespace: str
    name: str
    version: str | None = None
    facets: Facets = field(default_factory=dict)


@dataclass
class Facts:
    """Nodes by their key, edges by the keys of their ends and their kind."""

    nodes: dict[str, NodeFacts] = field(default_factory=dict)
    edges: dict[tuple[str, str, EdgeKind], Facets] = field(default_factory=dict)

    def add(self, other: "Facts") -> None:
        for key, node in other.nodes.items():
            self._node(key, node)
        for edge, facets in other.edges.items():
            self.edges[edge] = joined(self.edges.get(edge, {}), facets)

    def node(self, node: NodeFacts) -> str:
        key = names.key(node.id)
        self._node(key, node)
        return key

    def edge(self, source: str, target: str, kind: EdgeKind, facets: Facets) -> None:
        edge = (source, target, kind)
        self.edges[edge] = joined(self.edges.get(edge, {}), facets)

    def _node(self, key: str, node: NodeFacts) -> None:
        known = self.nodes.setdefault(key, node)
        if known is not node:
            known.facets = joined(known.facets, node.facets)


def joined(one: Facets, other: Facets) -> Facets:
    """Of each facet the newer; of two of the same moment always the same one."""
    if not one or not other:
        return dict(other or one)
    result = dict(one)
    for name, stamped in other.items():
        if name not in result or _rank(result[name]) < _rank(stamped):
            result[name] = stamped
    return result


def _rank(stamped: Mapping[str, Any]) -> tuple[str, str]:
    return stamped["at"], json.dumps(stamped["value"], sort_keys=True)


def read(event: object) -> RunEventOf:
    """Raises Unreadable."""
    return _valid(RunEventOf, event, "")


def _valid(kind: type[P], value: object, where: str) -> P:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        told = tuple((_path(where, fault["loc"]), fault["msg"].removeprefix("Value error, ")) for fault in faults)
        raise Unreadable(told[:_FAULTS]) from None


def _path(where: str, location: tuple[int | str, ...]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return f"{where}{steps}".removeprefix(".") or "(body)"


def digest(event: object) -> str:
    """The same event is the same text."""
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()


def facts(event: object) -> Facts:
    """What one event says. Without secrets. Raises Unreadable."""
    return facts_of(read(cleaned(event)))


def facts_of(event: RunEventOf) -> Facts:
    """Of an event that is clean already. Raises Unreadable where a facet that we read is not what it should be."""
    found = Facts()
    at = event.event_time.astimezone(UTC).isoformat(timespec="microseconds")
    job = found.node(_job(event.job, at))
    run = found.node(_run(event, at))
    found.edge(run, job, EdgeKind.JOB, {})
    _parent(found, run, event, at)
    for place, dataset in enumerate(event.inputs):
        for node, facets in _data(found, run, dataset, dataset.input_facets, f"inputs[{place}]", at):
            found.edge(node, run, EdgeKind.INPUT, facets)
    for place, dataset in enumerate(event.outputs):
        for node, facets in _data(found, run, dataset, dataset.output_facets, f"outputs[{place}]", at):
            found.edge(run, node, EdgeKind.OUTPUT, facets)
    return found


def _job(job: JobOf, at: str) -> NodeFacts:
    facets = _stamped(job.facets, at)
    return NodeFacts(names.job(job.namespace, job.name), NodeKind.JOB, job.namespace, job.name, facets=facets)


def _run(event: RunEventOf, at: str) -> NodeFacts:
    facets = _stamped(event.run.facets, at)
    facets[SEEN] = _stamp(at, None)
    facets[JOB] = _stamp(at, names.job(event.job.namespace, event.job.name))
    if event.event_type is RunState.START:
        facets[STARTED] = _stamp(at, None)
    if event.event_type in _ENDS:
        facets[ENDED] = _stamp(at, event.event_type.value)
    return NodeFacts(names.run(event.run.run_id), NodeKind.RUN, event.job.namespace, event.run.run_id, facets=facets)


def _parent(found: Facts, run: str, event: RunEventOf, at: str) -> None:
    if event.run.facets.get("parent") is None:
        return
    parent = _valid(_ParentOf, event.run.facets["parent"], "run.facets.parent")
    if parent.run.run_id == event.run.run_id:
        return
    facets: Facets = {}
    if parent.job is not None:
        facets[JOB] = _stamp(at, names.job(parent.job.namespace, parent.job.name))
    namespace = parent.job.namespace if parent.job is not None else event.job.namespace
    above = found.node(NodeFacts(names.run(parent.run.run_id), NodeKind.RUN, namespace, parent.run.run_id, facets=facets))
    found.edge(run, above, EdgeKind.PARENT, {})
    if parent.job is not None:
        job = NodeFacts(names.job(parent.job.namespace, parent.job.name), NodeKind.JOB, parent.job.namespace, parent.job.name)
        found.edge(above, found.node(job), EdgeKind.JOB, {})


def _data(
    found: Facts, run: str, dataset: DatasetOf, of_edge: Mapping[str, Any], where: str, at: str
) -> Iterable[tuple[str, Facets]]:
    """The nodes that stand for it, with the facets of their edge to the run."""
    facets = _stamped({name: each for name, each in dataset.facets.items() if name != BATCHES}, at)
    version = None
    if dataset.facets.get("version") is not None:
        version = _valid(_VersionOf, dataset.facets["version"], f"{where}.facets.version").version
    node = NodeFacts(
        names.dataset(dataset.namespace, dataset.name), NodeKind.DATASET, dataset.namespace, dataset.name, facets=facets
    )
    if version is not None and (own := names.versioned(dataset.namespace, dataset.name, version)) is not None:
        node.kind, node.id, node.version = *own, version
    key = found.node(node)
    if dataset.facets.get(BATCHES) is None:
        return [(key, _stamped(of_edge, at))]
    batches = _valid(_BatchesOf, dataset.facets[BATCHES], f"{where}.facets.{BATCHES}").batches
    # Told of all batches together: kept with the run, by what it was said of.
    role = "input" if where.startswith("input") else "output"
    found.nodes[run].facets[f"{role} {node.id}"] = _stamp(at, _plain(of_edge))
    return [(_batch(found, key, dataset, each, at), {}) for each in batches]


def _batch(found: Facts, whole: str, dataset: DatasetOf, batch: BatchOf, at: str) -> str:
    said = {name: value for name, value in (batch.model_extra or {}).items() if value is not None}
    node = NodeFacts(
        names.batch(dataset.namespace, dataset.name, batch.key),
        NodeKind.BATCH,
        dataset.namespace,
        dataset.name,
        batch.key,
        {"batch": _stamp(at, said)} if said else {},
    )
    key = found.node(node)
    found.edge(key, whole, EdgeKind.PART, {})
    return key


def _stamped(facets: Mapping[str, Any], at: str) -> Facets:
    """One that is deleted stands as None."""
    return {name: _stamp(at, _without(value)) for name, value in facets.items() if not name.startswith("_")}


def _plain(facets: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _without(value) for name, value in facets.items() if not name.startswith("_")}


def _without(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return None if value.get("_deleted") is True else {name: each for name, each in value.items() if name not in _OURS}


def _stamp(at: str, value: Any) -> dict[str, Any]:
    return {"at": at, "value": value}


def shown(facets: Facets) -> dict[str, Any]:
    """As OpenLineage has them, without what is deleted and what is ours."""
    found = ((name, stamped["value"]) for name, stamped in facets.items() if not name.startswith("_"))
    return {name: value for name, value in sorted(found) if value is not None}


def moment(facets: Facets, name: str) -> datetime | None:
    return datetime.fromisoformat(facets[name]["at"]) if name in facets else None
