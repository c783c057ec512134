"""Trainings that are the same twice: found, one kept, the others cancelled, and shown by the ledger not to cost any more."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.actions import ConsolidateTraining, NoAction, Notify, Risk
from agents.evidence import Cause
from agents.policies import Approval, Mode, Policies
from agents.proposals import Edit, Reject
from graphs.state import Outcome
from tests.graphs.platform import HOUR, MODEL, Platform, healthy
from tests.graphs.spending import book_job, cost_alert, review, train, training
from tests.twins.jobs import Play
from tools.errors import TemporaryError
from tools.jobs.port import JobState, Phase, Progress, Reason, job_name
from tools.values import Window

KEYS = ("mine/1", "cron/7", "again/2")
NAMES = tuple(map(job_name, KEYS))
FURTHEST = NAMES[1]
OTHERS = tuple(sorted({*NAMES} - {FURTHEST}))


class Killed(BaseException):
    """The process ends here."""


async def duplicated(**values: Any) -> Platform:
    """Three times the same training, for two hours; the second is furthest."""
    platform = await healthy(**values)
    for key in KEYS:
        await train(platform, key)
    platform.jobs.go_on(FURTHEST, Play(progress=Progress(fraction=0.6)))
    await hours(platform, 2)
    return platform


async def hours(platform: Platform, count: int, *names: str) -> None:
    for _ in range(count):
        start = platform.clock.now()
        platform.traffic("1", HOUR)
        for name in names or NAMES:
            await book_job(platform, name, Window(start=start, end=start + HOUR))


async def proposed(**values: Any) -> Platform:
    platform = await duplicated(**values)
    await platform.start(cost_alert(platform.clock.now()))
    return platform


async def phases(platform: Platform) -> dict[str, JobState]:
    return {job.name: job for job in await platform.jobs.jobs()}


async def test_the_furthest_is_kept_and_the_saving_said_as_an_interval() -> None:
    platform = await proposed()
    proposal = await platform.proposal()
    assert proposal.action == ConsolidateTraining(model=MODEL, kept=FURTHEST, cancelled=OTHERS)
    assert proposal.finding.cause is Cause.DUPLICATE_TRAINING
    assert proposal.requested_by == "agent:cost"
    assert proposal.impact.risk is Risk.LOW
    assert proposal.impact.saving is not None
    # No training of that command has ended yet, so how long they would go on is not known: up to a day of two cores.
    assert (proposal.impact.saving.low, proposal.impact.saving.high) == (0, 4800)
    assert "not resumed" in proposal.impact.undo
    assert proposal.state.running == tuple(sorted(NAMES))
    assert "Expected saving: USD 0.00 to 4,800.00 per day" in (await card(platform))


async def card(platform: Platform) -> str:
    request = (await platform.waits_for("approval"))["request"]
    return str(request["action_requests"][0]["description"])


async def test_the_others_are_cancelled_and_the_ledger_shows_no_more_of_them() -> None:
    platform = await proposed()
    await platform.decide()
    known = await phases(platform)
    assert known[FURTHEST].phase is Phase.RUNNING
    assert [(known[name].phase, known[name].reason) for name in OTHERS] == [(Phase.FAILED, Reason.CANCELLED)] * 2
    await hours(platform, 3, FURTHEST)
    waiting = await platform.wake()
    assert "outcome" not in waiting
    assert "it goes on" in waiting["verification"].reason
    platform.jobs.go_on(FURTHEST, Play(Phase.SUCCEEDED, exit_code=0))
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.RESOLVED, ended["reason"]
    saved = ended["optimization"].saved
    # Two of them, for the three hours that the kept one went on.
    assert (saved.claim, saved.value, saved.currency, saved.per) == ("holds", 600, "USD", "once")
    assert (saved.low, saved.high) == (400, 850)
    assert "USD 600.00 in total" in ended["reason"]


async def test_what_the_ledger_still_shows_of_them_is_no_saving() -> None:
    platform = await proposed()
    await platform.decide()
    await hours(platform, 3)
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.UNVERIFIED
    assert "the ledger shows USD" in ended["reason"]


async def test_without_a_ledger_that_goes_on_nothing_is_claimed() -> None:
    platform = await proposed()
    await platform.decide()
    ended = await platform.wake()
    assert "not that far yet" in ended["verification"].reason
    platform.traffic("1", 24 * HOUR)
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.UNVERIFIED
    assert "no saving is claimed" in ended["reason"]
    assert ended["optimization"].saved is None


async def test_a_kept_training_that_fails_is_said_so() -> None:
    platform = await proposed()
    await platform.decide()
    platform.jobs.go_on(FURTHEST, Play(Phase.FAILED, Reason.OUT_OF_MEMORY))
    await hours(platform, 1, FURTHEST)
    ended = await platform.wake()
    assert ended["outcome"] == Outcome.UNVERIFIED
    assert "ask for the training again" in ended["reason"]


async def test_a_no_leaves_all_of_them_running() -> None:
    platform = await proposed()
    ended = await platform.decide(Reject(reason="they are three seeds"))
    assert ended["outcome"] == Outcome.DECLINED
    assert {job.phase for job in (await phases(platform)).values()} == {Phase.RUNNING}


async def test_an_edit_cancels_fewer_of_them() -> None:
    platform = await proposed()
    fewer = ConsolidateTraining(model=MODEL, kept=FURTHEST, cancelled=OTHERS[:1])
    await platform.decide(Edit(action=fewer))
    assert (await platform.proposal()).action == fewer
    await platform.decide(by="bob")
    known = await phases(platform)
    assert [known[name].phase for name in (FURTHEST, *OTHERS)] == [Phase.RUNNING, Phase.FAILED, Phase.RUNNING]


async def test_a_job_that_has_ended_meanwhile_is_a_world_that_moved() -> None:
    platform = await proposed()
    platform.jobs.go_on(OTHERS[0], Play(Phase.SUCCEEDED, exit_code=0))
    await platform.decide()
    proposal = await platform.proposal()
    assert proposal.id == "run-1/2"
    assert proposal.action == ConsolidateTraining(model=MODEL, kept=FURTHEST, cancelled=OTHERS[1:])


@pytest.mark.parametrize("dies", [Killed, TemporaryError("the connection broke right after it")])
async def test_cut_off_between_the_deed_and_the_receipt_each_is_cancelled_once(dies: Any) -> None:
    platform = await proposed()
    cancel, calls = platform.jobs.cancel, []

    async def dying(name: str, *, reason: str) -> JobState:
        calls.append(name)
        state = await cancel(name, reason=reason)
        if len(calls) == 1:
            raise dies
        return state

    platform.jobs.cancel = dying  # type: ignore[method-assign]
    if dies is Killed:
        with pytest.raises(Killed):
            await platform.decide()
        await platform.go_on()
    else:
        await platform.decide()
    known = await phases(platform)
    assert [known[name].phase for name in (FURTHEST, *OTHERS)] == [Phase.RUNNING, Phase.FAILED, Phase.FAILED]
    receipt = platform.ledger.receipts["run-1/1"]  # type: ignore[attr-defined]
    assert (receipt.before.running, receipt.after.running, receipt.undo) == (tuple(sorted(NAMES)), (FURTHEST,), None)


async def test_policy_lets_it_act_by_itself() -> None:
    policies = Policies(approval=Approval(automatic=frozenset({Risk.NONE, Risk.LOW})))
    platform = await proposed(policies=policies, mode=Mode.ACT)
    assert await platform.waits_for("wait")
    assert (await phases(platform))[OTHERS[0]].phase is Phase.FAILED


async def test_under_the_kill_switch_nothing_is_cancelled() -> None:
    platform = await duplicated(mode=Mode.OBSERVE)
    ended = await platform.start(cost_alert(platform.clock.now()))
    assert ended["outcome"] == Outcome.DENIED
    assert {job.phase for job in (await phases(platform)).values()} == {Phase.RUNNING}


async def test_other_commands_and_other_data_are_no_duplicates() -> None:
    platform = await healthy()
    await train(platform, "a", training())
    await train(platform, "b", training(command=("python", "-m", "train", "--layers", "3")))
    await train(platform, "c", training(end=training().data.end + timedelta(days=20)))  # type: ignore[union-attr]
    await hours(platform, 1, *[job.name for job in await platform.jobs.jobs()])
    ended = await platform.start(review(platform.clock.now()))
    assert ended["outcome"] == Outcome.NO_ACTION
    assert isinstance(ended["proposal"].action, NoAction)


def asked(proposal: str, left_out: str) -> dict[str, str]:
    said = {"champion": "1", "left_out": [left_out] if left_out else [], "proposal": proposal, "reason": f"because {proposal}"}
    return {"training.json": json.dumps(said | {"window_start": proposal})}


@pytest.mark.parametrize(("left_out", "same"), [("", True), ("the days that were quarantined", False)])
async def test_a_training_that_leaves_bad_data_out_is_another_than_one_that_does_not(left_out: str, same: bool) -> None:
    platform = await healthy()
    end = datetime(2026, 3, 1, tzinfo=UTC)
    old = await train(platform, "old", training(end=end, config=asked("run-7/1", "")))
    new = await train(platform, "new", training(end=end + timedelta(days=2), config=asked("run-8/1", left_out)))
    platform.jobs.go_on(old.name, Play(progress=Progress(fraction=0.9)))
    await hours(platform, 1, old.name, new.name)
    action = (await platform.start(cost_alert(platform.clock.now())))["proposal"].action
    if same:
        # It is not as far, and learns from the two latest days as well.
        assert action == ConsolidateTraining(model=MODEL, kept=new.name, cancelled=(old.name,))
    else:
        assert not isinstance(action, ConsolidateTraining)


async def test_what_waits_for_a_machine_takes_the_place_of_nothing_that_runs() -> None:
    platform = await healthy()
    end = datetime(2026, 3, 1, tzinfo=UTC)
    old = await train(platform, "old", training(end=end))
    new = await train(platform, "new", training(end=end + timedelta(days=1)))
    platform.jobs.go_on(old.name, Play(progress=Progress(fraction=0.1)))
    platform.jobs.go_on(new.name, Play(Phase.PENDING, Reason.UNSCHEDULABLE))
    await hours(platform, 1, old.name)
    ended = await platform.start(cost_alert(platform.clock.now()))
    assert not isinstance(ended["proposal"].action, ConsolidateTraining)


async def test_a_cost_alert_that_nothing_explains_is_told_to_people() -> None:
    platform = await healthy()
    ended = await platform.start(cost_alert(platform.clock.now()))
    assert ended["outcome"] == Outcome.NOTIFIED
    assert isinstance(ended["proposal"].action, Notify)
    assert "No cost of flights is on record" in ended["proposal"].action.body
