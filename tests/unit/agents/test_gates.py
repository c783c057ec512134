"""What lets a controller take its next step: only what is on record, asked for, untouched and not yet there."""

from itertools import product
from typing import Any, Literal

import pytest

from agents.actions import Notify, Promote, Rollback, StartRollout
from agents.gates import Gate, Record, decide
from agents.promotion_rules import Rollouts
from tools.rollouts.port import Permit

START = StartRollout(model="flights", from_version="1", version="2", stages=Rollouts().stages)
BACK = Rollback(model="flights", from_version="2", to_version="1")
SUM = "7b5d9c7f5d"


def permit(**values: Any) -> Permit:
    content: dict[str, Any] = {
        "rollout": "run-1/1",
        "revision": "run-1/1",
        "model": "flights",
        "version": "2",
        "weight": 0,
        "asked": 10,
        "ending": "",
        "untouched": True,
    }
    return Permit(**{**content, **values})


def record(**values: Any) -> Record:
    return Record(**{"action": START, "done": True, "status": "running", "weight": 10, "let_in": SUM, **values})


def opens(gate: str, known: Record | None, allowed: Permit | None, checksum: str = SUM) -> bool:
    answer = decide(Gate(gate), known, allowed, checksum)
    assert answer.reason
    return answer.open


def test_an_approved_rollout_begins_as_one_revision() -> None:
    assert opens("confirm-rollout", record(status=None, weight=None, let_in=None), permit())
    assert opens("confirm-rollout", record(), permit()), "asked again"
    assert not opens("confirm-rollout", record(let_in="another"), permit())


def test_each_step_opens_once_it_is_asked_for_and_closes_once_it_is_there() -> None:
    assert opens("confirm-traffic-increase", record(), permit())
    assert not opens("confirm-traffic-increase", record(), permit(weight=10))
    assert not opens("confirm-traffic-increase", record(), permit(weight=10, asked=50)), "not on record yet"
    assert opens("confirm-traffic-increase", record(weight=50), permit(weight=10, asked=50))
    assert not opens("confirm-traffic-increase", record(), permit(), "another revision")
    assert not opens("confirm-traffic-increase", record(let_in=None), permit(), "")
    assert not opens("confirm-traffic-increase", record(status=None, weight=None), permit())


def test_it_is_promoted_when_its_promotion_is_carried_out() -> None:
    ending = permit(weight=100, asked=100, ending="promotion")
    for gate in ("confirm-promotion", "confirm-traffic-increase"):
        assert opens(gate, record(weight=100, promotes=True, status="promoted"), ending)
        assert not opens(gate, record(weight=100), ending)
        assert not opens(gate, record(weight=100, promotes=True), permit(weight=100, asked=100))
        assert not opens(gate, record(weight=100, promotes=True), ending, "another revision")


def test_it_is_taken_back_when_its_end_is_carried_out_or_ordered() -> None:
    assert opens("rollback", record(aborts=True, status="taken_back"), permit(ending="abort"))
    assert opens("rollback", record(ordered="abort"), permit(weight=10))
    assert not opens("rollback", record(), permit(weight=10))
    assert not opens("rollback", record(ordered="pause"), permit(weight=10))
    assert not opens("rollback", record(ordered="abort", observing=True), permit(weight=10))
    assert not opens("rollback", record(ordered="abort", promotes=True), permit(weight=100, ending="promotion"))


def test_a_rollback_of_the_champion_goes_through_while_it_is_carried_out() -> None:
    asked = permit(version="1", asked=100, ending="hand over")
    assert opens("confirm-rollout", Record(action=BACK), asked)
    assert opens("confirm-rollout", Record(action=BACK), permit(version="2", asked=100, ending="hand over")), "put back"
    assert not opens("confirm-rollout", Record(action=BACK, done=True), asked)
    assert not opens("confirm-rollout", Record(action=BACK), permit(version="3", asked=100, ending="hand over"))
    assert not opens("confirm-traffic-increase", Record(action=BACK), asked)


CLOSING: tuple[tuple[Record | None, Permit | None], ...] = (
    (None, permit()),
    (record(), None),
    (record(), permit(untouched=False)),
    (record(), permit(version="3")),
    (record(), permit(model="fraud")),
    (record(action=Notify(channel="ops", title="t", body="b")), permit()),
)


@pytest.mark.parametrize(("gate", "doubt"), list(product(Gate, CLOSING)))
def test_in_doubt_every_gate_is_closed(gate: Gate, doubt: tuple[Record | None, Permit | None]) -> None:
    known, allowed = doubt
    everything = None if known is None else known.model_copy(update={"ordered": None, "promotes": True, "aborts": True})
    for ending in ("", "promotion", "abort", "hand over"):
        asked = None if allowed is None else allowed.model_copy(update={"ending": ending})
        assert not opens(gate, everything, asked)


@pytest.mark.parametrize("gate", list(Gate))
@pytest.mark.parametrize("ending", ["", "promotion", "abort", "hand over"])
def test_what_was_given_up_is_only_ever_taken_back(gate: Gate, ending: Literal["", "promotion", "abort", "hand over"]) -> None:
    given_up = record(given_up=True, promotes=True, aborts=True)
    assert opens(gate, given_up, permit(ending=ending)) is (gate is Gate.ROLLBACK and ending == "abort")
    assert not opens(gate, given_up.model_copy(update={"aborts": False}), permit(ending=ending))


@pytest.mark.parametrize("held", [{"ordered": "pause"}, {"ordered": "abort"}, {"observing": True}, {"status": "paused"}])
@pytest.mark.parametrize("gate", ["confirm-rollout", "confirm-traffic-increase"])
def test_what_people_hold_does_not_go_on(gate: str, held: dict[str, Any]) -> None:
    assert not opens(gate, record(**held), permit())


@pytest.mark.parametrize("status", ["promoted", "taken_back", "continued", "left"])
def test_what_is_over_does_not_begin_again(status: str) -> None:
    for gate in ("confirm-rollout", "confirm-traffic-increase", "confirm-promotion", "rollback"):
        assert not opens(gate, record(status=status), permit())


def test_a_promotion_may_be_edited_from_the_start() -> None:
    given = Promote(model="flights", from_version="1", version="2")
    assert opens("confirm-rollout", Record(action=given), permit(asked=100, ending="hand over"))
