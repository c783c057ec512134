"""The walk: what is up, what is down, page by page, and no further than it should."""

import re
import time
from collections.abc import Iterable
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.lineage import stories
from tools.errors import PermanentError
from tools.lineage import names
from tools.lineage.graph import WrongCursor
from tools.lineage.memory import Memory
from tools.lineage.openlineage import as_openlineage
from tools.lineage.port import Direction, Edge, EdgeKind, Graph, NodeKind, NotKnown, Query
from tools.lineage.projection import Facts, NodeFacts, facts


def memory() -> Memory:
    found = Facts()
    for event in stories.story():
        found.add(facts(as_openlineage(event)))
    return Memory(found)


def ids(graph: Graph, kind: NodeKind | None = None) -> set[str]:
    return {node.id for node in graph.nodes if kind is None or node.kind is kind}


def drawn(flows: Iterable[tuple[int, int]]) -> Memory:
    """Even numbers are datasets, odd ones runs."""
    found = Facts()

    def node(number: int) -> str:
        if number % 2:
            return found.node(NodeFacts(names.run(str(UUID(int=number))), NodeKind.RUN, "x", str(number)))
        return found.node(NodeFacts(names.dataset("x", str(number)), NodeKind.DATASET, "x", str(number)))

    for source, target in flows:
        found.edge(node(source), node(target), EdgeKind.OUTPUT if source % 2 else EdgeKind.INPUT, {})
    return Memory(found)


def whole(memory: Memory, query: Query) -> tuple[list[str], list[Edge]]:
    """All pages."""
    nodes, edges, cursor = [], [], None
    for _ in range(1_000):
        page = memory.graph(query.model_copy(update={"cursor": cursor}))
        nodes += [node.id for node in page.nodes]
        edges += page.edges
        cursor = page.next_cursor
        if cursor is None:
            return nodes, edges
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("model:flihgts/1", "nothing was told of model:flihgts/1; there is model:flights/1"),
        ("dataset:ck/trips", "dataset:lake/trips"),
        ("features:quite@000000000000", "; there is features:"),
        ("model:zzz/9", "; there is model:flights/1"),
    ],
)
def test_what_is_not_known_is_told_with_what_is_called_nearly_so(asked: str, said: str) -> None:
    with pytest.raises(NotKnown, match=re.escape(said)):
        memory().graph(Query(node=asked))


def test_a_kind_of_which_there_is_nothing_is_said_to_be_so() -> None:
    with pytest.raises(NotKnown, match="there is no model at all"):
        drawn([(0, 1)]).graph(Query(node="model:flights/1"))


def test_a_model_comes_from_the_batches_that_its_features_knew_and_from_no_other() -> None:
    found = memory().graph(Query(node="model:flights/1", direction=Direction.UP))
    assert ids(found, NodeKind.BATCH) == {"batch:trips/a", "batch:trips/b"}
    assert ids(found, NodeKind.FEATURES) == {"features:trip_features@5c1d"}
    assert ids(found, NodeKind.JOB) == {"job:oppen/ingest.trips", "job:oppen/features.trip_features", "job:oppen/train.flights"}
    assert "dataset:file//in" in ids(found)
    (training,) = (node for node in found.nodes if node.depth == 1)
    assert training.facets["oppen_code"] == {"package": "oppen", "version": "0.1.0", "commit": "c96e9d7", "changed": True}
    assert training.facets["oppen_mlflow"] == {"runId": "0cefbd6f", "experiment": "flights"}
    (read,) = (edge for edge in found.edges if edge.target == training.id)
    assert read.facets["oppen_window"]["start"] == "2026-02-23T09:00:00.000000Z"


def test_a_batch_leads_to_the_model_that_learnt_from_it() -> None:
    assert "model:flights/1" in ids(memory().graph(Query(node="batch:trips/a", direction=Direction.DOWN)))
    assert "model:flights/1" not in ids(memory().graph(Query(node="batch:trips/c", direction=Direction.DOWN)))


def test_asking_for_a_table_or_a_job_is_asking_for_its_batches_and_runs() -> None:
    for node in ("dataset:lake/trips", "job:oppen/ingest.trips"):
        assert "model:flights/1" in ids(memory().graph(Query(node=node, direction=Direction.DOWN)))
    up = ids(memory().graph(Query(node="dataset:lake/trips", direction=Direction.UP)))
    assert {"batch:trips/a", "batch:trips/b", "batch:trips/c", "dataset:file//in"} <= up


def test_both_is_what_is_up_and_what_is_down_and_not_what_else_came_of_what_is_up() -> None:
    found = ids(memory().graph(Query(node="features:trip_features@5c1d")))
    assert {"batch:trips/a", "model:flights/1"} <= found
    assert "batch:trips/c" not in found


def test_depth_ends_the_walk() -> None:
    assert ids(memory().graph(Query(node="model:flights/1", depth=0))) == {"model:flights/1"}
    assert {node.depth for node in memory().graph(Query(node="model:flights/1", depth=3)).nodes} == {0, 1, 2, 3}


def test_a_circle_ends() -> None:
    circle = drawn([(0, 1), (1, 2), (2, 3), (3, 0)])
    nodes, edges = whole(circle, Query(node="dataset:x/0", limit=1))
    assert len(nodes) == len(set(nodes)) == 4
    assert len(edges) == 4


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda flow: sum(flow) % 2 == 1), min_size=1, max_size=30
    ),
    st.sampled_from(Direction),
    st.integers(0, 12),
    st.integers(1, 7),
)
def test_all_pages_together_are_the_graph_once(
    flows: list[tuple[int, int]], direction: Direction, depth: int, limit: int
) -> None:
    graph = drawn(flows)
    number = flows[0][0]
    start = names.run(str(UUID(int=number))) if number % 2 else names.dataset("x", str(number))
    query = Query(node=start, direction=direction, depth=depth)
    one = graph.graph(query)
    assert one.next_cursor is None
    nodes, edges = whole(graph, query.model_copy(update={"limit": limit}))
    assert nodes == [node.id for node in one.nodes]
    assert len(edges) == len(one.edges)
    assert {(edge.source, edge.target) for edge in edges} == {(edge.source, edge.target) for edge in one.edges}
    assert {end for edge in edges for end in (edge.source, edge.target)} <= set(nodes)


def test_what_is_no_node_and_no_cursor_is_refused() -> None:
    for node in ("flights", "table:x", "model:"):
        with pytest.raises(PermanentError, match="is no node"):
            memory().graph(Query(node=node))
    with pytest.raises(WrongCursor):
        memory().graph(Query(node="model:flights/1", cursor="1-2"))


def test_ten_thousand_nodes_take_no_time() -> None:
    wide = drawn((2 * number, 1) for number in range(1, 10_000))
    started = time.perf_counter()
    nodes, _ = whole(wide, Query(node=names.run(str(UUID(int=1))), limit=500))
    assert len(nodes) == 10_000
    assert (time.perf_counter() - started) / 20 < 1.0
