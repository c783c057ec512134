"""Runs from the alert's row to the closed incident, on a real database: every event may come twice, or at the same time."""

import asyncio

import pytest
from structlog.testing import capture_logs

from agents.actions import Rollback
from agents.policies import Mode, Policies
from agents.proposals import Edit, Reject
from api.problems import OwnRequest
from api.store import audit
from api.store.actions import of_incident
from api.store.database import Database
from tests.graphs.platform import HOUR, MINUTE, MODEL
from tests.graphs.runs import Case, opened
from tests.twins.notify import RememberingNotifier
from tools.errors import TemporaryError
from tools.notify.port import Message


class BrokenNotifier(RememberingNotifier):
    async def send(self, channel: str, message: Message, *, key: str) -> None:
        raise ZeroDivisionError("nobody foresaw it")


@pytest.fixture
async def case(database: Database) -> Case:
    return await opened(database)


async def test_a_run_starts_and_waits_for_a_person(case: Case) -> None:
    await case.advance()
    (question,) = await case.asked()
    assert question.status == "pending"
    assert question.request["action_requests"][0]["name"] == "rollback"
    run, incident = await case.run(), await case.incident()
    assert (run.status, run.interrupt_id) == ("waiting", question.interrupt_id)
    assert (incident.status, incident.cause) == ("awaiting_approval", "model_regression")
    ((_, message, key),) = case.platform.notify.sent
    assert (key, message.link) == (f"approval/{question.id}", f"https://oppen.example/v1/approvals/{question.id}")


async def test_approved_verified_and_closed_with_a_report(case: Case) -> None:
    await case.advance()
    await case.decide()
    assert (await case.advance()).startswith("decision:")
    assert (await case.incident()).status == "verifying"
    case.platform.traffic("1", 3 * HOUR)
    await case.wake()
    assert (await case.advance()).startswith("wake:")
    run, incident = await case.run(), await case.incident()
    assert (run.status, run.outcome) == ("completed", "resolved")
    assert (incident.status, incident.closed_at) == ("resolved", case.platform.clock.now())
    assert incident.report is not None
    assert incident.report["receipt"]["action"]["to_version"] == "1"
    assert incident.report["verification"]["status"] == "holds"
    assert await case.forgotten()
    async with case.database.read() as session:
        assert (await audit.verify(session)).ok
        assert [action.state for action in await of_incident(session, case.incident_id)] == ["done"]


async def _to_the_end(case: Case, times: int, *, at_once: bool) -> None:
    async def advance() -> None:
        event = (await case.run()).event
        calls = [case.runner.advance(case.run_id, event) for _ in range(times)]
        if at_once:
            await asyncio.gather(*calls)
        else:
            for call in calls:
                await call

    await advance()
    await case.decide()
    await advance()
    case.platform.traffic("1", 3 * HOUR)
    await case.wake()
    await advance()


@pytest.mark.parametrize("at_once", [False, True], ids=["one after the other", "at once"])
async def test_every_event_twice_is_as_good_as_once(database: Database, at_once: bool) -> None:
    case = await opened(database)
    await _to_the_end(case, 2, at_once=at_once)
    assert (await case.run()).error is None
    assert (await case.run()).outcome == "resolved"
    assert len(await case.asked()) == 1
    assert case.platform.serving.calls == {f"{case.run_id}/1/route": 1}
    assert case.platform.registry.calls == {f"{case.run_id}/1/alias": 1}
    told, audited = await case.told(), await case.audited()
    once = (
        "run.started",
        "finding.made",
        "proposal.made",
        "proposal.judged",
        "approval.requested",
        "approval.decided",
        "action.intended",
        "action.done",
        "verification.begun",
        "verification.checked",
        "run.completed",
    )
    assert {name: told[name] for name in once} == dict.fromkeys(once, 1)
    decided = ("proposal.made", "proposal.judged", "approval.decided", "action.done", "run.completed")
    assert {name: audited[name] for name in decided} == dict.fromkeys(decided, 1)
    assert len(case.platform.notify.sent) == 2
    assert await case.forgotten()


async def test_a_rejection_hands_the_incident_to_people(case: Case) -> None:
    await case.advance()
    await case.decide(Reject(reason="not now"))
    await case.advance()
    incident = await case.incident()
    assert ((await case.run()).outcome, incident.status) == ("declined", "escalated")
    assert await case.platform.champion() == "2"


async def test_a_question_that_expired_is_declined_by_policy(case: Case) -> None:
    await case.advance()
    case.platform.clock.pass_(case.platform.policies.approval.expires_after)
    assert await case.approvals.expire_due() == [case.run_id]
    await case.advance()
    assert (await case.run()).outcome == "declined"
    assert (await case.asked())[0].status == "expired"


async def test_an_edit_is_asked_about_anew_and_not_approved_by_its_editor(case: Case) -> None:
    await case.advance()
    case.platform.clock.pass_(MINUTE)
    await case.decide(Edit(action=Rollback(model=MODEL, from_version="2", to_version="3")), by="bob")
    await case.advance()
    first, second = await case.asked()
    assert (first.status, second.status, second.replaces) == ("edited", "pending", first.id)
    assert (second.requested_by, second.quorum) == ("bob", 2)
    with pytest.raises(OwnRequest):
        await case.decide(by="bob")
    await case.decide(by="alice")
    with pytest.raises(OwnRequest):
        await case.decide(by="bob")
    assert [each.status for each in await case.asked()] == ["edited", "pending"]
    await case.decide(by="carol")
    await case.advance()
    assert await case.platform.champion() == "3"
    assert (await case.platform.registry.history(MODEL))[-1].actor == "alice, carol"


