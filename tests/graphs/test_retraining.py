"""From a drift to a training, from the training to a candidate, from there to a rollout, or to people."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from agents.actions import Notify, QuarantineData, Retrain, StartRollout
from agents.alerts import Alert
from agents.evidence import Cause
from agents.policies import ModelPolicy, Policies, Training
from agents.requests import Request, to_alert
from agents.training import JOB_TAG
from graphs.state import Outcome
from tests.graphs.platform import MODEL
from tests.graphs.test_drift_specialist import Drifted, drifted
from tests.twins.jobs import Play
from tools.errors import PermanentError, TemporaryError
from tools.jobs.port import Phase, Progress, Reason, job_name
from tools.registry.evaluations import CHECKS, Compared, Discordance, Evaluation, Facts, StagingCheck
from tools.registry.port import Alias

COMMAND = ("python", "-m", "train")
POLICIES = Policies(models={MODEL: ModelPolicy(training=Training(command=COMMAND, team="growth"))})
JOB = job_name("run-1/1")


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


def made(case: Drifted, *, won: int = 226, lost: int = 109) -> str:
    """The job has ended well: a version, and what it is worth beside version 1."""
    platform, rows = case.platform, 6_000
    version = platform.registry.publish(MODEL, tags={JOB_TAG: JOB})
    fact = Compared(
        name="accuracy",
        window="held_out",
        candidate=(5_142 + won - lost) / rows,
        champion=5_142 / rows,
        rows=rows,
        discordance=Discordance(only_candidate_right=won, only_champion_right=lost),
    )
    evaluation = Evaluation(
        model=MODEL,
        version=version,
        champion="1",
        held_out=case.current,
        recent=None,
        facts=Facts(compared=(fact,)),
        staging=tuple(StagingCheck(name=name, ok=True, reason="looked at") for name in CHECKS),
        measured_at=platform.clock.now(),
    )
    platform.registry.evaluate(MODEL, version, "1", evaluation.model_dump_json())
    platform.jobs.go_on(JOB, Play(Phase.SUCCEEDED, exit_code=0))
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
    version = made(case)
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


@pytest.mark.parametrize(("won", "lost", "cause"), [(100, 240, Cause.CANDIDATE_WORSE), (120, 109, Cause.CANDIDATE_UNPROVEN)])
async def test_what_is_not_better_is_told_and_promotes_nothing(won: int, lost: int, cause: Cause) -> None:
    case = await training()
    made(case, won=won, lost=lost)
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


async def test_a_day_has_its_budget() -> None:
    case = await drifted("concept_drift")
    rules = Training(command=COMMAND, per_day=0)
    case.platform.policies = Policies(models={MODEL: ModelPolicy(training=rules)})
    ended = await case.platform.start(request(case))
    assert ended["outcome"] == Outcome.NOTIFIED
    assert "policy allows 0" in ended["reason"]


async def test_a_job_that_cannot_be_asked_about_ends_the_run_with_the_reason() -> None:
    platform = (await training()).platform

    async def refused(_: str) -> Any:
        raise PermanentError("no right to see jobs")

    platform.jobs.state = refused  # type: ignore[method-assign]
    ended = await platform.wake()
    assert (ended["outcome"], "no right to see jobs" in ended["reason"]) == (Outcome.FAILED, True)
