"""From a drift to a training, from the training to a candidate, from there to a rollout, or to people."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from langgraph.types import Command

from agents.actions import Notify, QuarantineData, Retrain, StartRollout
from agents.alerts import Alert
from agents.drift.retraining import held_back
from agents.evidence import Cause
from agents.policies import ModelPolicy, Policies, Training
from agents.proposals import Approve, Proposal, Verdict
from agents.requests import Request, to_alert
from agents.training import CONFIG, JOB_TAG, consolidated, spec_of
from graphs.state import Outcome
from tests.graphs.evaluations import evaluation_of, leave, measured
from tests.graphs.platform import MODEL, Platform
from tests.graphs.test_drift_specialist import Drifted, drifted
from tests.twins.jobs import Play
from tools.costs.list_prices import LIST_PRICES
from tools.errors import PermanentError, TemporaryError
from tools.jobs.port import JobSpec, Phase, Progress, Reason, job_name
from tools.jobs.prices import Prices
from tools.registry.port import Alias

COMMAND = ("python", "-m", "train")
POLICIES = Policies(models={MODEL: ModelPolicy(training=Training(command=COMMAND, team="growth"))})
JOB = job_name("run-1/1")


class Killed(BaseException):
    """Nothing that the code could catch: the process is gone."""


async def asked() -> Drifted:
    """A concept has changed, and a training is asked for."""
    case = await drifted("concept_drift")
    case.platform.policies = POLICIES
    await case.run()
    return case


async def training() -> Drifted:
    case = await asked()
    await case.platform.decide()
    return case


def made(case: Drifted) -> str:
    """The training has ended well, and left a version."""
    version = case.platform.registry.publish(MODEL, tags={JOB_TAG: JOB})
    case.platform.jobs.go_on(JOB, Play(Phase.SUCCEEDED, exit_code=0))
    return version


async def evaluated(case: Drifted, *, won: int = 226, lost: int = 109) -> str:
    """And so has the platform's evaluation, beside version 1."""
    version = made(case)
    await case.platform.wake()
    leave(case.platform, version, measured(version, won=won, lost=lost))
    case.platform.jobs.go_on(evaluation_of(version), Play(Phase.SUCCEEDED, exit_code=0))
    return version


async def test_a_training_that_is_approved_is_one_job_on_the_window_that_was_shown() -> None:
    case = await asked()
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, Retrain)
    await case.platform.decide()
    ((key, spec),) = case.platform.jobs.submissions
    assert (key, spec.command, spec.team, spec.model) == ("run-1/1", COMMAND, "growth", MODEL)
    assert spec.environment["OPPEN_WINDOW_START"] == proposal.action.window_start.isoformat()
    assert "MLFLOW_TRACKING_URI" in spec.secrets
    assert (await case.platform.jobs.state(JOB)).phase is Phase.RUNNING


async def test_a_training_is_told_the_prices_of_the_book_unless_policy_has_its_own() -> None:
    own = Prices(currency="EUR", cpu_hour="1")
    with_own = Policies(models={MODEL: ModelPolicy(training=Training(command=COMMAND, prices=own))})
    for policies, cpu_hour in ((POLICIES, "0.031611000"), (with_own, "1")):
        case = await drifted("concept_drift")
        case.platform.policies, case.platform.prices = policies, LIST_PRICES
        await case.run()
        await case.platform.decide()
        ((_, spec),) = case.platform.jobs.submissions
        assert json.loads(spec.config[CONFIG])["prices"]["cpu_hour"] == cpu_hour


