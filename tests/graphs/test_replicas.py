"""Two replicas on one PostgreSQL: whatever reaches both, a run is moved by one of them, and its action is done once.

A workflow's id keeps two replicas apart only while their names differ: one that starts under the name of another that still
lives takes that one's unfinished workflows for its own. So they are brought here to the same run by hand.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text

from api.store.database import Database
from api.work.approvals import Approvals
from api.work.checkpoints import open_checkpoints
from api.work.progress import Progress
from api.work.runner import Runner
from graphs.supervisor import build
from tests.graphs.platform import FAST_RETRY, HOUR
from tests.graphs.runs import Case, opened
from tools.errors import TemporaryError

pytestmark = pytest.mark.postgres

LIMIT_S = 20.0
THREADS = ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "checkpoint_migrations")
"""LangGraph's tables."""


@pytest.fixture
def database_url(postgres_database_url: str) -> str:
    return postgres_database_url


@pytest.fixture
async def case(database: Database) -> Case:
    return await opened(database)


@pytest.fixture
async def replicas(case: Case, database_url: str) -> AsyncIterator[tuple[Runner, Runner]]:
    """They share what processes share: the databases, and the world."""
    platform = case.platform
    async with AsyncExitStack() as stack:

        async def replica() -> Runner:
            database = Database(database_url)
            stack.push_async_callback(database.close)
            graph = build(await stack.enter_async_context(open_checkpoints(database_url)), retry=FAST_RETRY)
            progress = Progress(database, Approvals(database, lambda: platform.policies, platform.clock), platform.clock)
            return Runner(graph, progress, platform.context_with, platform.clock)

        yield await replica(), await replica()
    with psycopg.connect(database_url, autocommit=True) as connection:
        # The next test that is given this database expects the platform's tables and no others.
        for table in THREADS:
            connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))


async def _until_done(replica: Runner, run_id: str, event: str) -> int:
    """As the engine does it; how often the run was not to be had."""
    refused = 0
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                await replica.advance(run_id, event)
            except TemporaryError:
                refused += 1
                await asyncio.sleep(0.01)
            else:
                return refused


async def test_a_run_is_moved_by_one_replica_at_a_time(case: Case, replicas: tuple[Runner, Runner]) -> None:
    first, second = replicas
    await first.advance(case.run_id, "start")
    await case.decide()
    event = (await case.run()).event
    acting, go_on = asyncio.Event(), asyncio.Event()

    async def pause() -> None:
        acting.set()
        await go_on.wait()

    case.platform.serving.disturb.before("set_weights", pause)
    moving = asyncio.create_task(first.advance(case.run_id, event))
    async with asyncio.timeout(LIMIT_S):
        await acting.wait()
        with pytest.raises(TemporaryError, match="another process"):
            await second.advance(case.run_id, event)
        go_on.set()
        await moving
    await second.advance(case.run_id, event)
    assert case.platform.serving.calls == {f"{case.run_id}/1/route": 1}
    assert case.platform.registry.calls == {f"{case.run_id}/1/alias": 1}


async def test_every_event_at_both_replicas_at_once_happens_once(case: Case, replicas: tuple[Runner, Runner]) -> None:
    async def advance() -> None:
        event = (await case.run()).event
        refused = await asyncio.gather(*(_until_done(replica, case.run_id, event) for replica in replicas))
        assert sum(refused) > 0

    await advance()
    await case.decide()
    await advance()
    case.platform.traffic("1", 3 * HOUR)
    await case.wake()
    await advance()
    assert ((await case.run()).outcome, (await case.run()).error) == ("resolved", None)
    assert len(await case.asked()) == 1
    assert case.platform.serving.calls == {f"{case.run_id}/1/route": 1}
    assert case.platform.registry.calls == {f"{case.run_id}/1/alias": 1}
    told = await case.told()
    once = ("run.started", "proposal.made", "approval.requested", "action.intended", "action.done", "run.completed")
    assert {name: told[name] for name in once} == dict.fromkeys(once, 1)
    assert len(case.platform.notify.sent) == 2


async def test_a_run_that_one_replica_left_is_taken_over_by_the_other(case: Case, replicas: tuple[Runner, Runner]) -> None:
    first, second = replicas
    await first.advance(case.run_id, "start")
    await case.decide()
    event = (await case.run()).event
    acted = asyncio.Event()

    async def hang() -> None:
        acted.set()
        await asyncio.Event().wait()

    case.platform.serving.disturb.after("set_weights", hang)
    dying = asyncio.create_task(first.advance(case.run_id, event))
    await asyncio.wait_for(acted.wait(), LIMIT_S)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    await second.advance(case.run_id, event)
    assert (await case.run()).status == "waiting"
    assert await case.platform.champion() == "1"
    assert (await case.told())["action.done"] == 1


async def test_connections_that_the_server_has_closed_do_not_end_a_run(case: Case, replicas: tuple[Runner, Runner]) -> None:
    first, _ = replicas
    await first.advance(case.run_id, "start")
    await case.decide()
    event = (await case.run()).event
    async with case.database.begin() as transaction:
        others = "pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        await transaction.execute(text(f"SELECT pg_terminate_backend(pid) FROM {others}"))
    await _until_done(first, case.run_id, event)
    assert (await case.run()).error is None
    assert case.platform.registry.calls == {f"{case.run_id}/1/alias": 1}
