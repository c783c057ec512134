"""A bad rollout, from the alert to the verified rollback, and every way in which it may go otherwise on the way there."""

import pytest
from langchain.agents.middleware.human_in_the_loop import HITLRequest
from pydantic import TypeAdapter

from agents.actions import Rollback
from agents.evidence import Cause
from agents.policies import Mode
from agents.proposals import Edit, Reject
from graphs.acting import MAX_MOVES
from graphs.state import Outcome
from graphs.supervisor import RETRY
from tests.graphs.platform import HOUR, MODEL, Platform, bad_rollout
from tests.twins.ledger import TwinLedger
from tools.errors import PermanentError, TemporaryError
from tools.registry.port import Alias


@pytest.fixture
async def platform() -> Platform:
    return await bad_rollout()


async def test_a_bad_rollout_is_proposed_to_be_rolled_back(platform: Platform) -> None:
    await platform.start()
    proposal = await platform.proposal()
    assert proposal.finding.cause is Cause.MODEL_REGRESSION
    assert proposal.action == Rollback(model=MODEL, from_version="2", to_version="1")
    assert proposal.requested_by == "agent:incident"
    assert await platform.weights() == {"2": 100}


async def test_the_question_has_the_form_that_stock_clients_show(platform: Platform) -> None:
    await platform.start()
    question = await platform.waits_for("approval")
    request = TypeAdapter(HITLRequest).validate_python(question["request"])
    (action,), (review,) = request["action_requests"], request["review_configs"]
    assert action["name"] == review["action_name"] == "rollback"
    assert action["args"] == {"model": MODEL, "from_version": "2", "to_version": "1"}
    assert "Roll flights back" in action["description"]
    assert set(review["allowed_decisions"]) == {"approve", "edit", "reject"}


async def test_approved_it_moves_the_route_and_then_the_alias_once(platform: Platform) -> None:
    await platform.start()

    async def the_route_has_moved() -> None:
        assert await platform.weights() == {"1": 100}

    platform.registry.disturb.before("set_alias", the_route_has_moved)
    await platform.decide()
    assert await platform.weights() == {"1": 100}
    assert await platform.champion() == "1"
    assert platform.serving.calls == {"run-1/1/route": 1}
    assert platform.registry.calls == {"run-1/1/alias": 1}
    assert (await platform.registry.history(MODEL))[-1].actor == "alice"


async def test_what_holds_is_resolved_and_said_once(platform: Platform) -> None:
    await platform.start()
    await platform.decide()
    platform.traffic("1", 3 * HOUR)
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    assert [key for _, _, key in platform.notify.sent] == ["run-1/closing"]


async def test_it_is_looked_at_again_until_there_is_enough_to_say(platform: Platform) -> None:
    await platform.start()
    await platform.decide()
    await platform.wake()
    first = await platform.waits_for("wait")
    platform.traffic("1", 3 * HOUR)
    assert first["until"] < platform.clock.now().isoformat()
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.RESOLVED


async def test_the_traffic_of_the_settling_time_is_not_judged(platform: Platform) -> None:
    await platform.start()
    await platform.decide()
    settle = platform.policies.verification.settle
    platform.traffic("1", settle, accuracy=0.0, latency_ms=5_000)
    platform.traffic("1", 3 * HOUR)
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    assert ended["verification"].measures


async def test_what_does_not_help_is_proposed_to_be_taken_back_and_is(platform: Platform) -> None:
    await platform.start()
    await platform.decide()
    platform.traffic("1", 3 * HOUR, accuracy=0.3)
    await platform.wake()
    undo = await platform.proposal()
    assert undo.action == Rollback(model=MODEL, from_version="1", to_version="2")
    assert undo.undo_of == "run-1/1"
    await platform.decide()
    assert await platform.champion() == "2"
    platform.traffic("2", 3 * HOUR, accuracy=0.5)
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.UNDONE


async def test_rejected_nothing_is_changed(platform: Platform) -> None:
    await platform.start()
    ended = await platform.decide(Reject(reason="it is only a drill"))
    assert (ended["outcome"], ended["reason"]) == (Outcome.DECLINED, "it is only a drill")
    assert await platform.champion() == "2"
    assert not platform.serving.calls


