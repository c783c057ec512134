"""The supervisor on the platform's own gateway, with real models behind it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from agents.actions import Scale
from gateway.assembly import assembled
from gateway.settings import Settings
from graphs.context import Context
from graphs.execution import execute
from graphs.state import Outcome
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.model_files import write_pt2
from tests.graphs.platform import HOUR, MODEL, Platform, healthy
from tests.twins.ledger import TwinLedger
from tools.rollouts.gateway import GatewayTraffic
from tools.serving.gateway import GatewayServing
from tools.serving.port import Capacity


class Loaded(GatewayServing):
    """The gateway's own answers, but for how busy it was: a minute of full load is longer than a test."""

    utilisation = 0.97

    async def capacity(self, model: str) -> Capacity:
        return (await super().capacity(model)).model_copy(update={"utilisation": self.utilisation})


class OnGateway(Platform):
    real: Loaded

    @property
    def context(self) -> Context:
        context = super().context
        return (
            replace(context, tools=replace(context.tools, serving=self.real, traffic=GatewayTraffic(self.real)))
            if hasattr(self, "real")
            else context
        )


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[OnGateway]:
    """Slow since six hours, with its one worker busy all the time."""
    write_pt2(tmp_path / "registry" / MODEL / "1", 1.0)
    made = await healthy(OnGateway)
    made.traffic("1", 6 * HOUR, latency_ms=900.0)
    async with (
        assembled(Settings(home=tmp_path / "home"), FolderRegistry(tmp_path / "registry")) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        made.real = Loaded(client)
        await made.real.set_weights(MODEL, {"1": 100}, expected_generation=0, key="release")
        yield made


async def _workers(platform: OnGateway) -> int:
    return (await platform.real.capacity(MODEL)).workers


async def test_workers_are_added_once_and_it_is_verified(platform: OnGateway) -> None:
    await platform.start()
    proposal = await platform.proposal()
    assert proposal.action == Scale(model=MODEL, from_workers=1, workers=2)
    await platform.decide()
    assert await _workers(platform) == 2
    again = await execute(proposal, "alice", platform.context)
    assert (await _workers(platform), again.before.workers, again.after.workers) == (2, 1, 2)
    platform.real.utilisation = 0.4
    platform.traffic("1", 2 * HOUR)
    assert (await platform.wake())["outcome"] == Outcome.RESOLVED


async def test_what_is_repeated_by_its_key_after_the_receipt_was_lost_scales_once(platform: OnGateway) -> None:
    await platform.start()
    proposal = await platform.proposal()
    await platform.decide()
    # The record of the receipt was lost, and somebody has scaled further meanwhile: theirs stands.
    assert isinstance(platform.ledger, TwinLedger)
    platform.ledger.receipts.clear()
    await platform.real.scale(MODEL, 5, expected_workers=2, key="by hand")
    await execute(proposal, "alice", platform.context)
    assert await _workers(platform) == 5


async def test_workers_that_changed_while_it_was_asked_about_are_not_overwritten(platform: OnGateway) -> None:
    await platform.start()
    await platform.real.scale(MODEL, 4, expected_workers=1, key="by hand")
    await platform.decide()
    assert await _workers(platform) == 4
    # It is asked anew, on the number of now.
    assert (await platform.proposal()).action == Scale(model=MODEL, from_workers=4, workers=8)