@pytest.mark.parametrize("own", [{"command": COMMAND, "team": "growth", "memory_mib": 9_000}, {}])
async def test_a_policy_changed_between_a_crash_and_the_resumption_leaves_no_job_behind(own: dict[str, Any]) -> None:
    case = await asked()
    platform, submit = case.platform, case.platform.jobs.submit

    async def dying(key: str, spec: JobSpec) -> Any:
        await submit(key, spec)
        raise Killed

    platform.jobs.submit = dying  # type: ignore[method-assign,assignment]
    with pytest.raises(Killed):
        await platform.decide()
    platform.jobs.submit = submit  # type: ignore[method-assign]
    changed = ModelPolicy(training=Training.model_validate(own))
    platform.policies = platform.policies.model_copy(update={"models": {MODEL: changed}})
    ended = await platform.go_on()
    assert "outcome" not in ended
    assert await platform.waits_for("wait")
    ((name, phase),) = [(job.name, job.phase) for job in await platform.jobs.jobs()]
    assert (name, phase) == (JOB, Phase.RUNNING)
    await evaluated(case)
    await platform.wake()
    assert not isinstance((await platform.proposal()).action, Retrain)


async def test_a_training_that_began_while_another_was_asked_for_is_the_only_one() -> None:
    case = await asked()
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, Retrain)
    await case.platform.jobs.submit("run-0/1", spec_of(proposal.action, proposal, POLICIES.training_of(MODEL)))
    ended = await case.platform.decide()
    assert ended["outcome"] == Outcome.NO_ACTION
    assert "it is being trained already" in ended["reason"]
    assert [key for key, _ in case.platform.jobs.submissions] == ["run-0/1"]


@pytest.mark.parametrize(
    ("rules", "outcome", "said"),
    [
        ({}, Outcome.NO_ACTION, "before it is trained again"),
        ({"cooldown": "0s", "per_day": 1}, Outcome.NOTIFIED, "policy allows 1"),
    ],
)
async def test_cool_down_and_budget_are_looked_at_again_right_before_it_begins(
    rules: dict[str, Any], outcome: Outcome, said: str
) -> None:
    case = await asked()
    own = Training.model_validate({"command": COMMAND, "team": "growth", **rules})
    case.platform.policies = Policies(models={MODEL: ModelPolicy(training=own)})
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, Retrain)
    await case.platform.jobs.submit("run-0/1", spec_of(proposal.action, proposal, own))
    case.platform.jobs.go_on(job_name("run-0/1"), Play(Phase.SUCCEEDED, exit_code=0))
    ended = await case.platform.decide()
    assert ended["outcome"] == outcome
    assert said in ended["reason"]
    assert len(case.platform.jobs.submissions) == 1


async def test_a_crash_right_after_the_submission_trains_once() -> None:
    case = await asked()
    case.platform.registry.disturb.before("set_alias")
    submit, calls = case.platform.jobs.submit, []

    async def dying(*arguments: Any) -> Any:
        calls.append(await submit(*arguments))
        if len(calls) == 1:
            raise TemporaryError("the connection broke right after it")
        return calls[-1]

    case.platform.jobs.submit = dying  # type: ignore[method-assign]
    await case.platform.decide()
    assert len(calls) == 2
    assert len(await case.platform.jobs.jobs()) == 1


async def test_it_is_looked_at_until_it_ends_and_told_how_far_it_is() -> None:
    case = await training()
    case.platform.jobs.go_on(JOB, Play(progress=Progress(fraction=0.4, eta_seconds=90)))
    ended = await case.platform.wake()
    assert "40%" in ended["verification"].reason
    assert "90 s" in ended["verification"].reason
    assert datetime.fromisoformat((await case.platform.waits_for("wait"))["until"]) == case.platform.clock.now() + timedelta(
        minutes=1
    )


async def test_a_better_candidate_is_proposed_for_a_rollout_in_the_same_run() -> None:
    case = await training()
    version = await evaluated(case)
    await case.platform.wake()
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert (proposal.action.version, proposal.action.from_version) == (version, "1")
    assert proposal.finding.cause is Cause.CANDIDATE_BETTER
    assert "+2.3%" in proposal.finding.summary
    assert (await case.platform.waits_for("approval"))["quorum"] == 1
    await case.platform.decide()
    assert await case.platform.weights() == {"1": 90, version: 10}
    assert await case.platform.registry.alias(MODEL, Alias.CHALLENGER) == version


