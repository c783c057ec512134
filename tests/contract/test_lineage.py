"""What every backend of lineage does with what it is told."""

import asyncio
import random
from pathlib import Path

import pytest

from tests.unit.lineage import stories
from tools.errors import PermanentError
from tools.lineage.memory import Memory
from tools.lineage.openlineage import as_openlineage
from tools.lineage.port import Direction, Event, Graph, Lineage, LineageReader, LineageWriter, NotKnown, Query
from tools.lineage.projection import Facts, facts

QUERIES = [
    Query(node=node, direction=direction)
    for node in ("model:flights/1", "batch:trips/a", "dataset:lake/trips", "job:oppen/ingest.trips")
    for direction in Direction
]


async def told(lineage: Lineage, events: list[Event]) -> None:
    for event in events:
        await asyncio.to_thread(lineage.emit, event)


async def asked(lineage: Lineage, query: Query) -> Graph:
    return await asyncio.to_thread(lineage.graph, query)


def expected(query: Query) -> Graph:
    found = Facts()
    for event in stories.story():
        found.add(facts(as_openlineage(event)))
    return Memory(found).graph(query)


async def test_the_graph_is_that_of_the_events_in_whatever_order_and_how_often_they_come(lineage: Lineage) -> None:
    events = stories.story()
    again = events + random.Random(7).sample(events, 5)
    random.Random(11).shuffle(again)
    await told(lineage, again)
    for query in QUERIES:
        assert await asked(lineage, query) == expected(query)


async def test_pages_are_the_same_everywhere(lineage: Lineage) -> None:
    await told(lineage, stories.story())
    query = Query(node="model:flights/1", limit=3)
    while True:
        page = await asked(lineage, query)
        assert page == expected(query)
        if page.next_cursor is None:
            break
        query = query.model_copy(update={"cursor": page.next_cursor})


async def test_what_nobody_told_of_is_not_known_and_what_is_no_node_is_refused(lineage: Lineage) -> None:
    await told(lineage, stories.story()[:1])
    with pytest.raises(NotKnown):
        await asked(lineage, Query(node="model:flights/9"))
    with pytest.raises(PermanentError, match="is no node"):
        await asked(lineage, Query(node="flights"))
    with pytest.raises(PermanentError, match="cursor"):
        await asked(lineage, Query(node="job:oppen/ingest.trips", cursor="7"))


async def test_names_of_any_letters_come_back(lineage: Lineage) -> None:
    odd = stories.trips("Zürich/2026 #1?&%.csv", "a" * 1_900)
    await told(lineage, list(stories.told(stories.run(1, "ingest"), [], [odd])))
    found = await asked(lineage, Query(node="dataset:lake/trips", direction=Direction.UP))
    assert {node.version for node in found.nodes if node.kind == "batch"} == {"Zürich/2026 #1?&%.csv", "a" * 1_900}
    assert (await asked(lineage, Query(node="batch:trips/Zürich/2026 #1?&%.csv"))).nodes


def test_backends_are_lineage(tmp_path: Path) -> None:
    from tools.lineage.opening import open_lineage

    for destination in (str(tmp_path / "lineage.jsonl"), "http://127.0.0.1:1/v1/lineage"):
        opened = open_lineage(destination, home=tmp_path)
        assert isinstance(opened, LineageWriter)
        assert isinstance(opened, LineageReader)
        opened.close()
    for destination in ("kafka://broker/topic", "http://"):
        with pytest.raises(PermanentError):
            open_lineage(destination, home=tmp_path)
