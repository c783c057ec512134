"""A run outlives its process: what one graph has checkpointed another goes on with, with nothing but the database between."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from agents.actions import Rollback
from agents.proposals import Edit, Proposal
from agents.verification import Verification
from api.work.checkpoints import open_checkpoints
from graphs.state import Outcome
from graphs.supervisor import build
from tests.graphs.platform import FAST_RETRY, HOUR, MODEL, Platform, bad_rollout
from tools.errors import PermanentError, TemporaryError


@asynccontextmanager
async def next_process(platform: Platform, url: str) -> AsyncIterator[Platform]:
    async with open_checkpoints(url) as saver:
        platform.graph = build(saver, retry=FAST_RETRY)
        yield platform


async def test_each_step_of_a_run_may_be_another_process(threads_url: str) -> None:
    platform = await bad_rollout()
    async with next_process(platform, threads_url):
        await platform.start()
    async with next_process(platform, threads_url):
        await platform.decide(Edit(action=Rollback(model=MODEL, from_version="2", to_version="3")), by="bob")
    async with next_process(platform, threads_url):
        await platform.decide(Edit(action=Rollback(model=MODEL, from_version="2", to_version="1")), by="carol")
    async with next_process(platform, threads_url):
        await platform.decide()
    platform.traffic("1", 3 * HOUR)
    async with next_process(platform, threads_url):
        ended = await platform.wake()
    assert ended["outcome"] == Outcome.RESOLVED
    assert platform.serving.calls == {"run-1/3/route": 1}


async def test_what_comes_back_from_a_checkpoint_is_what_went_in(threads_url: str) -> None:
    platform = await bad_rollout()
    async with next_process(platform, threads_url):
        await platform.start()
        asked = await platform.proposal()
        await platform.decide()
        platform.traffic("1", 3 * HOUR, accuracy=0.3)
        await platform.wake()
    async with next_process(platform, threads_url):
        values = (await platform.graph.aget_state(platform.config)).values
    assert isinstance(values["proposal"], Proposal)
    assert values["proposal"].undo_of == asked.id
    assert values["proposal"].finding == asked.finding
    assert isinstance(values["recommendation"].action, Rollback)
    assert values["verification"] is None or isinstance(values["verification"], Verification)


async def _lose_tables(url: str) -> None:
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute("DROP TABLE checkpoints")
    else:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as server:
            await server.execute("DROP TABLE checkpoints")


async def test_threads_whose_tables_are_gone_end_their_run(threads_url: str) -> None:
    async with open_checkpoints(threads_url) as saver:
        await _lose_tables(threads_url)
        with pytest.raises(PermanentError, match="the threads' store refused"):
            await saver.aget_tuple({"configurable": {"thread_id": "run-1", "checkpoint_ns": ""}})


async def test_threads_that_another_process_locks_are_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.db"
    async with open_checkpoints(f"sqlite:///{path}") as saver:
        await saver.conn.execute("PRAGMA busy_timeout=10")
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TemporaryError, match="locked"):
                await saver.adelete_thread("run-1")
        await saver.adelete_thread("run-1")


@pytest.mark.postgres
async def test_threads_that_a_server_refuses_are_not_waited_for(postgres_url: str) -> None:
    nowhere = make_url(postgres_url).set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(PermanentError, match="does not exist"):
        async with open_checkpoints(nowhere):
            pytest.fail("there is no such database")
    with pytest.raises(TemporaryError):
        async with open_checkpoints("postgresql://oppen@127.0.0.1:1/none"):
            pytest.fail("there is no such server")
