"""Two who want different things of one model at once: one wins, the other is told, and alias, route and ledger agree."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
import pytest

from api.store.database import Database
from tests.e2e.meeting import MODEL, Meeting, meeting
from tests.mlflow import Outside
from tools.registry.port import Alias

ROUNDS = 4
"""Interleavings of each race: enough for either to come first, and seconds in all."""


@pytest.fixture
async def met(
    database: Database, database_url: str, mlflow_uri: str, mlflow_process: ProcessPoolExecutor, tmp_path: Path
) -> AsyncIterator[Meeting]:
    async with meeting(database, database_url, Outside(mlflow_process, mlflow_uri), tmp_path) as made:
        yield made


async def after(pause_s: float, asked: Awaitable[httpx.Response]) -> httpx.Response:
    await asyncio.sleep(pause_s)
    return await asked


async def test_of_two_promotions_one_wins_and_the_other_is_told(met: Meeting) -> None:
    dice = random.Random(1)
    for _ in range(ROUNDS):
        champion = await met.champion()
        wanted = [version for version in ("1", "2", "3") if version != champion]
        dice.shuffle(wanted)
        asked = (after(dice.random() * 0.02, met.ask("promote", version=version)) for version in wanted)
        first, second, _ = await asyncio.gather(*asked, met.move())
        taken = {wanted[0]: first.status_code, wanted[1]: second.status_code}
        (winner,) = [version for version, status in taken.items() if status == 202]
        assert sorted(taken.values()) == [202, 409]
        before = (await met.done())["promote"]
        await met.settle()
        assert (await met.agree(), (await met.done())["promote"]) == (winner, before + 1)


async def test_a_promotion_and_a_rollback_at_once_leave_one_champion(met: Meeting) -> None:
    dice = random.Random(2)
    seen = set()
    for place in range(ROUNDS):
        champion = await met.champion()
        wanted = next(version for version in ("1", "2", "3") if version != champion)
        assert (await met.ask("promote", version=wanted)).status_code == 202
        await met.until("running")
        # To where the next looks bring it through: the last stage, and the promotion.
        for _ in range(place):
            await met.pass_time()
            await met.move()
        before = await met.done()
        await met.pass_time()
        answer, *_ = await asyncio.gather(after(dice.random() * 0.3, met.ask("rollback")), met.move(), met.move())
        await met.settle()
        now, done = await met.agree(), await met.done() - before
        seen.add((answer.status_code, now == wanted))
        if answer.status_code == 202:
            # The rollout is ended, or the promotion that was quicker is taken back.
            assert (now, done["abort_rollout"] + done["rollback"]) == (champion, 1), answer.json()
        else:
            assert answer.status_code == 409
            assert now in (champion, wanted)
    assert (202, False) in seen


async def test_a_stop_while_the_winner_of_an_experiment_is_promoted_is_carried_out_or_refused(met: Meeting) -> None:
    dice = random.Random(4)
    for place in range(ROUNDS):
        champion = await met.champion()
        wanted = next(version for version in ("1", "2", "3") if version != champion)
        found = await met.won(wanted)
        before = await met.done()
        await met.say_yes()
        path, body = f"/v1/experiments/{found}/stop", {"reason": "complaints"}
        # Sooner or later in what the promotion takes; the first comes before it, and the last after it.
        pause_s = place * 0.1 + dice.random() * 0.1
        answer, _ = await asyncio.gather(after(pause_s, met.operator.post(path, json=body)), met.move())
        await met.settle()
        now, done = await met.agree(), await met.done() - before
        if answer.status_code == 200:
            # It is ended before, or the promotion that was quicker is taken back.
            assert (now, done["stop_experiment"] + done["rollback"]) == (champion, 1), (answer.json(), done)
        else:
            assert (answer.status_code, now) == (409, wanted)


async def test_a_rollback_that_meets_the_promotion_of_a_winner_takes_that_back(met: Meeting) -> None:
    """The promotion is watched in the experiment's incident, and the request would be in the model's own."""
    found = await met.won("2")
    await met.say_yes()
    await met.move()
    assert await met.champion() == "2"
    incident = (await met.operator.get(f"/v1/experiments/{found}")).json()["incident_id"]
    answer = await met.ask("rollback")
    assert answer.status_code == 202
    assert (answer.json()["incident_id"], answer.json()["joined"]) == (incident, True)
    assert answer.json()["undoes"] is not None
    await met.move()
    assert await met.champion() == "1", "nobody else has to approve"
    await met.settle()
    assert (await met.agree(), (await met.done())["rollback"]) == ("1", 1)


async def test_an_alias_that_is_moved_by_hand_during_a_canary_stands(met: Meeting) -> None:
    dice = random.Random(3)
    for _ in range(ROUNDS):
        champion = await met.champion()
        wanted, by_hand = (version for version in ("1", "2", "3") if version != champion)
        assert (await met.ask("promote", version=wanted)).status_code == 202
        await met.until("running")

        async def point(pause: float, version: str = by_hand) -> None:
            await asyncio.sleep(pause)
            await asyncio.to_thread(met.outside.point, MODEL, Alias.CHAMPION, version)

        await met.pass_time()
        await asyncio.gather(point(dice.random() * 0.2), met.move())
        await met.settle()
        assert await met.agree() == by_hand
        shown = (await met.operator.get("/v1/rollouts?limit=1")).json()["items"][0]
        assert shown["status"] in ("taken_back", "left")
        assert f"version {by_hand} champion" in shown["reason"]
