"""A rollback that is asked for while it is looked whether a promotion holds is the undo of that promotion, at once."""

from typing import Any

import pytest

from agents.actions import Rollback
from agents.alerts import Alert
from agents.guard import Auto
from agents.policies import Mode
from agents.requests import Request, to_alert
from graphs.context import Order
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MODEL, Platform, bad_rollout
from tests.graphs.test_rollouts import STEP, begun
from tools.registry.port import Alias


async def promoted() -> Platform:
    """Version 2 has become champion, and is watched."""
    platform = await begun()
    for _ in range(200):
        await platform.routed(STEP, accuracy={"1": 0.9, "2": 0.92})
        if (await platform.wake())["rollout"].over:
            break
    assert (await platform.weights(), await platform.champion()) == ({"2": 100}, "2")
    return platform


def wish(platform: Platform, version: str | None = None) -> Alert:
    request = Request(kind="rollback", model=MODEL, by="dave", reason="it is on fire", version=version)
    return to_alert(request, "trg-2", platform.clock.now())


@pytest.mark.parametrize("version", [None, "1"])
async def test_it_is_taken_back_at_once_and_in_the_name_of_who_asked(version: str | None) -> None:
    platform = await promoted()
    platform.joined.append(wish(platform, version))
    ended = await platform.wake()
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    proposal = ended["proposal"]
    assert isinstance(proposal.action, Rollback)
    assert (proposal.undo_of, proposal.requested_by) == (proposal.part_of, "dave")
    assert isinstance(ended["judgement"], Auto)
    assert "it is on fire" in ended["recommendation"].reason
    change = (await platform.registry.history(MODEL))[-1]
    assert (change.alias, change.after, change.actor) == (Alias.CHAMPION, "1", "dave")
    await platform.routed(HOUR, accuracy={"1": 0.9})
    while "outcome" not in (ended := await platform.wake()):
        await platform.routed(HOUR, accuracy={"1": 0.9})
    assert ended["outcome"] == Outcome.UNDONE


async def test_another_version_than_the_one_before_is_not_its_undo() -> None:
    platform = await promoted()
    platform.joined.append(wish(platform, "3"))
    await platform.wake()
    assert await platform.champion() == "2"


async def test_the_kill_switch_holds_for_it_as_well() -> None:
    platform = await promoted()
    platform.joined.append(wish(platform))
    platform.mode = Mode.OBSERVE
    ended = await platform.wake()
    assert (ended["outcome"], await platform.champion()) == (Outcome.DENIED, "2")


async def test_a_route_that_moves_meanwhile_is_no_reason_not_to_take_it_back() -> None:
    platform = await promoted()
    platform.joined.append(wish(platform))
    real = platform.moving.state

    async def by_hand() -> None:
        generation = (await platform.serving.route(MODEL)).generation
        await platform.serving.set_weights(MODEL, {"2": 99, "3": 1}, expected_generation=generation, key="by hand")

    calls = iter([False, True])
    mover = platform.moving

    async def moved(model: str) -> Any:
        if next(calls, False):
            await by_hand()
        return await real(model)

    mover.state = moved  # type: ignore[method-assign]
    platform.mover = mover
    await platform.wake()
    platform.mover = None
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_asking_twice_for_a_rollback_does_not_roll_forward() -> None:
    platform = await bad_rollout()
    await platform.start()
    await platform.decide()
    assert await platform.champion() == "1"
    platform.joined.append(wish(platform))
    platform.traffic("1", 3 * HOUR)
    ended = await platform.wake()
    assert (ended["outcome"], await platform.champion()) == (Outcome.RESOLVED, "1")


async def test_an_abort_that_is_ordered_while_the_promotion_is_carried_out_takes_it_back() -> None:
    platform = await promoted()
    # As the record has it once the row says that the rollout is over.
    platform.orders["run-1"] = Order("abort", "dave", "it is on fire")
    ended = await platform.wake()
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    assert (ended["proposal"].requested_by, ended["proposal"].part_of) == ("dave", ended["proposal"].undo_of)
