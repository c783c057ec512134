"""What policy allows."""

import hashlib
import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.actions import (
    CHANGES_NOTHING,
    NoAction,
    Notify,
    QuarantineData,
    ReleaseData,
    Retrain,
    Risk,
    Rollback,
    Scale,
    WorldState,
)
from agents.guard import Ask, Auto, Bar, Denied, Deny, Holds, Moved, judge, may_decide, recheck
from agents.policies import Approval, Freeze, Mode, ModelPolicy, Policies
from agents.proposals import Approve, Verdict, fingerprint
from tests.unit.agents.proposed import NO_ACTION, NOTIFY, QUARANTINE, RELEASE, ROLLBACK, SCALE, proposal, state_of
from tests.unit.agents.worlds import NOW
from tools.values import LeftOut

POLICIES = Policies()
EAGER = Policies(approval=Approval(automatic=frozenset(Risk)))

names = st.text(min_size=1, max_size=10)
actions = st.one_of(
    st.builds(Rollback, model=names, from_version=names, to_version=names),
    st.builds(Scale, model=names, from_workers=st.integers(1, 1024), workers=st.integers(1, 1024)),
    st.builds(
        QuarantineData,
        model=names,
        window_start=st.just(NOW - timedelta(hours=6)),
        window_end=st.sampled_from([NOW, NOW + timedelta(days=9)]),
        features=st.lists(names, max_size=2).map(tuple),
    ),
    st.builds(
        ReleaseData, model=names, quarantine=names, window_start=st.just(NOW - timedelta(hours=6)), window_end=st.just(NOW)
    ),
    st.builds(Notify, channel=names, title=names, body=st.text(max_size=20)),
    st.builds(NoAction, reason=names),
)
states = st.builds(
    WorldState,
    champion=st.none() | names,
    route_generation=st.none() | st.integers(0, 9),
    weights=st.dictionaries(names, st.integers(0, 100), max_size=3),
    workers=st.none() | st.integers(1, 9),
    quarantined=st.none() | st.lists(names, max_size=2).map(tuple),
)
freezes = st.builds(
    Freeze,
    name=names,
    start=st.just(NOW - timedelta(hours=1)),
    end=st.sampled_from([NOW, NOW + timedelta(hours=1)]),
    except_up_to=st.sampled_from(Risk),
)
policies = st.builds(
    Policies,
    approval=st.builds(
        Approval,
        automatic=st.frozensets(st.sampled_from(Risk)),
        quorum=st.dictionaries(st.sampled_from(Risk), st.integers(1, 4)),
    ),
    freezes=st.lists(freezes, max_size=2).map(tuple),
)


def verdict(*people: str, of: str) -> Verdict:
    return Verdict(decision=Approve(), fingerprint=of, decided_by=people, decided_at=NOW)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("action", [NOTIFY, NO_ACTION])
def test_what_changes_nothing_is_allowed_in_every_mode(action: Notify | NoAction, mode: Mode) -> None:
    assert isinstance(judge(proposal(action), POLICIES, mode, NOW), Auto)


@pytest.mark.parametrize("action", [ROLLBACK, SCALE])
def test_observe_denies_every_change(action: Rollback | Scale) -> None:
    assert isinstance(judge(proposal(action), EAGER, Mode.OBSERVE, NOW), Deny)


@pytest.mark.parametrize("action", [ROLLBACK, SCALE])
def test_propose_asks_about_every_change(action: Rollback | Scale) -> None:
    judgement = judge(proposal(action), EAGER, Mode.PROPOSE, NOW)
    assert judgement == Ask(quorum=1, expires_at=NOW + timedelta(hours=1), reason="the autonomy mode is propose")


def test_act_does_by_itself_what_policy_lets_it() -> None:
    low = Policies(approval=Approval(automatic=frozenset({Risk.NONE, Risk.LOW})))
    assert isinstance(judge(proposal(SCALE), low, Mode.ACT, NOW), Auto)
    assert isinstance(judge(proposal(ROLLBACK), low, Mode.ACT, NOW), Ask)


def test_a_rollback_that_nobody_weighed_needs_two() -> None:
    elsewhere = Rollback(model="flights", from_version="2", to_version="7")
    judgement = judge(proposal(elsewhere), POLICIES, Mode.PROPOSE, NOW)
    assert isinstance(judgement, Ask)
    assert judgement.quorum == 2
    undo = Rollback(model="flights", from_version="1", to_version="2")
    again = judge(proposal(undo), POLICIES, Mode.PROPOSE, NOW)
    assert isinstance(again, Ask)
    assert again.quorum == 1


def test_a_risk_that_was_talked_down_is_judged_as_what_it_is() -> None:
    talked_down = proposal().model_copy(update={"impact": proposal(NO_ACTION).impact})
    assert isinstance(judge(talked_down, POLICIES, Mode.ACT, NOW), Ask)


