"""What comes between a decision about a rollout and its deed, and what is left of one that fails half-way."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from agents.actions import AbortRollout, Promote, Risk, StartExperiment, StartRollout, StopExperiment
from agents.policies import Freeze, Mode
from agents.proposals import GivenUp
from graphs.context import Order
from graphs.state import Outcome
from tests.graphs import test_experiments, test_retraining
from tests.graphs.platform import HOUR, MODEL, Platform
from tests.graphs.test_rollouts import (
    ROLLOUTS,
    STEP,
    Killed,
    asked,
    begun,
    by_hand,
    roll,
    unclear,
    waits,
    wake_with_traffic,
)
from tools.errors import PermanentError, TemporaryError
from tools.registry.port import Alias

GOOD = {"1": 0.9, "2": 0.92}
AWAY = TemporaryError("the gateway does not answer")


async def challenger(platform: Platform) -> str | None:
    return await platform.registry.alias(MODEL, Alias.CHALLENGER)


def frozen(platform: Platform, days: int = 3) -> None:
    now = platform.clock.now()
    freeze = Freeze(name="sale", start=now, end=now + timedelta(days=days))
    platform.policies = platform.policies.model_copy(update={"freezes": (freeze,)})


async def with_all_the_traffic() -> Platform:
    platform = await begun()
    while await platform.weights() != {"2": 100}:
        await wake_with_traffic(platform, GOOD)
    return platform


# A rollout that fails while it is begun.


async def test_an_alias_that_may_not_be_set_keeps_the_traffic_from_moving() -> None:
    platform = await asked()
    platform.registry.disturb.before("set_alias", PermanentError("403: not allowed"))
    ended = await platform.decide(by=("alice", "bob"))
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 100})
    assert not platform.serving.calls["run-1/1/stage/0"]


async def test_a_challenger_that_somebody_names_meanwhile_keeps_the_traffic_from_moving_and_stays() -> None:
    platform = await asked()

    async def hand() -> None:
        platform.registry.move_externally(MODEL, Alias.CHALLENGER, "3")

    platform.registry.disturb.before("set_alias", hand)
    ended = await platform.decide(by=("alice", "bob"))
    assert (ended["outcome"], await platform.weights(), await challenger(platform)) == (Outcome.FAILED, {"1": 100}, "3")


async def test_traffic_that_cannot_be_moved_leaves_no_challenger() -> None:
    platform = await asked()
    platform.serving.break_version(MODEL, "2")
    ended = await platform.decide(by=("alice", "bob"))
    assert (ended["outcome"], await platform.weights(), await challenger(platform)) == (Outcome.FAILED, {"1": 100}, None)


async def test_a_registry_that_cannot_be_read_back_does_not_lose_what_was_begun() -> None:
    platform = await asked()
    real = platform.registry.alias

    async def failing(model: str, alias: Alias) -> str | None:
        if await platform.weights() != {"1": 100}:
            raise PermanentError("403 while a token is renewed")
        return await real(model, alias)

    platform.registry.alias = failing  # type: ignore[method-assign]
    ended = await platform.decide(by=("alice", "bob"))
    assert ("outcome" in ended, ended["rollout"].stage, await platform.weights()) == (False, 0, {"1": 90, "2": 10})


def unreceipted(platform: Platform) -> None:
    """The receipt of what is done next cannot be written."""
    complete = platform.ledger.complete

    async def breaks(_: Any) -> None:
        platform.ledger.complete = complete  # type: ignore[method-assign]
        raise PermanentError("the row is too long")

    platform.ledger.complete = breaks  # type: ignore[method-assign]


async def test_a_rollout_that_fails_after_its_first_shift_is_taken_back() -> None:
    platform = await asked()
    unreceipted(platform)
    ended = await platform.decide(by=("alice", "bob"))
    proposal = ended["proposal"]
    assert isinstance(proposal.action, AbortRollout)
    assert (proposal.part_of, "the row is too long" in ended["recommendation"].reason) == ("run-1/1", True)
    assert (ended["rollout"].over, await platform.weights(), await challenger(platform)) == (True, {"1": 100}, None)


async def test_under_the_kill_switch_it_is_taken_back_when_that_is_back() -> None:
    platform = await asked()
    unreceipted(platform)

    async def thrown() -> None:
        platform.mode = Mode.OBSERVE

    platform.serving.disturb.after("set_weights", thrown)
    ended = await platform.decide(by=("alice", "bob"))
    assert ("outcome" in ended, ended["rollout"].over, await platform.weights()) == (False, False, {"1": 90, "2": 10})
    platform.mode = Mode.PROPOSE
    ended = await platform.wake()
    assert (ended["rollout"].over, await platform.weights()) == (True, {"1": 100})


async def test_what_somebody_made_of_its_traffic_meanwhile_is_theirs() -> None:
    platform = await asked()
    unreceipted(platform)
    platform.serving.disturb.after("set_weights", lambda: by_hand(platform))
    ended = await platform.decide(by=("alice", "bob"))
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 60, "2": 40})


async def test_an_experiment_that_fails_after_its_split_is_taken_back() -> None:
    platform = await test_experiments.asked()
    assert isinstance((await platform.proposal()).action, StartExperiment)
    unreceipted(platform)
    ended = await platform.decide(by=("alice", "bob"))
    assert isinstance(ended["proposal"].action, StopExperiment)
    assert (ended["experiment"].over, await platform.weights()) == (True, {"1": 100})


# An intent on record is no beginning.


async def meant() -> Platform:
    """Approved, and the gateway went away before anything had moved."""
    platform = await asked()
    platform.serving.disturb.before("set_weights", *[AWAY] * 5)
    with pytest.raises(TemporaryError):
        await platform.decide(by=("alice", "bob"))
    assert await platform.ledger.intended("run-1/1") is not None
    return platform


async def test_an_intent_is_not_carried_out_after_the_kill_switch() -> None:
    platform = await meant()
    platform.mode = Mode.OBSERVE
    ended = await platform.go_on()
    assert (ended["outcome"], await platform.weights(), await challenger(platform)) == (Outcome.DENIED, {"1": 100}, None)
    assert (await platform.ledger.failure("run-1/1")).kind == "denied"  # type: ignore[union-attr]


async def test_an_intent_is_not_carried_out_in_a_freeze() -> None:
    platform = await meant()
    frozen(platform)
    ended = await platform.go_on()
    assert (ended["outcome"], "sale" in ended["reason"], await platform.weights()) == (Outcome.DENIED, True, {"1": 100})


async def test_an_intent_of_yesterday_is_asked_about_again() -> None:
    platform = await meant()
    platform.clock.pass_(timedelta(hours=30))
    await platform.go_on()
    proposal = await platform.proposal()
    assert (proposal.id, await platform.weights()) == ("run-1/2", {"1": 100})
    await platform.decide(by=("alice", "bob"))
    assert (await platform.weights(), await challenger(platform)) == ({"1": 90, "2": 10}, "2")


async def test_an_intent_that_is_given_up_is_given_up_by_whoever_finds_it_after_a_crash() -> None:
    platform = await meant()
    platform.mode = Mode.OBSERVE
    kill_after_failing(platform)
    with pytest.raises(Killed):
        await platform.go_on()
    platform.mode = Mode.PROPOSE
    ended = await platform.go_on()
    assert (ended["outcome"], await platform.weights()) == (Outcome.DENIED, {"1": 100})


async def test_what_has_begun_is_ended_whatever_is_thought_of_it_by_now() -> None:
    platform = await asked()
    platform.serving.disturb.after("set_weights", Killed())
    with pytest.raises(Killed):
        await platform.decide(by=("alice", "bob"))
    platform.mode = Mode.OBSERVE
    platform.clock.pass_(timedelta(hours=30))
    ended = await platform.go_on()
    assert ("outcome" in ended, ended["rollout"].stage, await platform.weights()) == (False, 0, {"1": 90, "2": 10})


async def test_a_training_that_was_only_meant_is_not_submitted_after_the_kill_switch() -> None:
    case = await test_retraining.asked()
    platform, submit = case.platform, case.platform.jobs.submit

    async def away(*_: Any) -> None:
        raise TemporaryError("the cluster does not answer")

    platform.jobs.submit = away  # type: ignore[method-assign, assignment]
    with pytest.raises(TemporaryError):
        await platform.decide()
    platform.jobs.submit, platform.mode = submit, Mode.OBSERVE  # type: ignore[method-assign]
    ended = await platform.go_on()
    assert (ended["outcome"], await platform.jobs.jobs()) == (Outcome.DENIED, ())
    assert platform.ledger.claims == {}  # type: ignore[attr-defined]


async def test_an_abort_that_was_only_meant_waits_for_no_registry() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.serving.disturb.before("set_weights", *[AWAY] * 5)
    with pytest.raises(TemporaryError):
        await platform.wake()
    platform.registry.go_down()
    ended = await platform.go_on()
    assert (ended["proposal"].action.blind, ended["rollout"].over, await platform.weights()) == (True, True, {"1": 100})


# A step that was decided is looked at again before it is carried out late.


async def decided(platform: Platform) -> None:
    """The next stage is decided, and the gateway is away when it is to begin."""
    real = platform.serving.set_weights

    async def away(*_: Any, **__: Any) -> Any:
        raise AWAY

    platform.serving.set_weights = away  # type: ignore[method-assign]
    for _ in range(100):
        try:
            await wake_with_traffic(platform, GOOD)
        except TemporaryError:
            platform.serving.set_weights = real  # type: ignore[method-assign]
            return
    raise AssertionError("nothing is decided")


async def test_what_was_decided_a_moment_ago_is_carried_out() -> None:
    platform = await begun()
    await decided(platform)
    await platform.go_on()
    assert await platform.weights() == {"1": 50, "2": 50}


async def observed(platform: Platform) -> None:
    platform.mode = Mode.OBSERVE


async def paused(platform: Platform) -> None:
    platform.orders["run-1"] = Order("pause", "dave", "a call")


async def in_a_freeze(platform: Platform) -> None:
    frozen(platform)


@pytest.mark.parametrize("comes", [observed, paused, in_a_freeze])
async def test_a_stage_that_was_decided_does_not_begin_against_what_came_since(
    comes: Callable[[Platform], Awaitable[None]],
) -> None:
    platform = await begun()
    await decided(platform)
    await comes(platform)
    ended = await platform.go_on()
    assert (ended["rollout"].stage, await waits(platform), await platform.weights()) == (0, True, {"1": 90, "2": 10})


async def test_a_stage_that_was_decided_does_not_begin_against_an_order_to_abort() -> None:
    platform = await begun()
    await decided(platform)
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    ended = await platform.go_on()
    assert (ended["rollout"].over, ended["proposal"].requested_by, await platform.weights()) == (True, "dave", {"1": 100})


async def test_a_stage_that_was_decided_hours_ago_is_looked_at_again() -> None:
    platform = await begun()
    await decided(platform)
    await platform.routed(3 * HOUR, accuracy={"1": 0.9, "2": 0.1})
    ended = await platform.go_on()
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert await platform.weights() == {"1": 100}


async def test_a_stage_that_has_begun_is_found_by_its_key_whatever_has_come_since() -> None:
    platform = await begun()
    await decided(platform)
    platform.serving.disturb.after("set_weights", Killed())
    with pytest.raises(Killed):
        await platform.go_on()
    await observed(platform)
    ended = await platform.go_on()
    assert (ended["rollout"].stage, await platform.weights()) == (1, {"1": 50, "2": 50})


async def promotion_meant(platform: Platform) -> None:
    """Its promotion is decided and on record, and the gateway is away when it is to be carried out."""
    platform.serving.disturb.before("set_weights", *[AWAY] * 5)
    with pytest.raises(TemporaryError):
        await roll(platform, GOOD)
    values = (await platform.graph.aget_state(platform.config)).values
    assert isinstance(values["proposal"].action, Promote)
    assert await platform.ledger.intended(values["proposal"].id) is not None


@pytest.mark.parametrize("comes", [observed, paused, in_a_freeze])
async def test_a_promotion_that_was_decided_is_not_made_against_what_came_since(
    comes: Callable[[Platform], Awaitable[None]],
) -> None:
    platform = await with_all_the_traffic()
    await promotion_meant(platform)
    await comes(platform)
    ended = await platform.go_on()
    assert ("outcome" in ended, await waits(platform)) == (False, True)
    assert (await platform.weights(), await platform.champion()) == ({"2": 100}, "1")


async def test_a_promotion_that_was_decided_hours_ago_is_looked_at_again() -> None:
    platform = await with_all_the_traffic()
    await promotion_meant(platform)
    await platform.routed(3 * HOUR, accuracy={"2": 0.1})
    ended = await platform.go_on()
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


async def test_a_yes_does_not_override_a_pause_that_came_after_the_question() -> None:
    platform = await unclear()
    await paused(platform)
    ended = await platform.decide(by=("alice", "bob"))
    assert (ended["rollout"].key, await waits(platform), await platform.weights()) == ("run-1/1", True, {"1": 90, "2": 10})
    del platform.orders["run-1"]
    await platform.wake()
    assert isinstance((await platform.proposal()).action, StartRollout)


async def test_a_yes_of_hours_ago_does_not_bring_on_what_has_turned_worse_since() -> None:
    platform = await unclear()
    platform.serving.disturb.before("set_weights", *[AWAY] * 5)
    with pytest.raises(TemporaryError):
        await platform.decide(by=("alice", "bob"))
    await platform.routed(3 * HOUR, accuracy={"1": 0.9, "2": 0.1})
    ended = await platform.go_on()
    assert isinstance(ended["proposal"].action, AbortRollout)
    assert await platform.weights() == {"1": 100}


async def test_a_yes_of_an_hour_ago_brings_on_what_is_as_it_was() -> None:
    platform = await unclear()
    platform.serving.disturb.before("set_weights", *[AWAY] * 5)
    with pytest.raises(TemporaryError):
        await platform.decide(by=("alice", "bob"))
    platform.clock.pass_(HOUR)
    ended = await platform.go_on()
    assert (ended["rollout"].key, await platform.weights()) == ("run-1/2", {"1": 50, "2": 50})


async def test_a_winner_that_was_decided_hours_ago_is_looked_at_again() -> None:
    policies = test_experiments.POLICIES
    acting = policies.approval.model_copy(update={"automatic": frozenset(Risk)})
    platform = await test_experiments.begun(policies=policies.model_copy(update={"approval": acting}))
    platform.mode = Mode.ACT
    platform.serving.disturb.before("set_weights", *[AWAY] * 5)
    with pytest.raises(TemporaryError):
        await test_experiments.go_on(platform, {"1": 0.4, "2": 0.1})
    for _ in range(5):
        await test_experiments.visited(platform, {}, {"2": 0.5})
    ended = await platform.go_on()
    assert isinstance(ended["proposal"].action, StopExperiment)
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")


# Nobody is champion any more.


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_rollout_whose_champion_is_none_any_more_is_taken_back_and_people_are_told(ordered: bool) -> None:
    platform = await begun()
    platform.registry.move_externally(MODEL, Alias.CHAMPION, None)
    if ordered:
        platform.orders["run-1"] = Order("abort", "dave", "complaints")
    ended = await platform.wake()
    assert (ended["rollout"].over, await platform.weights(), await platform.champion()) == (True, {"1": 100}, None)
    assert any("nobody is champion any more" in message.title for _, message, _ in platform.notify.sent)


async def test_an_experiment_whose_champion_is_none_any_more_is_ended_and_people_are_told() -> None:
    platform = await test_experiments.begun()
    platform.registry.move_externally(MODEL, Alias.CHAMPION, None)
    ended = await platform.wake()
    assert (ended["experiment"].over, await platform.weights()) == (True, {"1": 100})
    assert "nobody is champion any more" in test_experiments.titles(platform)


# Killed right after it was given up.


def kill_after_failing(platform: Platform) -> None:
    fail = platform.ledger.fail

    async def dying(key: str, error: str, *, kind: GivenUp = "broke", route: int | None = None) -> None:
        await fail(key, error, kind=kind, route=route)
        platform.ledger.fail = fail  # type: ignore[method-assign]
        raise Killed

    platform.ledger.fail = dying  # type: ignore[method-assign]


@pytest.mark.parametrize("killed", [False, True])
async def test_a_route_that_somebody_changed_during_the_promotion_is_left_to_them(killed: bool) -> None:
    platform = await with_all_the_traffic()
    platform.serving.disturb.before("set_weights", lambda: by_hand(platform))
    if killed:
        kill_after_failing(platform)
        with pytest.raises(Killed):
            await roll(platform, GOOD)
        ended = await platform.go_on()
    else:
        ended = await roll(platform, GOOD)
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 60, "2": 40})
    assert "theirs stands" in ended["reason"]


async def test_a_route_that_somebody_changes_after_a_promotion_was_given_up_is_left_to_them() -> None:
    platform = await with_all_the_traffic()
    platform.registry.disturb.before("set_alias", PermanentError("403: not allowed"))
    kill_after_failing(platform)
    with pytest.raises(Killed):
        await roll(platform, GOOD)
    await by_hand(platform)
    await platform.go_on()
    ended = await platform.wake() if await waits(platform) else (await platform.graph.aget_state(platform.config)).values
    assert (ended["outcome"], await platform.weights()) == (Outcome.FAILED, {"1": 60, "2": 40})


# A pause has an end.


def held(platform: Platform) -> list[str]:
    return [key for _, _, key in platform.notify.sent if "/held/" in key]


async def test_people_are_told_once_that_nobody_is_asked_about_what_is_paused() -> None:
    platform = await begun()
    await paused(platform)
    for _ in range(int(timedelta(hours=20) / STEP)):
        ended = await platform.wake()
    assert (ended["rollout"].decision.choice, await waits(platform)) == ("ask", True)
    assert len(set(held(platform))) == 1
    assert any("by the pause of dave" in message.title for _, message, _ in platform.notify.sent)


async def after_the_longest_pause() -> Platform:
    platform = await begun()
    await paused(platform)
    for _ in range(int(2 * ROLLOUTS.longest_pause / STEP)):
        if not await waits(platform):
            break
        await platform.wake()
    return platform


async def test_a_pause_that_nobody_ends_is_asked_about() -> None:
    platform = await after_the_longest_pause()
    proposal = await platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert [stage.weight for stage in proposal.action.stages] == [0.5, 1.0]
    values = (await platform.graph.aget_state(platform.config)).values
    assert "dave paused it" in values["recommendation"].reason


async def test_a_yes_to_that_question_brings_on_one_stage_which_the_pause_holds_again() -> None:
    platform = await after_the_longest_pause()
    await platform.decide(by=("alice", "bob"))
    assert await platform.weights() == {"1": 50, "2": 50}
    for _ in range(30):
        ended = await wake_with_traffic(platform, GOOD)
    assert (ended["rollout"].paused_by, await platform.weights()) == ("dave", {"1": 50, "2": 50})


async def test_nobody_is_asked_in_a_freeze_and_people_are_told_once() -> None:
    platform = await begun()
    frozen(platform, days=5)
    for _ in range(int(timedelta(hours=60) / STEP)):
        await platform.wake()
        assert await waits(platform)
    assert len(set(held(platform))) == 1
    assert await platform.weights() == {"1": 90, "2": 10}


async def test_a_pause_within_its_time_is_nobodys_business() -> None:
    platform = await begun()
    await paused(platform)
    for _ in range(12):
        await wake_with_traffic(platform, GOOD)
    del platform.orders["run-1"]
    ended = await wake_with_traffic(platform, GOOD)
    assert (held(platform), ended["rollout"].held_since) == ([], None)


# Who was the challenger is it no longer.


async def test_nobody_is_challenger_after_an_abort() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    ended = await platform.wake()
    assert await challenger(platform) is None
    change = (await platform.registry.history(MODEL))[-1]
    assert (change.alias, change.before, change.after) == (Alias.CHALLENGER, "2", None)
    assert change.key == f"{ended['proposal'].id}/no-challenger"


async def test_nobody_is_challenger_after_a_promotion() -> None:
    platform = await with_all_the_traffic()
    await roll(platform, GOOD)
    assert (await platform.champion(), await challenger(platform)) == ("2", None)


async def test_another_challenger_stays() -> None:
    platform = await begun()
    platform.registry.move_externally(MODEL, Alias.CHALLENGER, "3")
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    await platform.wake()
    assert (await platform.weights(), await challenger(platform)) == ({"1": 100}, "3")


async def test_a_registry_that_refuses_it_keeps_no_traffic_and_is_asked_again() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.registry.disturb.before("set_alias", TemporaryError("the registry is away"))
    ended = await platform.wake()
    assert (ended["rollout"].over, await platform.weights(), await challenger(platform)) == (True, {"1": 100}, "2")
    await platform.routed(2 * HOUR, accuracy={"1": 0.9})
    await platform.wake()
    assert await challenger(platform) is None


async def test_after_an_end_without_the_registry_it_is_asked_when_it_is_back() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.registry.go_down()
    await platform.wake()
    platform.registry.come_back()
    assert (await platform.weights(), await challenger(platform)) == ({"1": 100}, "2")
    await platform.routed(2 * HOUR, accuracy={"1": 0.9})
    await platform.wake()
    assert await challenger(platform) is None


async def test_killed_between_traffic_and_alias_it_is_taken_off_by_the_repetition() -> None:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.registry.disturb.before("set_alias", Killed())
    with pytest.raises(Killed):
        await platform.wake()
    ended = await platform.go_on()
    assert (ended["rollout"].over, await challenger(platform)) == (True, None)


# An end without the registry.


async def ended_blindly() -> Platform:
    platform = await begun()
    platform.orders["run-1"] = Order("abort", "dave", "complaints")
    platform.registry.go_down()
    ended = await platform.wake()
    assert (ended["proposal"].action.blind, await platform.weights()) == (True, {"1": 100})
    return platform


async def verified(platform: Platform, most: timedelta) -> dict[str, Any]:
    ended: dict[str, Any] = {}
    for _ in range(int(most / HOUR)):
        await platform.routed(HOUR, accuracy={"1": 0.9})
        ended = await platform.wake()
        if "outcome" in ended:
            break
    return ended


async def test_an_end_without_the_registry_is_not_confirmed_before_it_is_known_who_is_champion() -> None:
    platform = await ended_blindly()
    ended = await verified(platform, 4 * HOUR)
    assert ("outcome" in ended, "who is champion is not known" in ended["verification"].reason) == (False, True)
    platform.registry.come_back()
    ended = await verified(platform, 4 * HOUR)
    assert (ended["outcome"], ended["verification"].status) == (Outcome.UNDONE, "holds")


async def test_a_champion_that_somebody_made_while_the_registry_was_away_is_told_to_people() -> None:
    platform = await ended_blindly()
    platform.registry.come_back()
    platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")
    ended = await verified(platform, 4 * HOUR)
    assert "The champion is version 3 by now, not 1" in ended["reason"]
    assert platform.notify.sent[-1][2] == "run-1/closing"