async def test_what_nobody_answers_in_time_is_declined(platform: Platform) -> None:
    await platform.start()
    ended = await platform.decide(Reject(reason="expired"), by="policy:expiry")
    assert (ended["outcome"], ended["reason"]) == (Outcome.DECLINED, "expired")


async def test_an_approval_of_something_else_changes_nothing(platform: Platform) -> None:
    await platform.start()
    ended = await platform.decide(fingerprint="0" * 64)
    assert ended["outcome"] != Outcome.RESOLVED
    assert await platform.champion() == "2"


async def test_an_edit_is_a_new_proposal_of_the_editor(platform: Platform) -> None:
    await platform.start()
    first = await platform.proposal()
    await platform.decide(Edit(action=Rollback(model=MODEL, from_version="2", to_version="3")), by="bob")
    edited = await platform.proposal()
    assert edited.id == "run-1/2"
    assert edited.fingerprint != first.fingerprint
    assert edited.requested_by == "bob"
    # A version that never served here is a risk that two people agree to.
    assert (await platform.waits_for("approval"))["quorum"] == 2
    await platform.decide(by=("alice", "carol"))
    assert await platform.champion() == "3"


async def test_an_edit_that_too_few_have_approved_is_not_carried_out(platform: Platform) -> None:
    await platform.start()
    await platform.decide(Edit(action=Rollback(model=MODEL, from_version="2", to_version="3")), by="bob")
    ended = await platform.decide(by="alice")
    assert ended["outcome"] == Outcome.DENIED
    assert await platform.champion() == "2"


async def test_in_mode_observe_nothing_is_asked_and_nothing_done() -> None:
    platform = await bad_rollout(mode=Mode.OBSERVE)
    ended = await platform.start()
    assert ended["outcome"] == Outcome.DENIED
    assert not platform.serving.calls


async def test_the_kill_switch_stops_what_was_approved(platform: Platform) -> None:
    await platform.start()
    platform.mode = Mode.OBSERVE
    ended = await platform.decide()
    assert ended["outcome"] == Outcome.DENIED
    assert await platform.champion() == "2"
    assert not platform.serving.calls


async def test_when_the_world_moved_it_is_proposed_anew_and_asked_again(platform: Platform) -> None:
    await platform.start()
    first = await platform.proposal()
    generation = first.state.route_generation
    assert generation is not None
    await platform.serving.set_weights(MODEL, {"2": 90, "1": 10}, expected_generation=generation, key="canary")
    platform.serving.calls.clear()
    await platform.decide()
    second = await platform.proposal()
    assert (second.id, second.action) == ("run-1/2", first.action)
    assert second.fingerprint != first.fingerprint
    assert not platform.serving.calls


async def test_a_world_that_does_not_hold_still_is_left_to_people(platform: Platform) -> None:
    await platform.start()
    for number in range(MAX_MOVES + 1):
        route = await platform.serving.route(MODEL)
        await platform.serving.set_weights(
            MODEL, {"2": 90 - number, "1": 10 + number}, expected_generation=route.generation, key=f"move-{number}"
        )
        ended = await platform.decide()
    assert ended["outcome"] == Outcome.FAILED
    assert "moved" in ended["reason"]
    assert await platform.champion() == "2"


async def test_a_champion_that_moved_after_the_approval_is_not_rolled_back(platform: Platform) -> None:
    await platform.start()
    await platform.move("3", actor="somebody")
    ended = await platform.decide()
    # Nothing has been measured of version 3 yet, so people are told, and it stays.
    assert ended["outcome"] == Outcome.NOTIFIED
    assert await platform.champion() == "3"


async def test_an_alias_that_somebody_moved_meanwhile_stands_and_gets_the_traffic(platform: Platform) -> None:
    await platform.start()

    async def somebody_moves_it() -> None:
        platform.registry.move_externally(MODEL, Alias.CHAMPION, "3")

    platform.registry.disturb.before("set_alias", somebody_moves_it)
    ended = await platform.decide()
    assert ended["outcome"] == Outcome.FAILED
    assert "weights are back" in ended["reason"]
    assert await platform.weights() == {"3": 100}
    assert await platform.champion() == "3"
    assert isinstance(platform.ledger, TwinLedger)
    assert platform.ledger.failures.keys() == {"run-1/1"}