async def touch_the_route(case: Drifted) -> None:
    """Somebody tries something by hand, and puts it back."""
    serving = case.platform.serving
    for weights, key in (({"1": 99, "2": 1}, "tried"), ({"1": 100}, "put back")):
        route = await serving.route(MODEL)
        await serving.set_weights(MODEL, weights, expected_generation=route.generation, key=key)


async def test_a_world_that_moves_while_the_rollout_is_asked_for_loses_no_candidate() -> None:
    case = await training()
    version = await evaluated(case)
    await case.platform.wake()
    await touch_the_route(case)
    await case.platform.decide(by=("alice", "bob"))
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert (proposal.id, proposal.action.version) == ("run-1/3", version)
    assert proposal.requested_by == "agent:promotion"


async def test_a_training_that_a_person_asked_for_is_not_done_again_when_the_world_moves() -> None:
    case = await drifted("concept_drift")
    case.platform.policies = POLICIES
    request = Request(kind="retrain", model=MODEL, by="carol", reason="new airport")
    await case.platform.start(to_alert(request, "trg", case.platform.clock.now()))
    await case.platform.decide()
    version = await evaluated(case)
    await case.platform.wake()
    await touch_the_route(case)
    await case.platform.decide(by=("alice", "bob"))
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert proposal.action.version == version
    assert [job.name for job in await case.platform.jobs.jobs()] == [evaluation_of(version), JOB]


@pytest.mark.parametrize(("won", "lost", "cause"), [(100, 240, Cause.CANDIDATE_WORSE), (120, 109, Cause.CANDIDATE_UNPROVEN)])
async def test_what_is_not_better_is_told_and_promotes_nothing(won: int, lost: int, cause: Cause) -> None:
    case = await training()
    await evaluated(case, won=won, lost=lost)
    ended = await case.platform.wake()
    assert ended["outcome"] == Outcome.NOTIFIED
    assert ended["proposal"].finding.cause is cause
    assert isinstance(ended["proposal"].action, Notify)
    assert await case.platform.weights() == {"1": 100}


@pytest.mark.parametrize(
    ("play", "said"),
    [
        (Play(Phase.FAILED, Reason.OUT_OF_MEMORY), "out of memory"),
        (Play(Phase.FAILED, Reason.EXIT_CODE, exit_code=3), "code 3"),
        (Play(Phase.FAILED, Reason.CANCELLED, detail="by ada"), "by ada"),
        (Play(Phase.SUCCEEDED), "registered no version"),
    ],
)
async def test_a_training_that_fails_goes_to_people_with_the_reason(play: Play, said: str) -> None:
    case = await training()
    case.platform.jobs.go_on(JOB, play)
    ended = await case.platform.wake()
    assert (ended["outcome"], said in ended["reason"]) == (Outcome.FAILED, True)


def request(case: Drifted, **values: Any) -> Alert:
    asked = Request(kind="retrain", model=MODEL, by="carol", reason="the new airport has opened", **values)
    return to_alert(asked, "trg", case.platform.clock.now())


async def test_what_a_person_asks_for_need_not_be_shown_to_help_and_is_approved_by_another() -> None:
    case = await drifted("none")
    case.platform.policies = POLICIES
    await case.platform.start(request(case))
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, Retrain)
    assert proposal.action.window_end - proposal.action.window_start == timedelta(days=29)
    assert proposal.requested_by == "carol"


async def test_broken_data_is_not_trained_on_whoever_asks() -> None:
    case = await drifted("data_quality")
    case.platform.policies = POLICIES
    await case.platform.start(request(case))
    assert isinstance((await case.platform.proposal()).action, QuarantineData)


async def test_one_training_at_a_time_and_a_pause_between_two() -> None:
    case = await training()
    other = case.platform
    other.run_id = "run-2"
    assert "being trained already" in (await other.start(case.alert()))["reason"]
    other.jobs.go_on(JOB, Play(Phase.FAILED, Reason.EXIT_CODE, exit_code=1))
    other.run_id = "run-3"
    ended = await other.start(case.alert())
    assert "policy lets 12 h pass" in ended["reason"]
    other.run_id = "run-4"
    await other.start(request(case))
    assert isinstance((await other.proposal()).action, Retrain)


