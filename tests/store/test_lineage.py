"""The graph in SQL: joined from several sides at once, and quick when it is large. What it answers: tests/contract."""

import asyncio
import random
import time

import pytest

from api.store import lineage
from api.store.database import Database
from tests.twins.clock import START
from tests.unit.lineage import stories
from tools.lineage.openlineage import as_openlineage
from tools.lineage.port import Batch, Dataset, Direction, Event, Graph, Query

PAGE = 500


async def tell(database: Database, *events: Event) -> list[bool]:
    told = [lineage.understood(as_openlineage(event)) for event in events]
    async with database.begin() as transaction:
        return [await lineage.record(transaction, each, told_by="ada", at=START) for each in told]


async def ask(database: Database, query: Query) -> Graph:
    async with database.read() as session:
        return await lineage.look_up(session, query)


async def test_replicas_that_are_told_of_the_same_nodes_at_once_join_them_all(database: Database, second: Database) -> None:
    batches = [f"{number:03}" for number in range(40)]
    events = []
    for number in range(24):
        picked = random.Random(number).sample(batches, 30)
        events += list(stories.told(stories.run(number + 1, "ingest.trips"), [], [stories.trips(*picked)]))
    told = await asyncio.gather(*(tell((database, second)[place % 2], event) for place, event in enumerate(events)))
    assert all(all(each) for each in told)
    again = await asyncio.gather(*(tell(second, event) for event in events))
    assert not any(any(each) for each in again)
    found = await ask(database, Query(node="dataset:lake/trips", direction=Direction.UP, limit=PAGE))
    kinds = [node.kind.value for node in found.nodes]
    assert (kinds.count("batch"), kinds.count("run")) == (40, 24)
    assert {node.state for node in found.nodes if node.kind == "run"} == {"COMPLETE"}
    assert sum(edge.kind == "output" for edge in found.edges) == 24 * 30


@pytest.mark.slow
async def test_ten_thousand_nodes_are_walked_well_within_a_second(database: Database) -> None:
    """A model of ten thousand batches: its last page has to walk through all of them."""
    keys = [f"file:{number:05}.parquet" for number in range(10_000)]
    for number in range(10):
        part = tuple(Batch(key=key, rows=100) for key in keys[number * 1_000 : (number + 1) * 1_000])
        trips = Dataset(namespace="lake", name="trips", batches=part)
        (_, ingested), (_, computed) = (
            stories.told(stories.run(number + 1, "ingest.trips"), [], [trips]),
            stories.told(stories.run(100, "features"), [trips], [stories.VIEW]),
        )
        await tell(database, ingested, computed)
    await tell(database, *stories.told(stories.run(101, "train"), [stories.VIEW], [stories.MODEL]))
    query = Query(node="model:flights/1", direction=Direction.UP, limit=PAGE)
    seconds, batches = [], set()
    while True:
        started = time.process_time()
        page = await ask(database, query)
        seconds.append(time.process_time() - started)
        batches |= {node.id for node in page.nodes if node.kind == "batch"}
        if page.next_cursor is None:
            break
        query = query.model_copy(update={"cursor": page.next_cursor})
    assert len(batches) == 10_000
    # Of this process, which others on the machine do not lengthen.
    assert sorted(seconds)[len(seconds) // 2] < 0.5
    assert max(seconds) < 2.0
