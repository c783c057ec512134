"""A run outlives its process: what one graph has checkpointed another goes on with, with nothing but the database between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agents.actions import Rollback
from agents.proposals import Edit, Proposal
from agents.verification import Verification
from api.work.checkpoints import open_checkpoints
from graphs.state import Outcome
from graphs.supervisor import build
from tests.graphs.platform import FAST_RETRY, HOUR, MODEL, Platform, bad_rollout


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
