"""SQL about where things come from: events are kept as they were told, and joined into nodes and edges as they come."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import bindparam, select, tuple_, update

from api.store.records import LineageEdgeRecord, LineageEventRecord, LineageNodeRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import insert, table
from tools.lineage import names, projection
from tools.lineage.graph import Question, Step, Walked, graph, walk
from tools.lineage.port import EdgeKind, Graph, NodeKind, NotKnown, Query
from tools.lineage.projection import Facts, NodeFacts, RunEventOf, joined
from tools.lineage.secrets import cleaned

T = TypeVar("T")

_CHUNK = 500
"""Keys in one statement: every SQLite takes so many."""
_WITHIN = 1_000
"""Up to so many other ends are left to the database to pick from; of more, all edges are read and picked from here."""


@dataclass(frozen=True)
class Told:
    """An event that may be kept, and what it says."""

    digest: str
    event: dict[str, Any]
    read: RunEventOf
    facts: Facts


def understood(event: object) -> Told:
    """Takes its time with large ones. Raises Unreadable."""
    kept = cleaned(event)
    read = projection.read(kept)
    return Told(projection.digest(kept), kept, read, projection.facts_of(read))


async def record(transaction: Transaction, told: Told, *, told_by: str, at: datetime) -> bool:
    """False: it was told before."""
    read = told.read
    statement = (
        insert(transaction, LineageEventRecord)
        .values(
            digest=told.digest,
            run_id=read.run.run_id,
            event_type=read.event_type.value,
            event_time=read.event_time.astimezone(UTC),
            told_by=told_by,
            received_at=at,
            event=told.event,
        )
        .on_conflict_do_nothing(index_elements=["digest"])
        .returning(LineageEventRecord.digest)
    )
    if (await transaction.execute(statement)).first() is None:
        return False
    await _join_nodes(transaction, told.facts)
    await _join_edges(transaction, told.facts)
    return True


async def known(session: ReadSession, events: Sequence[Told]) -> set[str]:
    """Digests of those that were told before."""
    found: set[str] = set()
    for chunk in _chunks([each.digest for each in events]):
        found |= set(await session.scalars(select(LineageEventRecord.digest).where(LineageEventRecord.digest.in_(chunk))))
    return found


async def look_up(session: ReadSession, query: Query) -> Graph:
    """Raises NotKnown; PermanentError for what is no node and no cursor."""
    if await session.get(LineageNodeRecord, names.key(names.checked(query.node))) is None:
        raise NotKnown(f"nothing was told of {query.node[:300]}")
    walked = await _walked(session, query)
    nodes = await _nodes(session, [key for _, key in walked.places])
    ends = {end for step in walked.steps for end in (step.source, step.target)}
    ids = {key: node.id for key, node in nodes.items()}
    ids |= await _ids(session, sorted(ends - ids.keys()))
    return graph(query, walked, nodes, await _facets(session, walked.steps), ids)


async def _walked(session: ReadSession, query: Query) -> Walked:
    walking = walk(query)
    try:
        question = next(walking)
        while True:
            question = walking.send(await _told(session, question))
    except StopIteration as end:
        walked: Walked = end.value
        return walked


async def _told(session: ReadSession, question: Question) -> set[Step]:
    found: set[Step] = set()
    edge = LineageEdgeRecord
    for here, there, kinds in (
        (edge.source, edge.target, question.outgoing),
        (edge.target, edge.source, question.incoming),
    ):
        for keys in _chunks(question.keys) if kinds else ():
            statement = select(edge.source, edge.target, edge.kind).where(here.in_(keys))
            if len(kinds) < len(EdgeKind):
                statement = statement.where(edge.kind.in_(sorted(kinds)))
            if question.within is not None and len(question.within) <= _WITHIN:
                statement = statement.where(there.in_(sorted(question.within)))
            for source, target, kind in await session.execute(statement):
                if question.within is None or (source in question.within and target in question.within):
                    found.add(Step(source, target, EdgeKind(kind)))
    return found


async def _nodes(session: ReadSession, keys: Sequence[str]) -> dict[str, NodeFacts]:
    nodes = table(LineageNodeRecord).c
    columns = (nodes.key, nodes.id, nodes.kind, nodes.namespace, nodes.name, nodes.version, nodes.facets)
    found = {}
    for chunk in _chunks(keys):
        for key, node_id, kind, namespace, name, version, facets in await session.execute(
            select(*columns).where(nodes.key.in_(chunk))
        ):
            found[key] = NodeFacts(node_id, NodeKind(kind), namespace, name, version, facets)
    return found


async def _ids(session: ReadSession, keys: Sequence[str]) -> dict[str, str]:
    node = LineageNodeRecord
    found: dict[str, str] = {}
    for chunk in _chunks(keys):
        rows = await session.execute(select(node.key, node.id).where(node.key.in_(chunk)))
        found |= {row.key: row.id for row in rows}
    return found


async def _facets(session: ReadSession, steps: Sequence[Step]) -> dict[Step, dict[str, Any]]:
    edges = table(LineageEdgeRecord).c
    found = {}
    for chunk in _chunks(steps, _CHUNK // 3):
        these = tuple_(edges.source, edges.target, edges.kind).in_(
            [(step.source, step.target, step.kind.value) for step in chunk]
        )
        for source, target, kind, facets in await session.execute(
            select(edges.source, edges.target, edges.kind, edges.facets).where(these)
        ):
            found[Step(source, target, EdgeKind(kind))] = facets
    return found


async def _join_nodes(transaction: Transaction, facts: Facts) -> None:
    """In the order of their keys, so that two who join the same nodes wait for each other and not in a circle."""
    nodes = table(LineageNodeRecord).c
    rows = [
        {
            "key": key,
            "id": node.id,
            "kind": node.kind.value,
            "namespace": node.namespace,
            "name": node.name,
            "version": node.version,
            "facets": node.facets,
        }
        for key, node in sorted(facts.nodes.items())
    ]
    await transaction.execute(insert(transaction, LineageNodeRecord).on_conflict_do_nothing(index_elements=["key"]), rows)
    changed = []
    for keys in _chunks(sorted(facts.nodes)):
        statement = select(nodes.key, nodes.facets).where(nodes.key.in_(keys)).order_by(nodes.key).with_for_update()
        for key, known in await transaction.execute(statement):
            facets = joined(known, facts.nodes[key].facets)
            if facets != known:
                changed.append({"of_key": key, "new_facets": facets})
    if changed:
        one = nodes.key == bindparam("of_key")
        await transaction.execute(update(table(LineageNodeRecord)).where(one).values(facets=bindparam("new_facets")), changed)


async def _join_edges(transaction: Transaction, facts: Facts) -> None:
    edges = table(LineageEdgeRecord).c
    steps = {Step(*edge): facets for edge, facets in facts.edges.items()}
    rows = [
        {"source": step.source, "target": step.target, "kind": step.kind.value, "facets": facets}
        for step, facets in sorted(steps.items(), key=lambda each: (each[0].source, each[0].target, each[0].kind))
    ]
    statement = insert(transaction, LineageEdgeRecord).on_conflict_do_nothing(index_elements=["source", "target", "kind"])
    await transaction.execute(statement, rows)
    # The nodes at its ends are held, so nobody else joins the same edge meanwhile.
    said = {step: facets for step, facets in steps.items() if facets}
    changed = []
    for step, known in (await _facets(transaction, list(said))).items():
        facets = joined(known, said[step])
        if facets != known:
            changed.append({"of_source": step.source, "of_target": step.target, "of_kind": step.kind.value, "new": facets})
    if changed:
        one = (
            (edges.source == bindparam("of_source"))
            & (edges.target == bindparam("of_target"))
            & (edges.kind == bindparam("of_kind"))
        )
        await transaction.execute(update(table(LineageEdgeRecord)).where(one).values(facets=bindparam("new")), changed)


def _chunks(items: Sequence[T], size: int = _CHUNK) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
