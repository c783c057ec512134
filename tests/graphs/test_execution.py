"""The one place that changes the world: an action happens once, whenever it is repeated and wherever it was cut off."""

from datetime import timedelta

import pytest

from agents.actions import Action, NoAction, Notify, QuarantineData, ReleaseData, Risk, Rollback, Scale
from agents.evidence import Cause, Finding
from agents.proposals import Impact, Proposal
from graphs.execution import execute
from graphs.world import read_state
from tests.graphs.platform import MODEL, Platform, healthy
from tests.twins.clock import SteppedClock
from tests.twins.ledger import TwinLedger
from tests.twins.quarantines import TwinQuarantines
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.registry.port import Alias

ROLLBACK = Rollback(model=MODEL, from_version="2", to_version="1")
END = SteppedClock().now()
QUARANTINE = QuarantineData(model=MODEL, window_start=END - timedelta(hours=6), window_end=END, features=("wind",))
ACTIONS = (
    ROLLBACK,
    Scale(model=MODEL, from_workers=1, workers=3),
    QUARANTINE,
    Notify(channel="ops", title="Look at it", body="It drifts."),
    NoAction(reason="nothing is wrong"),
)


class Killed(BaseException):
    """The process ends here: nothing catches it, nothing is tidied up."""


@pytest.fixture
async def platform() -> Platform:
    platform = await healthy()
    await platform.move("2")
    platform.serving.calls.clear()
    platform.registry.calls.clear()
    return platform


async def proposed(action: Action, platform: Platform) -> Proposal:
    return Proposal(
        id="run-1/1",
        run_id="run-1",
        incident_id="inc-1",
        requested_by="agent:incident",
        title="Do it",
        action=action,
        state=await read_state(action, platform.context),
        finding=Finding(
            cause=Cause.MODEL_REGRESSION, summary="worse", hypotheses=(), evidence=(), assessed_at=platform.clock.now()
        ),
        impact=Impact(risk=Risk.LOW, blast_radius="", expected_effect="", undo="", runbook="rollback"),
        proposed_at=platform.clock.now(),
    )


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.kind)
async def test_a_key_acts_once(action: Action, platform: Platform) -> None:
    proposal = await proposed(action, platform)
    first = await execute(proposal, "alice", platform.context)
    calls = platform.serving.calls | platform.registry.calls | platform.quarantines.calls
    again = await execute(proposal, "alice", platform.context)
    assert again == first
    assert platform.serving.calls | platform.registry.calls | platform.quarantines.calls == calls
    assert set(calls.values()) <= {1}
    assert len(platform.notify.sent) == (1 if isinstance(action, Notify) else 0)


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.kind)
async def test_the_undo_takes_it_back(action: Action, platform: Platform) -> None:
    proposal = await proposed(action, platform)
    receipt = await execute(proposal, "alice", platform.context)
    if receipt.undo is None:
        assert receipt.after == proposal.state
        return
    assert receipt.after != proposal.state
    undo = (await proposed(receipt.undo, platform)).model_copy(update={"id": "run-1/2"})
    undone = await execute(undo, "alice", platform.context)
    ignored = {"route_generation"}
    assert undone.after.model_dump(exclude=ignored) == proposal.state.model_dump(exclude=ignored)


@pytest.mark.parametrize("place", ["before the route", "after the route", "before the alias", "after the alias"])
async def test_a_rollback_that_was_cut_off_converges_when_it_is_repeated(place: str, platform: Platform) -> None:
    proposal = await proposed(ROLLBACK, platform)
    when, _, what = place.partition(" the ")
    port, call = (platform.serving, "set_weights") if what == "route" else (platform.registry, "set_alias")
    (port.disturb.before if when == "before" else port.disturb.after)(call, Killed())
    with pytest.raises(Killed):
        await execute(proposal, "alice", platform.context)

    receipt = await execute(proposal, "alice", platform.context)

    assert await platform.weights() == {"1": 100}
    assert await platform.champion() == "1"
    assert (await platform.serving.route(MODEL)).generation == 3
    moves = [change for change in await platform.registry.history(MODEL) if change.key == "run-1/1/alias"]
    assert len(moves) == 1
    assert receipt.before == proposal.state
    assert receipt.undo == Rollback(model=MODEL, from_version="1", to_version="2")