async def both_look_before_either_begins(case: Drifted) -> None:
    """Two runs that ask for a training, and act at the same instant: each has seen no other when it goes on."""
    case.platform.run_id = "run-1"
    await case.run()
    case.platform.run_id = "run-2"
    await case.run()
    listed, both = case.platform.jobs.jobs, asyncio.Barrier(2)
    looked: list[object] = []

    async def together(**which: Any) -> Any:
        found = await listed(**which)
        if len(looked) < 2:
            looked.append(found)
            await both.wait()
        return found

    case.platform.jobs.jobs = together  # type: ignore[method-assign]


async def decided(platform: Platform, run_id: str) -> dict[str, Any]:
    config: Any = {"configurable": {"thread_id": run_id}, "recursion_limit": 200}
    (question,) = (await platform.graph.aget_state(config)).interrupts
    fingerprint = Proposal.model_validate(question.value["proposal"]).fingerprint
    said = Verdict(decision=Approve(), fingerprint=fingerprint, decided_by=("alice",), decided_at=platform.clock.now())
    step = Command(resume={question.id: said.model_dump(mode="json")})
    ended: dict[str, Any] = await platform.graph.ainvoke(step, config, context=platform.context, durability="sync")
    return ended


async def test_of_two_runs_that_act_at_the_same_instant_one_trains_and_the_other_is_told() -> None:
    case = await drifted("concept_drift")
    case.platform.policies = POLICIES
    await both_look_before_either_begins(case)
    ended = await asyncio.gather(*(decided(case.platform, run_id) for run_id in ("run-1", "run-2")))
    ((begun, _),) = case.platform.jobs.submissions
    (loser,) = [each for each in ended if "outcome" in each]
    assert loser["outcome"] == Outcome.NO_ACTION
    assert loser["reason"] == f"it is being trained already ({job_name(begun)})"
    (message,) = [message for _, message, key in case.platform.notify.sent if key == f"{loser['run_id']}/closing"]
    assert job_name(begun) in message.body


async def test_a_training_that_was_consolidated_has_not_failed() -> None:
    case = await training()
    await case.platform.jobs.cancel(JOB, reason=consolidated("oppen-other", "run-9/1"))
    ended = await case.platform.wake()
    assert ended["outcome"] == Outcome.NO_ACTION
    assert "consolidated into oppen-other" in ended["reason"]


async def test_a_training_that_somebody_cancels_has_failed_whatever_they_say() -> None:
    case = await training()
    await case.platform.jobs.cancel(JOB, reason=f"carol: {consolidated('oppen-other', 'run-9/1')}")
    assert (await case.platform.wake())["outcome"] == Outcome.FAILED


async def test_the_next_training_may_begin_when_the_first_is_over() -> None:
    case = await training()
    case.platform.jobs.go_on(JOB, Play(Phase.FAILED, Reason.EXIT_CODE, exit_code=1))
    await case.platform.wake()
    case.platform.run_id = "run-2"
    await case.platform.start(request(case))
    await case.platform.decide()
    assert [key for key, _ in case.platform.jobs.submissions] == ["run-1/1", "run-2/1"]


async def test_a_training_whose_end_nobody_saw_holds_up_no_other() -> None:
    case = await training()
    case.platform.jobs.go_on(JOB, Play(Phase.FAILED, Reason.LOST))
    case.platform.run_id = "run-2"
    await case.platform.start(request(case))
    await case.platform.decide()
    assert [key for key, _ in case.platform.jobs.submissions] == ["run-1/1", "run-2/1"]


SCHEDULED = {"by": "schedule:cron", "reason": "by its schedule, 0 3 * * 1"}
NEW_DATA = {"by": "schedule:new_data", "reason": "12,000 labelled predictions have come since the data of version 1 ended"}
BY_HAND = {"by": "carol", "reason": "the new airport has opened"}


