"""The durable engine in processes of its own, because it is one to a process, and because it is to survive their end."""

from asyncio.subprocess import Process
from contextlib import AbstractAsyncContextManager

import pytest

from tests.databases import BACKENDS
from tests.processes import child

LIMIT_S = 40.0


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest) -> str:
    """Where the engine keeps its tables."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/engine.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


def engine(url: str, how: str, *moves: str, name: str = "local") -> AbstractAsyncContextManager[Process]:
    return child("tests.graphs.engine_process", url, name, how, *moves, limit_s=LIMIT_S)


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
        assert await rest(second) == ["begun run-1 start", "done run-1 start", "stopped"]


async def test_a_move_that_breaks_is_tried_again(url: str) -> None:
    async with engine(url, "break", "run-1:start") as first:
        said = await rest(first)
    assert said == ["begun run-1 start", "begun run-1 start", "done run-1 start", "run.stuck 1", "stopped"]


async def test_a_run_that_pauses_between_tries_lets_others_move(url: str) -> None:
    async with engine(url, "share", "run-1:start", "run-2:start") as first:
        said = await rest(first)
    assert [each for each in said if not each.startswith("run.delayed")] == [
        "begun run-2 start",
        "done run-2 start",
        "begun run-1 start",
        "done run-1 start",
        "stopped",
    ]
    assert len(said) == 6, "the first was never tried before the second"


async def test_a_move_is_made_once_tried_until_it_succeeds_and_never_again(url: str) -> None:
    async with engine(url, "stumble", "run-1:start", "run-1:start", "run-1:start") as first:
        said = await rest(first)
    assert said == ["begun run-1 start", "begun run-1 start", "done run-1 start", "run.delayed 1", "stopped"]
    async with engine(url, "finish", "run-1:start", "run-1:decision:apr-1") as second:
        assert await rest(second) == ["begun run-1 decision:apr-1", "done run-1 decision:apr-1", "stopped"]


@pytest.mark.slow
async def test_a_move_that_lasts_is_broken_off_before_the_engine_has_stopped_and_made_again_by_the_next(url: str) -> None:
    async with engine(url, "leave", "run-1:start") as first:
        assert await rest(first) == ["begun run-1 start", "broken off run-1 start", "stopped"]
    async with engine(url, "finish") as second:
        assert await rest(second) == ["begun run-1 start", "done run-1 start", "stopped"]


@pytest.mark.postgres
async def test_of_two_replicas_the_first_makes_the_move(postgres_url: str) -> None:
    async with engine(postgres_url, "hang", "run-1:start", name="one") as first:
        assert await line(first) == "begun run-1 start"
        async with engine(postgres_url, "finish", "run-1:start", "run-2:start", name="two") as second:
            assert await rest(second) == ["begun run-2 start", "done run-2 start", "stopped"]


@pytest.mark.postgres
async def test_the_move_of_a_replica_that_never_comes_back_is_made_by_another_when_it_is_asked_for_again(
    postgres_url: str,
) -> None:
    async with engine(postgres_url, "hang", "run-1:start", name="one") as first:
        assert await line(first) == "begun run-1 start"
        first.kill()
        await first.wait()
    async with engine(postgres_url, "finish", "run-1:start", "run-1:start+1", name="two") as second:
        assert await rest(second) == ["begun run-1 start", "done run-1 start", "stopped"]


async def test_rows_of_moves_that_are_over_go_by_their_age_and_those_under_way_stay(url: str) -> None:
    async with engine(url, "hang", "run-2:start", name="other") as first:
        assert await line(first) == "begun run-2 start"
        first.kill()
        await first.wait()
    async with engine(url, "forget", "run-1:start") as second:
        said = await rest(second)
    assert said == ["begun run-1 start", "done run-1 start", "forgotten 0", "forgotten 1", "forgotten 0", "stopped"]
    # Whose process never ended it is still there to be taken up.
    async with engine(url, "finish", name="other") as third:
        assert await rest(third) == ["begun run-2 start", "done run-2 start", "stopped"]