async def test_what_fails_for_a_moment_is_tried_again(platform: Platform) -> None:
    await platform.start()
    platform.serving.disturb.before("set_weights", TemporaryError("busy"), TemporaryError("busy"))
    await platform.decide()
    assert await platform.champion() == "1"
    assert platform.serving.calls == {"run-1/1/route": 1}


async def test_what_was_begun_is_ended_however_long_a_part_of_it_is_away(platform: Platform) -> None:
    await platform.start()
    platform.registry.disturb.before("set_alias", *[TemporaryError("the registry is busy")] * (2 * RETRY.max_attempts))
    with pytest.raises(TemporaryError, match="the registry is busy"):
        await platform.decide()
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "2")
    with pytest.raises(TemporaryError, match="the registry is busy"):
        await platform.go_on()
    # Not even the kill switch leaves it half done.
    platform.mode = Mode.OBSERVE
    await platform.go_on()
    assert (await platform.weights(), await platform.champion()) == ({"1": 100}, "1")
    assert set(platform.serving.calls) == {"run-1/1/route"}


async def test_what_was_approved_and_not_begun_is_judged_again_after_a_crash(platform: Platform) -> None:
    await platform.start()
    platform.registry.go_down()
    with pytest.raises(TemporaryError):
        await platform.decide()
    platform.registry.come_back()
    platform.mode = Mode.OBSERVE
    ended = await platform.go_on()
    assert ended["outcome"] == Outcome.DENIED
    assert (await platform.weights(), await platform.champion()) == ({"2": 100}, "2")


async def test_what_cannot_be_done_at_all_is_given_up_and_people_are_told(platform: Platform) -> None:
    await platform.start()
    platform.serving.disturb.before("set_weights", PermanentError("version 1 cannot be loaded"))
    ended = await platform.decide()
    assert ended["outcome"] == Outcome.FAILED
    assert ended["reason"] == "version 1 cannot be loaded"
    (_, message, _) = platform.notify.sent[-1]
    assert "version 1 cannot be loaded" in message.body
    assert isinstance(platform.ledger, TwinLedger)
    assert platform.ledger.failures


async def test_people_who_cannot_be_told_do_not_keep_an_incident_open(platform: Platform) -> None:
    await platform.start()
    await platform.decide()
    platform.notify.go_down()
    platform.traffic("1", 3 * HOUR)
    ended = await platform.wake()
    assert (ended["outcome"], platform.notify.sent) == (Outcome.RESOLVED, [])


async def test_a_route_that_somebody_changed_before_the_intent_was_on_record_is_asked_about_anew(platform: Platform) -> None:
    await platform.start()
    platform.registry.go_down()
    with pytest.raises(TemporaryError):
        await platform.decide()
    platform.registry.come_back()
    route = await platform.serving.route(MODEL)
    await platform.serving.set_weights(MODEL, {"2": 90, "1": 10}, expected_generation=route.generation, key="canary")
    await platform.go_on()
    assert (await platform.proposal()).state.weights == {"2": 90, "1": 10}
    assert (await platform.weights(), await platform.champion()) == ({"2": 90, "1": 10}, "2")


async def test_a_route_that_somebody_changed_half_way_is_left_to_people_with_what_is_left(platform: Platform) -> None:
    await platform.start()
    platform.registry.disturb.before("set_alias", *[TemporaryError("the registry is busy")] * RETRY.max_attempts)
    with pytest.raises(TemporaryError):
        await platform.decide()
    route = await platform.serving.route(MODEL)
    await platform.serving.set_weights(MODEL, {"2": 50, "3": 50}, expected_generation=route.generation, key="somebody's")
    ended = await platform.go_on()
    assert ended["outcome"] == Outcome.FAILED
    assert "somebody has changed the route" in ended["reason"]
    assert "It leaves weights {'2': 50, '3': 50} instead of {'2': 100}." in ended["reason"]
    assert await platform.champion() == "2"
