"""The durable engine in processes of its own, because it is one to a process, and because it is to survive their end."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

LIMIT_S = 40.0


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/engine.db"


@asynccontextmanager
async def engine(url: str, how: str, *moves: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.graphs.engine_process", url, how, *moves, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line(process: Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def rest(process: Process) -> list[str]:
    """What it says until it ends by itself."""
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


async def test_a_move_that_was_killed_is_made_again_by_the_next_process(url: str) -> None:
    async with engine(url, "hang", "run-1:start") as first:
        assert await line(first) == "begun run-1 start"
        first.kill()
        await first.wait()
    async with engine(url, "finish") as second:
        assert await rest(second) == ["begun run-1 start", "done run-1 start"]


async def test_a_move_is_made_once_tried_until_it_succeeds_and_never_again(url: str) -> None:
    async with engine(url, "stumble", "run-1:start", "run-1:start", "run-1:start") as first:
        assert await rest(first) == ["begun run-1 start", "begun run-1 start", "done run-1 start"]
    async with engine(url, "finish", "run-1:start", "run-1:decision:apr-1") as second:
        assert await rest(second) == ["begun run-1 decision:apr-1", "done run-1 decision:apr-1"]