async def test_a_scaling_that_was_cut_off_can_still_be_taken_back_to_what_was(platform: Platform) -> None:
    proposal = await proposed(ACTIONS[1], platform)
    platform.serving.disturb.after("scale", Killed())
    with pytest.raises(Killed):
        await execute(proposal, "alice", platform.context)
    receipt = await execute(proposal, "alice", platform.context)
    assert receipt.undo == Scale(model=MODEL, from_workers=3, workers=1)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_quarantine_that_was_cut_off_is_placed_once_when_it_is_repeated(when: str, platform: Platform) -> None:
    proposal = await proposed(QUARANTINE, platform)
    (platform.quarantines.disturb.before if when == "before" else platform.quarantines.disturb.after)("place", Killed())
    with pytest.raises(Killed):
        await execute(proposal, "alice", platform.context)

    receipt = await execute(proposal, "alice", platform.context)

    (placed,) = await platform.quarantines.in_force(MODEL)
    assert (placed.window, placed.features, placed.placed_by) == (QUARANTINE.window, ("wind",), "alice")
    assert (receipt.before.quarantined, receipt.after.quarantined) == ((), (placed.id,))
    assert receipt.undo == ReleaseData(**QUARANTINE.model_dump(exclude={"kind"}), quarantine=placed.id)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_release_that_was_cut_off_is_done_once_when_it_is_repeated(when: str, platform: Platform) -> None:
    undo = (await execute(await proposed(QUARANTINE, platform), "alice", platform.context)).undo
    assert undo is not None
    proposal = (await proposed(undo, platform)).model_copy(update={"id": "run-1/2"})
    (platform.quarantines.disturb.before if when == "before" else platform.quarantines.disturb.after)("release", Killed())
    with pytest.raises(Killed):
        await execute(proposal, "bob", platform.context)
    receipt = await execute(proposal, "bob", platform.context)
    assert (receipt.after.quarantined, receipt.undo) == ((), QUARANTINE)
    assert [each.released_by for each in platform.quarantines.all.values()] == ["bob"]


async def test_what_somebody_quarantined_meanwhile_is_seen_before_anything_is_done(platform: Platform) -> None:
    proposal = await proposed(QUARANTINE, platform)
    await platform.quarantines.place(MODEL, QUARANTINE.window, (), expected=(), key="theirs", actor="eve", reason="broken")
    with pytest.raises(Conflict, match="quarantined was"):
        await execute(proposal, "alice", platform.context)


async def test_what_somebody_quarantines_in_between_is_a_conflict_and_theirs_stands(platform: Platform) -> None:
    proposal = await proposed(QUARANTINE, platform)

    async def somebody_does() -> None:
        await TwinQuarantines.place(
            platform.quarantines, MODEL, QUARANTINE.window, (), expected=(), key="theirs", actor="eve", reason="broken"
        )

    platform.quarantines.disturb.before("place", somebody_does)
    with pytest.raises(Conflict, match="is quarantined of it by now"):
        await execute(proposal, "alice", platform.context)
    assert [each.placed_by for each in await platform.quarantines.in_force(MODEL)] == ["eve"]


async def test_what_was_given_up_is_not_done_after_all(platform: Platform) -> None:
    proposal = await proposed(ROLLBACK, platform)
    platform.serving.disturb.before("set_weights", TemporaryError("busy"))
    with pytest.raises(TemporaryError):
        await execute(proposal, "alice", platform.context)
    await platform.ledger.fail(proposal.id, "busy")
    with pytest.raises(PermanentError, match="given up"):
        await execute(proposal, "alice", platform.context)
    assert await platform.weights() == {"2": 100}


