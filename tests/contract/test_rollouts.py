"""Rollouts over what moves their traffic: our gateway, Flagger, and a twin that takes its time."""

import pytest

from tests.contract.rollouts import MODEL, Moving
from tools.errors import Conflict, PermanentError
from tools.rollouts.port import Phase, Plan, Standing, Traffic

PLAN = Plan(key="run-1/1", model=MODEL, version="2", from_version="1", steps=(10, 50, 100))


async def begun(moving: Moving, plan: Plan = PLAN) -> Standing:
    expected = (await moving.traffic.state(MODEL)).token
    made = await moving.patiently(lambda: moving.traffic.begin(plan, expected=expected, key=f"{plan.key}/stage/0"))
    await moving.settled()
    return made


async def shifted(moving: Moving, step: int, plan: Plan = PLAN) -> Standing:
    expected = (await moving.traffic.state(MODEL)).token
    made = await moving.traffic.shift(plan, step, expected=expected, key=f"{plan.key}/stage/{step}")
    await moving.settled()
    return made


async def given(moving: Moving, version: str, key: str = "run-1/2/route") -> Standing:
    expected = (await moving.traffic.state(MODEL)).token
    return await moving.patiently(lambda: moving.traffic.give(MODEL, version, expected=expected, key=key))


async def aborted(moving: Moving, key: str = "run-1/2/route") -> Standing:
    expected = (await moving.traffic.state(MODEL)).token
    return await moving.patiently(lambda: moving.traffic.abort(MODEL, "1", expected=expected, key=key))


async def weights(moving: Moving) -> dict[str, int]:
    return (await moving.traffic.state(MODEL)).weights


async def test_it_moves_traffic_and_answers(moving: Moving) -> None:
    assert isinstance(moving.traffic, Traffic)
    await moving.traffic.ping()
    standing = await moving.traffic.state(MODEL)
    assert (standing.weights, standing.phase) == ({"1": 100}, Phase.SETTLED)
    assert await moving.traffic.state(MODEL) == standing


async def test_step_by_step_the_challenger_gets_all_of_it(moving: Moving) -> None:
    tokens = [(await moving.traffic.state(MODEL)).token, (await begun(moving)).token]
    assert await weights(moving) == {"1": 90, "2": 10}
    for step, shares in ((1, {"1": 50, "2": 50}), (2, {"2": 100})):
        assert (await moving.traffic.state(MODEL)).token == tokens[-1], "what comes into force is no change"
        tokens.append((await shifted(moving, step)).token)
        assert await weights(moving) == shares
    assert (await given(moving, "2")).weights == {"2": 100}
    tokens.append((await moving.traffic.state(MODEL)).token)
    assert len(set(tokens)) == 5
    assert (await moving.settled()).weights == {"2": 100}


async def test_it_stays_at_a_step_until_more_is_asked_for(moving: Moving) -> None:
    await begun(moving)
    for _ in range(20):
        await moving.arrive()
        assert await weights(moving) == {"1": 90, "2": 10}


async def test_a_rollout_that_is_ended_gives_everything_back(moving: Moving) -> None:
    await begun(moving)
    assert (await aborted(moving)).weights == {"1": 100}
    assert (await moving.settled()).weights == {"1": 100}


async def test_a_version_that_was_taken_back_may_be_tried_again(moving: Moving) -> None:
    await begun(moving)
    await aborted(moving)
    await begun(moving, PLAN.model_copy(update={"key": "run-2/1"}))
    assert await weights(moving) == {"1": 90, "2": 10}


async def test_a_rollout_goes_on_by_another_plan_where_it_is(moving: Moving) -> None:
    await begun(moving)
    going_on = PLAN.model_copy(update={"key": "run-1/2", "steps": (30, 100)})
    expected = (await moving.traffic.state(MODEL)).token
    async with moving.between_looks():
        await moving.traffic.begin(going_on, expected=expected, key=f"{going_on.key}/stage/0")
    await moving.settled()
    assert await weights(moving) == {"1": 70, "2": 30}
    await shifted(moving, 1, going_on)
    assert await weights(moving) == {"2": 100}


async def test_without_a_rollout_a_version_gets_everything_at_once(moving: Moving) -> None:
    assert (await given(moving, "2")).weights == {"2": 100}
    assert (await given(moving, "1", "run-2/1/route")).weights == {"1": 100}
    assert (await moving.settled()).weights == {"1": 100}


async def test_what_was_given_is_taken_back(moving: Moving) -> None:
    before = await moving.traffic.state(MODEL)
    made = await given(moving, "2")
    back = await moving.patiently(
        lambda: moving.traffic.restore(MODEL, before.weights, expected=made.token, key="run-1/2/route-back")
    )
    assert back.weights == {"1": 100}


async def test_a_key_acts_once_and_answers_with_what_it_made(moving: Moving) -> None:
    start = (await moving.traffic.state(MODEL)).token
    first = await begun(moving)
    second = await shifted(moving, 1)
    for _ in range(2):
        again = await moving.traffic.begin(PLAN, expected=start, key="run-1/1/stage/0")
        assert again.token == first.token
        again = await moving.traffic.shift(PLAN, 1, expected=first.token, key="run-1/1/stage/1")
        assert again.token == second.token
    assert await weights(moving) == {"1": 50, "2": 50}
    ended = await aborted(moving)
    assert (await moving.traffic.abort(MODEL, "1", expected=second.token, key="run-1/2/route")).token == ended.token


async def test_a_key_with_another_wish_is_a_conflict(moving: Moving) -> None:
    made = await begun(moving)
    with pytest.raises(Conflict, match="key"):
        await moving.traffic.shift(PLAN, 1, expected=made.token, key="run-1/1/stage/0")
    assert await weights(moving) == {"1": 90, "2": 10}


async def test_on_another_state_than_expected_nothing_is_done(moving: Moving) -> None:
    old = (await moving.traffic.state(MODEL)).token
    await begun(moving)
    for call in (
        moving.traffic.begin(PLAN.model_copy(update={"key": "run-9/1"}), expected=old, key="a"),
        moving.traffic.shift(PLAN, 1, expected=old, key="b"),
        moving.traffic.give(MODEL, "2", expected=old, key="c"),
        moving.traffic.abort(MODEL, "1", expected=old, key="d"),
        moving.traffic.restore(MODEL, {"1": 100}, expected=old, key="e"),
    ):
        with pytest.raises(Conflict):
            await call
    assert (await moving.settled()).weights == {"1": 90, "2": 10}


async def test_a_model_that_is_not_served_is_named(moving: Moving) -> None:
    with pytest.raises(PermanentError, match="nobody"):
        await moving.traffic.state("nobody")


SHADOWED = PLAN.model_copy(update={"steps": (0, 10, 100), "mirror": 40})


async def test_a_shadow_has_no_share_until_the_next_step(moving: Moving) -> None:
    if not moving.traffic.mirrors:
        with pytest.raises(PermanentError, match="copies no requests"):
            await begun(moving, SHADOWED)
        assert await weights(moving) == {"1": 100}
        return
    before = await moving.traffic.state(MODEL)
    made = await begun(moving, SHADOWED)
    assert (await weights(moving), made.token != before.token) == ({"1": 100}, True)
    assert SHADOWED.shadow(0) == {"2": 40}
    await shifted(moving, 1, SHADOWED)
    assert (await weights(moving), SHADOWED.shadow(1)) == ({"1": 90, "2": 10}, {})
    await aborted(moving)
    assert await weights(moving) == {"1": 100}
