"""Trainings and rollouts as they get on: live over HTTP, gone on with after a break, and at a prompt."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.problems import Overloaded
from api.store import rollouts
from tests.e2e.bodies import refused
from tests.e2e.running import LIMIT_S, Platform
from tests.e2e.terminal import Terminal
from tests.e2e.test_incidents import STREAM, Reader
from tests.e2e.test_lifecycle import MODEL, rolling
from tests.twins.jobs import Play, TwinJobs
from tools.jobs.port import MIB, JobSpec, Phase, Progress, Reason, Resources
from tools.registry.port import Alias

HALF = Progress(fraction=0.5, text="epoch 2 of 4", eta_seconds=90)


@pytest.fixture(autouse=True)
def versions(platform: Platform) -> None:
    for _ in range(2):
        platform.registry.publish(MODEL)


@asynccontextmanager
async def following(platform: Platform, path: str, **headers: str) -> AsyncIterator[Reader]:
    async with platform.viewer.stream("GET", path, headers={**STREAM, **headers}, timeout=LIMIT_S) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Reader(answer)


async def told(reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await reader.block())["data"])
    return found


async def no_more(platform: Platform, path: str, seen: str) -> None:
    answer: httpx.Response = await platform.viewer.get(path, headers={**STREAM, "Last-Event-ID": seen})
    assert answer.status_code == 204


async def training(platform: Platform) -> tuple[TwinJobs, str]:
    jobs = platform.services.jobs
    assert isinstance(jobs, TwinJobs)
    spec = JobSpec(
        model=MODEL,
        team="airports",
        run_id="run-1",
        command=("train",),
        resources=Resources(cpu=1, memory_bytes=64 * MIB),
        deadline=timedelta(hours=1),
    )
    return jobs, (await jobs.submit("k-1", spec)).name


async def test_a_training_is_followed_to_its_end_and_after_a_break_from_where_it_was(platform: Platform) -> None:
    jobs, name = await training(platform)
    path = f"/v1/jobs/{name}/events"
    async with following(platform, path) as reader:
        first = await reader.block()
        assert (first["event"], json.loads(first["data"])["phase"]) == ("job", "running")
        jobs.go_on(name, Play(progress=HALF))
        second = await reader.block()
        assert json.loads(second["data"])["progress"] == HALF.model_dump(mode="json")
    async with following(platform, path, **{"Last-Event-ID": second["id"]}) as reader:
        jobs.go_on(name, Play(Phase.FAILED, Reason.OUT_OF_MEMORY))
        last = await reader.block()
        assert json.loads(last["data"])["reason"] == "out_of_memory", "what was seen is not told again"
        assert await reader.block() == {}
    await no_more(platform, path, last["id"])
    async with following(platform, path, **{"Last-Event-ID": second["id"]}) as reader:
        assert (await told(reader))["phase"] == "failed", "who was away at its end is told of it"
    assert (await platform.viewer.get(path)).json()["phase"] == "failed"
    refused(await platform.viewer.get("/v1/jobs/none/events", headers=STREAM), 404, "not-found")


async def test_who_watches_too_much_at_once_is_put_off_until_a_stream_ends(platform: Platform) -> None:
    """Of what one key may have, and of what all may have together; a question that is answered at once needs no seat."""
    jobs, name = await training(platform)
    path, seats = f"/v1/jobs/{name}/events", platform.app.state.local.seats
    async with AsyncExitStack() as streams:
        first = None
        for _ in range(50):
            answer = await streams.enter_async_context(platform.viewer.stream("GET", path, headers=STREAM, timeout=LIMIT_S))
            if answer.status_code != 200:
                break
            first = first or Reader(answer)
        await answer.aread()
        assert "with this key already" in refused(answer, 503, "overloaded")["detail"]
        assert answer.headers["retry-after"] == "10"
        assert (await platform.viewer.get(path)).status_code == 200
        async with platform.operator.stream("GET", path, headers=STREAM, timeout=LIMIT_S) as other:
            assert other.status_code == 200, "another key has seats of its own"
        assert first is not None
        jobs.go_on(name, Play(Phase.SUCCEEDED, exit_code=0))
        while await first.block():
            pass
    async with asyncio.timeout(LIMIT_S):
        while seats._taken:
            await asyncio.sleep(0.01)
    with ExitStack() as taken:
        for n in itertools.count():
            try:
                taken.enter_context(seats.taken(f"key-{n}"))
            except Overloaded:
                break
        refused(await platform.viewer.get(path, headers=STREAM), 503, "overloaded")
    assert (await platform.viewer.get(path, headers=STREAM)).status_code == 200


async def test_a_rollout_is_followed_stage_by_stage_and_after_a_break_from_where_it_was(platform: Platform) -> None:
    rollout, _ = await rolling(platform)
    path = f"/v1/rollouts/{rollout}/events"
    async with following(platform, path) as reader:
        first = await reader.block()
        progress = json.loads(first["data"])["progress"]
        assert (progress["stage"], progress["stages"], progress["weight"]) == (1, 3, 0.1)
        assert (progress["fraction"], progress["eta_seconds"]) == (0, 3 * 3600)
        assert progress["waits_for"] == "the time of its stage: 1 h more"
        platform.clock.pass_(timedelta(minutes=30))
        later = (await told(reader))["progress"]
        assert (later["fraction"], later["eta_seconds"]) == (round(1 / 6, 4), 2.5 * 3600)
        await platform.operator.post(f"/v1/rollouts/{rollout}/pause", json={"reason": "a call"})
        paused = await reader.block()
        assert json.loads(paused["data"])["progress"]["waits_for"] == "a person to resume it"
        assert json.loads(paused["data"])["progress"]["eta_seconds"] is None
    async with following(platform, path, **{"Last-Event-ID": paused["id"]}) as reader:
        async with platform.database.begin() as transaction:
            await rollouts.leave(transaction, (await _run_of(platform, rollout)), "taken in hand", at=platform.clock.now())
        last = await reader.block()
        assert json.loads(last["data"])["status"] == "left"
        assert await reader.block() == {}
    await no_more(platform, path, last["id"])
    refused(await platform.viewer.get(f"/v1/rollouts/rol_{'0' * 32}/events", headers=STREAM), 404, "not-found")
    refused(await platform.viewer.get(path, headers={**STREAM, "Last-Event-ID": "*"}), 422, "invalid")


async def test_at_a_prompt_a_training_is_watched_to_its_end(platform: Platform) -> None:
    jobs, name = await training(platform)
    jobs.go_on(name, Play(progress=HALF))
    watching = asyncio.create_task(Terminal(platform, "viewer").run("jobs", "watch", name))
    async with asyncio.timeout(LIMIT_S):
        while not jobs.watched:
            await asyncio.sleep(0.01)
    jobs.go_on(name, Play(Phase.SUCCEEDED, exit_code=0))
    done = await watching
    assert done.exit_code == 0, done.output
    assert "[############............]  50%  running epoch 2 of 4, 1:30 left" in done.stdout
    assert "succeeded" in done.stdout.splitlines()[-1]
    assert (await Terminal(platform, "viewer").run("jobs", "watch", "none")).exit_code == 1


async def test_at_a_prompt_a_rollout_is_watched_and_what_was_not_promoted_is_a_failure(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    platform.clock.pass_(timedelta(minutes=90))
    assert "certainty" not in (await platform.viewer.get(f"/v1/rollouts/{rollout}")).json()["progress"]["waits_for"]
    async with platform.database.begin() as transaction:
        await rollouts.leave(transaction, run_id, "taken in hand", at=platform.clock.now())
    done = await Terminal(platform, "viewer").run("rollouts", "watch", rollout, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "left"


async def test_at_a_prompt_models_are_listed_shown_and_their_history_read(platform: Platform) -> None:
    at_prompt = Terminal(platform, "viewer")
    now = platform.clock.now()
    await platform.registry.set_alias(MODEL, Alias.CHAMPION, "1", expected=None, key="k", actor="ada", reason="the first")
    assert (await at_prompt.json("models", "list"))["items"] == [MODEL]
    shown = (await at_prompt.run("models", "show", MODEL)).stdout
    assert any(line.split()[0] == "1" and "champion" in line for line in shown.splitlines())
    history = (await at_prompt.run("models", "history", MODEL)).stdout
    assert "champion: none -> 1  ada: the first" in history
    assert f"{now:%Y-%m-%d}" in history
    assert (await at_prompt.run("models", "history", "no/such")).exit_code == 1


async def _run_of(platform: Platform, rollout: str) -> str:
    return str((await platform.viewer.get(f"/v1/rollouts/{rollout}")).json()["run_id"])
