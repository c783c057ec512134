"""A walk through the graph, level by level, and the page of it that was asked for.

The walk asks for edges and is told them (a generator), so that the same walk runs over a file in memory and over SQL. It ends
when the page is full; nodes are in the order of their distance and then of their key, and each edge is on the page of its later
end, so that all pages together are the whole, once.
"""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

from tools.errors import PermanentError
from tools.lineage import names
from tools.lineage.port import FLOW, Direction, Edge, EdgeKind, Graph, Node, NodeKind, Query
from tools.lineage.projection import ENDED, JOB, STARTED, Facets, NodeFacts, moment, shown

_OWNERS = frozenset({EdgeKind.JOB, EdgeKind.PARENT})
"""Shown beside a run and not walked through: every run of a job would be upstream of every other."""
_MEMBERS = _OWNERS | {EdgeKind.PART}
"""Walked against their direction from where the walk starts: asking for a job, a dataset or a parent is asking for its own."""
_CURSOR = re.compile(r"(\d{1,3})-([0-9a-f]{32})")


class WrongCursor(PermanentError):
    """It was never handed out."""


Place = tuple[int, str]
"""Distance and key: the order of nodes."""


@dataclass(frozen=True)
class Step:
    """An edge by the keys of its ends."""

    source: str
    target: str
    kind: EdgeKind


@dataclass(frozen=True)
class Question:
    """Which edges begin (`outgoing`) or end (`incoming`) at one of these nodes?"""

    keys: tuple[str, ...]
    outgoing: frozenset[EdgeKind] = frozenset()
    incoming: frozenset[EdgeKind] = frozenset()
    within: frozenset[str] | None = None
    """Only those of which both ends are in it: a job may have had more runs than anybody wants to see."""


Walk = Generator[Question, Iterable[Step], "Walked"]


@dataclass(frozen=True)
class Walked:
    places: list[Place]
    """Of the page."""
    steps: list[Step]
    next_cursor: str | None


def walk(query: Query) -> Walk:
    """Raises PermanentError for a cursor that was never handed out."""
    after = _after(query.cursor)
    start = names.key(query.node)
    directions = (Direction.UP, Direction.DOWN) if query.direction is Direction.BOTH else (query.direction,)
    depths = {start: 0}
    seen = {direction: {start} for direction in directions}
    frontier = {direction: {start} for direction in directions}
    for depth in range(query.depth):
        for direction in directions:
            if not frontier[direction]:
                continue
            further = set()
            for step in (yield _question(frontier[direction], direction, at_start=depth == 0)):
                for end in (step.source, step.target):
                    depths.setdefault(end, depth + 1)
                other = _onward(step, frontier[direction], direction, at_start=depth == 0)
                if other is not None and other not in seen[direction]:
                    further.add(other)
            seen[direction] |= further
            frontier[direction] = further
        # All nodes of this level are known now, and none of a level before can come any more.
        if not any(frontier.values()) or _full(depths, after, depth + 1, query.limit):
            break
    places = sorted(place for place in _places(depths) if after is None or place > after)
    page = places[: query.limit]
    steps = (yield from _edges_of(page, depths)) if page else []
    return Walked(page, steps, f"{page[-1][0]}-{page[-1][1]}" if len(places) > len(page) else None)


def _question(frontier: set[str], direction: Direction, *, at_start: bool) -> Question:
    members = _MEMBERS if at_start else frozenset()
    match direction:
        case Direction.DOWN:
            return Question(tuple(sorted(frontier)), FLOW | _OWNERS, members)
        case _:
            return Question(tuple(sorted(frontier)), _OWNERS, FLOW | members)


def _onward(step: Step, frontier: set[str], direction: Direction, *, at_start: bool) -> str | None:
    """The end where the walk goes on."""
    if step.kind in FLOW:
        here, there = (step.source, step.target) if direction is Direction.DOWN else (step.target, step.source)
        if here in frontier:
            return there
    return step.source if at_start and step.kind in _MEMBERS and step.target in frontier else None


def _full(depths: dict[str, int], after: Place | None, depth: int, limit: int) -> bool:
    """Whether the page can be cut, and what follows it is known to be there."""
    return sum(1 for place in _places(depths) if place[0] <= depth and (after is None or place > after)) > limit


def _places(depths: dict[str, int]) -> Iterator[Place]:
    return ((depth, key) for key, depth in depths.items())


def _edges_of(page: list[Place], depths: dict[str, int]) -> Generator[Question, Iterable[Step], list[Step]]:
    """Between nodes that were told by now, one of them on this page."""
    told = frozenset(place[1] for place in _places(depths) if place <= page[-1])
    found = yield Question(tuple(key for _, key in page), frozenset(EdgeKind), frozenset(EdgeKind), told)
    return sorted(found, key=lambda step: (depths[step.source], step.source, step.target, step.kind))


def _after(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    form = _CURSOR.fullmatch(cursor)
    if form is None:
        raise WrongCursor("the cursor is none that was handed out; leave it out to start")
    return int(form[1]), form[2]


def graph(query: Query, walked: Walked, nodes: dict[str, NodeFacts], edges: dict[Step, Facets], ids: dict[str, str]) -> Graph:
    """`nodes`: those of the page; `ids`: of all ends of edges."""
    return Graph(
        node=query.node,
        nodes=tuple(_node(nodes[key], depth) for depth, key in walked.places),
        edges=tuple(
            Edge(source=ids[step.source], target=ids[step.target], kind=step.kind, facets=shown(edges.get(step, {})))
            for step in walked.steps
        ),
        next_cursor=walked.next_cursor,
    )


def _node(node: NodeFacts, depth: int) -> Node:
    is_run = node.kind is NodeKind.RUN
    return Node(
        id=node.id,
        kind=node.kind,
        namespace=node.namespace,
        name=node.name,
        version=node.version,
        depth=depth,
        job=node.facets[JOB]["value"] if is_run and JOB in node.facets else None,
        state=(node.facets[ENDED]["value"] if ENDED in node.facets else "RUNNING") if is_run else None,
        started_at=moment(node.facets, STARTED),
        ended_at=moment(node.facets, ENDED),
        facets=shown(node.facets),
    )