async def test_a_wake_that_comes_before_its_time_changes_nothing(case: Case) -> None:
    await case.advance()
    await case.decide()
    event = await case.advance()
    before = await case.run()
    await case.runner.advance(case.run_id, event)
    await case.runner.advance(case.run_id, "wake:never")
    after = await case.run()
    assert (after.status, after.due_at, after.event) == ("waiting", before.due_at, before.event)


async def test_a_run_that_was_left_in_the_middle_goes_on(case: Case) -> None:
    await case.advance()
    await case.decide()

    async def the_process_dies() -> None:
        dying.cancel()
        await asyncio.sleep(0)

    case.platform.serving.disturb.after("set_weights", the_process_dies)
    dying = asyncio.create_task(case.advance())
    with pytest.raises(asyncio.CancelledError):
        await dying
    assert (await case.run()).status == "running"
    await case.advance()
    assert (await case.run()).status == "waiting"
    assert await case.platform.champion() == "1"
    assert (await case.platform.serving.route(MODEL)).generation == 3


async def test_what_nobody_foresaw_ends_the_run_and_escalates_its_incident(case: Case) -> None:
    async def mode() -> Mode:
        raise ZeroDivisionError("nobody foresaw it")

    case.platform._mode = mode  # type: ignore[method-assign]
    with capture_logs() as logs:
        await case.advance()
    assert [each["event"] for each in logs] == ["run.failed"]
    run, incident = await case.run(), await case.incident()
    assert (run.status, run.error) == ("failed", "ZeroDivisionError: nobody foresaw it")
    assert incident.status == "escalated"
    assert "nobody foresaw it" in (incident.summary or "")
    assert (await case.told())["run.failed"] == 1
    assert await case.forgotten()
    ((channel, message, _),) = case.platform.notify.sent
    assert (channel, message.severity) == ("ops", "critical")
    assert message.link == f"https://oppen.example/v1/incidents/{run.incident_id}"
    assert "nobody foresaw it" in message.body


async def test_a_run_that_fails_while_its_question_is_open_takes_the_question_back(case: Case) -> None:
    case.platform.notify = BrokenNotifier()
    with capture_logs():
        await case.advance()
    assert (await case.run()).status == "failed"
    assert [each.status for each in await case.asked()] == ["superseded"]


async def test_a_store_that_is_away_leaves_the_run_to_be_tried_again(case: Case) -> None:
    working = case.platform._mode

    async def mode() -> Mode:
        raise TemporaryError("the database is away")

    case.platform._mode = mode  # type: ignore[method-assign]
    with pytest.raises(TemporaryError):
        await case.advance()
    assert (await case.run()).status == "running"
    case.platform._mode = working  # type: ignore[method-assign]
    await case.advance()
    assert (await case.run()).status == "waiting"


async def test_people_who_cannot_be_told_do_not_stop_the_run(case: Case) -> None:
    case.platform.notify = RememberingNotifier(channels=())
    await _to_the_end(case, 1, at_once=False)
    assert ((await case.run()).status, (await case.run()).outcome) == ("completed", "resolved")
    assert (await case.incident()).status == "resolved"
    # What they are not told they can read: the question, and the end.
    assert (await case.told())["announcement.failed"] == 2


async def test_people_who_cannot_be_told_of_a_failure_can_read_that_they_were_not(case: Case) -> None:
    case.platform.notify = BrokenNotifier()
    with capture_logs():
        await case.advance()
    assert (await case.timeline())[-2:] == ["run.failed", "announcement.failed"]


AUTOMATIC = Policies.model_validate({"slo": {"min_accuracy": 0.8}, "approval": {"automatic": ["none", "low", "medium"]}})
STORY = ["finding.made", "proposal.made", "proposal.judged", "action.intended", "action.done", "verification.begun"]


async def _story(case: Case) -> list[str]:
    told = await case.timeline()
    return told[told.index("finding.made") :]


async def test_what_is_done_without_asking_is_told_in_the_order_in_which_it_happens(database: Database) -> None:
    case = await opened(database, policies=AUTOMATIC, mode=Mode.ACT)
    await case.advance()
    assert await _story(case) == STORY
    case.platform.traffic("1", 3 * HOUR)
    await case.wake()
    await case.advance()
    assert await _story(case) == [*STORY, "verification.checked", "run.completed"]
    newest_first = list(await case.audited())
    assert newest_first[:5] == ["run.completed", "action.done", "action.intended", "proposal.judged", "proposal.made"]


async def test_what_did_not_help_is_told_before_it_is_taken_back(database: Database) -> None:
    case = await opened(database, policies=AUTOMATIC, mode=Mode.ACT)
    await case.advance()
    case.platform.traffic("1", 3 * HOUR, accuracy=0.3)
    await case.wake()
    await case.advance()
    assert await _story(case) == [*STORY, "verification.checked", *STORY[1:]]


async def test_a_run_that_was_left_before_it_acted_tells_its_story_once_and_in_order(database: Database) -> None:
    case = await opened(database, policies=AUTOMATIC, mode=Mode.ACT)

    async def the_process_dies() -> None:
        dying.cancel()
        await asyncio.sleep(0)

    case.platform.serving.disturb.before("set_weights", the_process_dies)
    dying = asyncio.create_task(case.advance())
    with pytest.raises(asyncio.CancelledError):
        await dying
    await case.advance()
    assert await _story(case) == STORY