async def test_the_key_of_one_action_does_not_do_another(platform: Platform) -> None:
    await execute(await proposed(ACTIONS[1], platform), "alice", platform.context)
    with pytest.raises(PermanentError, match="another action"):
        await execute(await proposed(ROLLBACK, platform), "alice", platform.context)


async def test_a_champion_that_is_no_longer_there_is_not_rolled_back(platform: Platform) -> None:
    proposal = await proposed(ROLLBACK, platform)
    platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")
    with pytest.raises(Conflict, match="champion was 2 and is 3"):
        await execute(proposal, "alice", platform.context)
    assert not platform.serving.calls


async def test_a_version_that_cannot_be_loaded_leaves_everything_as_it_was(platform: Platform) -> None:
    proposal = await proposed(ROLLBACK, platform)
    platform.serving.break_version(MODEL, "1")
    with pytest.raises(PermanentError, match="cannot be loaded"):
        await execute(proposal, "alice", platform.context)
    assert await platform.weights() == {"2": 100}
    assert await platform.champion() == "2"
    assert isinstance(platform.ledger, TwinLedger)
    assert not platform.ledger.receipts


async def test_traffic_that_was_to_follow_the_alias_follows_it_by_the_repetition(platform: Platform) -> None:
    proposal = await proposed(ROLLBACK, platform)

    async def somebody_moves_it() -> None:
        platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")

    async def the_gateway_goes_away() -> None:
        platform.serving.disturb.before("set_weights", TemporaryError("gone"))

    platform.registry.disturb.before("set_alias", somebody_moves_it)
    platform.serving.disturb.after("set_weights", the_gateway_goes_away)
    with pytest.raises(TemporaryError):
        await execute(proposal, "alice", platform.context)
    with pytest.raises(PermanentError, match="weights are back"):
        await execute(proposal, "alice", platform.context)
    assert await platform.weights() == {"3": 100}
    assert await platform.champion() == "3"


async def _somebody_routes(platform: Platform, weights: dict[str, int]) -> None:
    route = await platform.serving.route(MODEL)
    await platform.serving.set_weights(MODEL, weights, expected_generation=route.generation, key="somebody's")


async def test_a_route_that_somebody_changed_while_the_process_was_dead_is_not_overwritten(platform: Platform) -> None:
    proposal = await proposed(ROLLBACK, platform)
    platform.serving.disturb.before("set_weights", Killed())
    with pytest.raises(Killed):
        await execute(proposal, "alice", platform.context)
    await _somebody_routes(platform, {"2": 50, "3": 50})
    with pytest.raises(Conflict, match="generation"):
        await execute(proposal, "alice", platform.context)
    assert (await platform.weights(), await platform.champion()) == ({"2": 50, "3": 50}, "2")


@pytest.mark.parametrize("weights", [{"2": 50, "3": 50}, {"2": 100}], ids=["elsewhere", "back"])
async def test_a_route_that_somebody_changed_after_ours_stands_and_the_alias_is_left_alone(
    weights: dict[str, int], platform: Platform
) -> None:
    proposal = await proposed(ROLLBACK, platform)
    platform.serving.disturb.after("set_weights", Killed())
    with pytest.raises(Killed):
        await execute(proposal, "alice", platform.context)
    await _somebody_routes(platform, weights)
    with pytest.raises(Conflict, match="somebody has changed the route"):
        await execute(proposal, "alice", platform.context)
    assert (await platform.weights(), await platform.champion()) == (weights, "2")


async def test_a_route_that_somebody_changed_after_all_was_done_leaves_only_the_receipt_to_be_written(
    platform: Platform,
) -> None:
    proposal = await proposed(ROLLBACK, platform)
    platform.registry.disturb.after("set_alias", Killed())
    with pytest.raises(Killed):
        await execute(proposal, "alice", platform.context)
    await _somebody_routes(platform, {"1": 90, "3": 10})
    receipt = await execute(proposal, "alice", platform.context)
    assert (receipt.after.champion, receipt.after.weights) == ("1", {"1": 90, "3": 10})
    assert await platform.weights() == {"1": 90, "3": 10}
