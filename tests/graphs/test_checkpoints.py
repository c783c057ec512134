"""A run outlives its process: what one graph has checkpointed another goes on with, with nothing but the file between."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from agents.actions import Rollback
from agents.proposals import Edit, Proposal
from agents.verification import Verification
from graphs.state import Outcome
from graphs.supervisor import build
from tests.graphs.platform import FAST_RETRY, HOUR, MODEL, Platform, bad_rollout


@asynccontextmanager
async def next_process(platform: Platform, path: Path) -> AsyncIterator[Platform]:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        platform.graph = build(saver, retry=FAST_RETRY)
        yield platform


async def test_each_step_of_a_run_may_be_another_process(tmp_path: Path) -> None:
    platform, path = await bad_rollout(), tmp_path / "checkpoints.db"
    async with next_process(platform, path):
        await platform.start()
    async with next_process(platform, path):
        await platform.decide(Edit(action=Rollback(model=MODEL, from_version="2", to_version="3")), by="bob")
    async with next_process(platform, path):
        await platform.decide(Edit(action=Rollback(model=MODEL, from_version="2", to_version="1")), by="carol")
    async with next_process(platform, path):
        await platform.decide()
    platform.traffic("1", 3 * HOUR)
    async with next_process(platform, path):
        ended = await platform.wake()
    assert ended["outcome"] == Outcome.RESOLVED
    assert platform.serving.calls == {"run-1/3/route": 1}


async def test_what_comes_back_from_a_checkpoint_is_what_went_in(tmp_path: Path) -> None:
    platform, path = await bad_rollout(), tmp_path / "checkpoints.db"
    async with next_process(platform, path):
        await platform.start()
        asked = await platform.proposal()
        await platform.decide()
        platform.traffic("1", 3 * HOUR, accuracy=0.3)
        await platform.wake()
    async with next_process(platform, path):
        values = (await platform.graph.aget_state(platform.config)).values
    assert isinstance(values["proposal"], Proposal)
    assert values["proposal"].undo_of == asked.id
    assert values["proposal"].finding == asked.finding
    assert isinstance(values["recommendation"].action, Rollback)
    assert values["verification"] is None or isinstance(values["verification"], Verification)