@pytest.mark.parametrize(
    ("action", "state", "why"),
    [
        (Rollback(model="m", from_version="1", to_version="1"), None, "itself"),
        (ROLLBACK, WorldState(champion="9", route_generation=1), "champion"),
        (ROLLBACK, WorldState(route_generation=1), "not set"),
        (ROLLBACK, WorldState(champion="2"), "route"),
        (Scale(model="m", from_workers=4, workers=4), None, "already"),
        (Scale(model="m", from_workers=4, workers=6), WorldState(workers=5), "not 4"),
        (Scale(model="m", from_workers=4, workers=9), None, "more than the 8"),
    ],
)
def test_what_cannot_be_meant_is_denied(action: Rollback | Scale, state: WorldState | None, why: str) -> None:
    judgement = judge(proposal(action, state=state), EAGER, Mode.ACT, NOW)
    assert isinstance(judgement, Deny)
    assert why in judgement.reason


def test_a_freeze_denies_and_says_until_when() -> None:
    frozen = Freeze(name="year's end", start=NOW, end=NOW + timedelta(days=2))
    judgement = judge(proposal(), Policies(freezes=(frozen,)), Mode.ACT, NOW)
    assert isinstance(judgement, Deny)
    assert "year's end" in judgement.reason
    assert "2026-11-25 18:00 UTC" in judgement.reason
    assert isinstance(judge(proposal(), Policies(freezes=(frozen,)), Mode.ACT, frozen.end), Ask)


def test_a_freeze_may_let_an_emergency_be_asked_for() -> None:
    frozen = Freeze(name="sale", start=NOW, end=NOW + timedelta(days=2), except_up_to=Risk.MEDIUM)
    policies = Policies(freezes=(frozen,), approval=Approval(automatic=frozenset(Risk)))
    assert isinstance(judge(proposal(), policies, Mode.ACT, NOW), Ask)


def test_a_freeze_of_other_models_does_not_matter() -> None:
    frozen = Freeze(name="sale", start=NOW, end=NOW + timedelta(days=2), models=frozenset({"fraud"}))
    assert isinstance(judge(proposal(), Policies(freezes=(frozen,)), Mode.PROPOSE, NOW), Ask)


def test_an_approved_proposal_on_an_unchanged_world_holds() -> None:
    asked = proposal()
    yes = verdict("ana", of=asked.fingerprint)
    assert isinstance(recheck(asked, asked.state, POLICIES, Mode.PROPOSE, NOW, verdict=yes), Holds)


def test_a_world_that_moved_is_named() -> None:
    asked = proposal()
    yes = verdict("ana", of=asked.fingerprint)
    moved = asked.state.model_copy(update={"route_generation": 4})
    result = recheck(asked, moved, POLICIES, Mode.PROPOSE, NOW, verdict=yes)
    assert isinstance(result, Moved)
    assert "route_generation was 3 and is 4" in result.reason


def test_the_kill_switch_holds_even_for_what_was_approved() -> None:
    asked = proposal()
    yes = verdict("ana", of=asked.fingerprint)
    assert isinstance(recheck(asked, asked.state, POLICIES, Mode.OBSERVE, NOW, verdict=yes), Denied)


def test_what_was_automatic_and_is_to_be_asked_by_now_is_not_done() -> None:
    allowed = proposal(SCALE)
    assert isinstance(recheck(allowed, allowed.state, EAGER, Mode.ACT, NOW, verdict=None), Holds)
    assert isinstance(recheck(allowed, allowed.state, EAGER, Mode.PROPOSE, NOW, verdict=None), Denied)


def test_an_approval_must_be_of_this_and_by_enough_people() -> None:
    asked = proposal()
    two = Policies(approval=Approval(quorum=dict.fromkeys(Risk, 2)))
    for vote in (
        verdict("ana", of=asked.fingerprint),
        verdict("ana", "ana", of=asked.fingerprint),
        verdict("ana", "ben", of="x"),
    ):
        assert isinstance(recheck(asked, asked.state, two, Mode.PROPOSE, NOW, verdict=vote), Denied)
    both = verdict("ana", "ben", of=asked.fingerprint)
    assert isinstance(recheck(asked, asked.state, two, Mode.PROPOSE, NOW, verdict=both), Holds)


def test_nobody_approves_what_they_asked_for() -> None:
    assert may_decide("ana", proposal(requested_by="ana"), POLICIES) is Bar.OWN_REQUEST
    assert may_decide("ben", proposal(requested_by="ana"), POLICIES) is None
    assert may_decide("ana", proposal(requested_by="ana"), Policies(approval=Approval(four_eyes=False))) is None


def test_owners_decide_about_their_model() -> None:
    owned = Policies(models={"flights": ModelPolicy(owners=("ana",))})
    assert may_decide("ben", proposal(), owned) is Bar.NOT_AN_OWNER
    assert may_decide("ana", proposal(), owned) is None
    assert may_decide("ben", proposal(NOTIFY), owned) is None


