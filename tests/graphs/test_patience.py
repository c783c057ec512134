"""A release that is too young to be judged is looked at again, and not handed to people for hours."""

from datetime import timedelta

from agents.actions import Rollback
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MINUTE, POLICIES, Platform, alert, healthy


async def young() -> Platform:
    """A quarter of an hour ago version 2 took over, and is wrong far more often."""
    platform = await healthy()
    await platform.move("2")
    platform.traffic("2", 15 * MINUTE, accuracy=0.7)
    return platform


async def test_what_is_too_young_to_be_judged_is_looked_at_again_until_it_is_clear() -> None:
    platform = await young()
    await platform.start(alert(platform.clock.now()))
    looks = 0
    while (await platform.graph.aget_state(platform.config)).interrupts[0].value["kind"] == "wait":
        looks += 1
        platform.traffic("2", POLICIES.investigation.look_again, accuracy=0.7)
        await platform.wake()
    assert 1 <= looks <= 6
    assert isinstance((await platform.proposal()).action, Rollback)


async def test_people_are_told_once_that_it_is_too_early_to_tell() -> None:
    platform = await young()
    await platform.start(alert(platform.clock.now()))
    platform.traffic("2", POLICIES.investigation.look_again, accuracy=0.7)
    await platform.wake()
    early = [message for _, message, _ in platform.notify.sent if "being looked into" in message.title]
    assert len(early) == 1


async def test_patience_ends_and_people_have_it() -> None:
    platform = await young()
    begun = platform.clock.now()
    state = await platform.start(alert(begun))
    while "outcome" not in state:
        # Nothing more comes that would make it clearer.
        state = await platform.wake()
    assert state["outcome"] is Outcome.NOTIFIED
    assert platform.clock.now() - begun <= POLICIES.investigation.patience + timedelta(minutes=1) < 3 * HOUR