def triggered(case: Drifted, asked: dict[str, str]) -> Alert:
    return to_alert(Request(kind="retrain", model=MODEL, **asked), "trg", case.platform.clock.now())  # type: ignore[arg-type]


@pytest.mark.parametrize("asked", [SCHEDULED, NEW_DATA, BY_HAND])
async def test_what_asks_for_a_training_is_its_reason(asked: dict[str, str]) -> None:
    case = await drifted("none")
    case.platform.policies = POLICIES
    await case.platform.start(triggered(case, asked))
    proposal = await case.platform.proposal()
    assert isinstance(proposal.action, Retrain)
    assert proposal.asked_by == (asked["by"] if asked is BY_HAND else "")
    recommended = (await case.platform.graph.aget_state(case.platform.config)).values["recommendation"]
    assert recommended.reason == f"{asked['by']} asks: {asked['reason']}"


@pytest.mark.parametrize("asked", [SCHEDULED, NEW_DATA, BY_HAND])
async def test_broken_data_is_not_trained_on_whatever_asks(asked: dict[str, str]) -> None:
    case = await drifted("data_quality")
    case.platform.policies = POLICIES
    await case.platform.start(triggered(case, asked))
    assert isinstance((await case.platform.proposal()).action, QuarantineData)


@pytest.mark.parametrize(("asked", "waits"), [(SCHEDULED, True), (NEW_DATA, True), (BY_HAND, False)])
async def test_the_cool_down_is_for_whom_nobody_stands_behind(asked: dict[str, str], waits: bool) -> None:
    case = await training()
    case.platform.jobs.go_on(JOB, Play(Phase.FAILED, Reason.EXIT_CODE, exit_code=1))
    case.platform.run_id = "run-2"
    ended = await case.platform.start(triggered(case, asked))
    assert ("policy lets 12 h pass" in ended.get("reason", "")) is waits
    assert waits or isinstance((await case.platform.proposal()).action, Retrain)


@pytest.mark.parametrize("asked", [SCHEDULED, NEW_DATA, BY_HAND])
async def test_what_asks_while_it_is_trained_is_told_and_trains_nothing(asked: dict[str, str]) -> None:
    case = await training()
    case.platform.run_id = "run-2"
    ended = await case.platform.start(triggered(case, asked))
    assert (ended["outcome"], JOB in ended["reason"]) == (Outcome.NO_ACTION, True)
    assert len(case.platform.jobs.submissions) == 1


@pytest.mark.parametrize("route", [{"weights": {"1": 90, "2": 10}}, {"weights": {"1": 100}, "shadow": {"2": 100}}])
@pytest.mark.parametrize(("asked", "waits"), [({}, True), (SCHEDULED, True), (NEW_DATA, True), (BY_HAND, False)])
async def test_beside_a_rollout_or_an_experiment_only_a_person_has_it_trained(
    asked: dict[str, str], waits: bool, route: dict[str, Any]
) -> None:
    """Its version could not be tried, and the training would be paid for in vain."""
    case = await drifted("concept_drift")
    case.platform.policies = POLICIES
    generation = (await case.platform.serving.route(MODEL)).generation
    await case.platform.serving.set_weights(MODEL, expected_generation=generation, key="begun", **route)
    ended = await case.platform.start(triggered(case, asked)) if asked else await case.run()
    if waits:
        assert (ended["outcome"], "version 2 shares its traffic" in ended["reason"]) == (Outcome.NO_ACTION, True)
    else:
        assert isinstance((await case.platform.proposal()).action, Retrain)


async def test_a_day_has_its_budget() -> None:
    case = await drifted("concept_drift")
    rules = Training(command=COMMAND, per_day=0)
    case.platform.policies = Policies(models={MODEL: ModelPolicy(training=rules)})
    ended = await case.platform.start(request(case))
    assert ended["outcome"] == Outcome.NOTIFIED
    assert "policy allows 0" in ended["reason"]