@given(action=actions, state=states, rules=policies, mode=st.sampled_from(Mode))
def test_every_proposal_is_judged(
    action: Rollback | Scale | Notify | NoAction, state: WorldState, rules: Policies, mode: Mode
) -> None:
    asked = proposal(action, state=state)
    judgement = judge(asked, rules, mode, NOW)
    assert type(judgement).model_validate_json(judgement.model_dump_json()) == judgement
    if mode is Mode.OBSERVE and not isinstance(action, CHANGES_NOTHING):
        assert isinstance(judgement, Deny)
    if isinstance(judgement, Ask):
        assert judgement.quorum >= 1
        assert judgement.expires_at > NOW
    if mode is Mode.PROPOSE and isinstance(judgement, Auto):
        assert isinstance(action, CHANGES_NOTHING)
    now = recheck(asked, state, rules, mode, NOW, verdict=None)
    assert isinstance(now, Holds) == isinstance(judgement, Auto)


@given(action=actions, other=actions, state=states, changed=states)
def test_a_fingerprint_is_of_exactly_this(
    action: Rollback | Scale | Notify | NoAction,
    other: Rollback | Scale | Notify | NoAction,
    state: WorldState,
    changed: WorldState,
) -> None:
    assert (fingerprint(action, state) == fingerprint(other, changed)) == ((action, state) == (other, changed))
    reordered = state.model_copy(update={"weights": dict(reversed(state.weights.items()))})
    assert fingerprint(action, reordered) == fingerprint(action, state)


def test_fingerprints_do_not_change_between_releases() -> None:
    """Approvals outlive a deployment of the platform itself."""
    assert fingerprint(ROLLBACK, state_of(ROLLBACK)) == "fda661886f299530382436364d99d74caf36cbcde91ce997efb32d2196f05e0c"


@pytest.mark.parametrize("action", [QUARANTINE, RELEASE])
def test_data_is_quarantined_and_released_at_a_low_risk_after_somebody_was_asked(action: QuarantineData | ReleaseData) -> None:
    asked = judge(proposal(action), POLICIES, Mode.ACT, NOW)
    assert isinstance(asked, Ask)
    assert (asked.quorum, proposal(action).impact.risk) == (1, Risk.LOW)
    assert isinstance(judge(proposal(action), EAGER, Mode.ACT, NOW), Auto)
    assert isinstance(judge(proposal(action), EAGER, Mode.OBSERVE, NOW), Deny)


@pytest.mark.parametrize(
    ("action", "state", "said"),
    [
        (QUARANTINE, WorldState(), "is not known"),
        (
            QUARANTINE.model_copy(update={"window_start": NOW - timedelta(days=8)}),
            WorldState(quarantined=()),
            "8 days are longer",
        ),
        (RELEASE, WorldState(quarantined=("qua_2",)), "qua_1 is no quarantine of flights in force"),
    ],
)
def test_what_cannot_be_meant_of_data_is_denied(action: QuarantineData | ReleaseData, state: WorldState, said: str) -> None:
    denied = judge(proposal(action, state=state), EAGER, Mode.ACT, NOW)
    assert isinstance(denied, Deny)
    assert said in denied.reason


def test_a_training_that_leaves_nothing_out_has_the_fingerprint_that_it_had_before_anything_could_be() -> None:
    action = Retrain(model="flights", version="1", window_start=NOW - timedelta(days=1), window_end=NOW)
    written = action.model_dump(mode="json", exclude={"left_out"})
    known_then = {"champion", "route_generation", "weights", "workers"}
    state = WorldState(champion="1").model_dump(mode="json", include=known_then)
    canonical = json.dumps({"action": written, "state": state}, sort_keys=True, separators=(",", ":"))
    assert fingerprint(action, WorldState(champion="1")) == hashlib.sha256(canonical.encode()).hexdigest()
    less = action.model_copy(update={"left_out": (LeftOut(window=QUARANTINE.window),)})
    assert fingerprint(less, WorldState(champion="1")) != fingerprint(action, WorldState(champion="1"))


def test_a_yes_does_not_hold_for_ever() -> None:
    asked = proposal()
    yes = verdict("ana", of=asked.fingerprint)
    soon, late = (
        yes.decided_at + POLICIES.approval.holds_for,
        yes.decided_at + POLICIES.approval.holds_for + timedelta(seconds=1),
    )
    assert isinstance(recheck(asked, asked.state, POLICIES, Mode.PROPOSE, soon, verdict=yes), Holds)
    answer = recheck(asked, asked.state, POLICIES, Mode.PROPOSE, late, verdict=yes)
    assert isinstance(answer, Moved)
    assert "an approval holds for 4 h" in answer.reason


def test_of_two_who_asked_for_the_same_neither_approves_it() -> None:
    asked = proposal(asked_by="ben", also_asked_by=("ana",))
    assert [may_decide(name, asked, POLICIES) for name in ("ana", "ben", "eve")] == [Bar.OWN_REQUEST, Bar.OWN_REQUEST, None]