LONG_AWAY = POLICIES.training_of(MODEL).kept + timedelta(days=1)


async def test_a_training_that_ended_while_the_service_was_away_for_too_long_is_known_by_its_version() -> None:
    case = await training()
    version = made(case)
    case.platform.clock.pass_(LONG_AWAY)
    assert await case.platform.jobs.jobs() == ()
    ended = await case.platform.wake()
    assert (ended["candidate"], ended["specialist"]) == (version, "promotion")


async def test_a_training_that_is_forgotten_and_left_no_version_is_told() -> None:
    case = await training()
    case.platform.jobs.go_on(JOB, Play(Phase.SUCCEEDED, exit_code=0))
    case.platform.registry.publish(MODEL, tags={JOB_TAG: "another"})
    case.platform.clock.pass_(LONG_AWAY)
    assert await case.platform.jobs.jobs() == ()
    ended = await case.platform.wake()
    assert (ended["outcome"], JOB in ended["reason"]) == (Outcome.FAILED, True)


async def test_killed_right_after_the_submission_and_back_long_after_its_end_it_is_not_trained_again() -> None:
    case = await asked()
    platform, submit = case.platform, case.platform.jobs.submit

    async def dying(key: str, spec: JobSpec) -> Any:
        await submit(key, spec)
        raise Killed

    platform.jobs.submit = dying  # type: ignore[method-assign,assignment]
    with pytest.raises(Killed):
        await platform.decide()
    platform.jobs.submit = submit  # type: ignore[method-assign]
    version = made(case)
    platform.clock.pass_(LONG_AWAY)
    assert await platform.jobs.jobs() == ()
    await platform.go_on()
    ended = await platform.wake()
    assert [key for key, spec in platform.jobs.submissions if spec.command == COMMAND] == ["run-1/1"]
    assert ended["candidate"] == version


@pytest.mark.parametrize(("days", "outcome"), [(2, None), (4, Outcome.FAILED)])
async def test_a_registry_that_refuses_for_a_while_ends_no_training(days: int, outcome: Outcome | None) -> None:
    """Credentials that have run out: the registry answers 401."""
    case = await training()
    version, versions = made(case), case.platform.registry.versions

    async def refused(_: str) -> Any:
        raise PermanentError("MLflow: 401")

    case.platform.registry.versions = refused  # type: ignore[method-assign]
    ended = await case.platform.wake()
    assert ("outcome" in ended, "401" in ended["verification"].reason) == (False, True)
    case.platform.clock.pass_(timedelta(days=days))
    ended = await case.platform.wake()
    assert ended.get("outcome") == outcome
    if outcome is None:
        case.platform.registry.versions = versions  # type: ignore[method-assign]
        assert (await case.platform.wake())["candidate"] == version


async def test_a_cool_down_longer_than_trainings_are_kept_holds() -> None:
    case = await asked()
    rules = Training(command=COMMAND, team="growth", cooldown=timedelta(days=60), keep=timedelta(days=1))
    case.platform.policies = Policies(models={MODEL: ModelPolicy(training=rules)})
    await case.platform.decide()
    case.platform.jobs.go_on(JOB, Play(Phase.SUCCEEDED, exit_code=0))
    for day, held in ((59, True), (61, False)):
        now = (await case.platform.jobs.state(JOB)).submitted_at + timedelta(days=day)
        case.platform.clock.pass_(now - case.platform.clock.now())
        trainings = await case.platform.jobs.jobs(model=MODEL)
        assert (held_back(trainings, rules, now, by_person=False) is not None) is held


async def test_a_job_that_cannot_be_asked_about_ends_the_run_with_the_reason() -> None:
    platform = (await training()).platform

    async def refused(_: str) -> Any:
        raise PermanentError("no right to see jobs")

    platform.jobs.state = refused  # type: ignore[method-assign]
    ended = await platform.wake()
    assert (ended["outcome"], "no right to see jobs" in ended["reason"]) == (Outcome.FAILED, True)
