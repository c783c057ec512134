"""A candidate is evaluated by a job of the platform's own before anybody is asked; what its training says of it is shown, and
believed by nobody."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from agents.actions import Notify, Retrain, StartRollout
from agents.evaluation_job import EvaluationJob
from agents.evidence import Cause
from agents.examination import CONFIG, TRAFFIC
from agents.policies import Mode, ModelPolicy, Policies, Training
from agents.requests import Request, to_alert
from agents.training import JOB_TAG
from api.work.timeline import _lines
from graphs.state import Outcome
from tests.graphs.evaluations import evaluation_of, leave, measured
from tests.graphs.platform import HOUR, MODEL, Platform, healthy
from tests.graphs.test_drift_specialist import Drifted, drifted
from tests.twins.jobs import Play
from tools.errors import TemporaryError
from tools.jobs.port import JobSpec, Phase, Reason, job_name
from tools.registry.evaluations import KEY
from tools.registry.port import Alias
from tools.values import Window

TRAINING = Training(command=("python", "-m", "train"), team="growth", environment={"DATA": "here"})
JOB = job_name("run-1/1")
DONE = Play(Phase.SUCCEEDED, exit_code=0)


def policies(**rules: Any) -> Policies:
    return Policies(models={MODEL: ModelPolicy(training=TRAINING, evaluation=EvaluationJob(**rules))})


async def trained(**rules: Any) -> tuple[Drifted, str]:
    """A training has ended well, and the run has gone on."""
    case = await drifted("concept_drift")
    case.platform.policies = policies(**rules)
    await case.run()
    await case.platform.decide()
    version = case.platform.registry.publish(MODEL, tags={JOB_TAG: JOB})
    case.platform.jobs.go_on(JOB, DONE)
    return case, version


async def wanted(**rules: Any) -> Platform:
    """Somebody wants version 2 promoted."""
    platform = await healthy(policies=policies(**rules))
    request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="better on the new routes")
    await platform.start(to_alert(request, "trg", platform.clock.now()))
    return platform


async def test_after_a_training_the_platform_evaluates_with_a_key_of_its_own() -> None:
    case, version = await trained(source="/data/held-out.parquet", label="late", time="departed", groups=("carrier",))
    await case.platform.wake()
    (_, training), (_, spec) = case.platform.jobs.submissions
    assert spec.command == ("python", "-m", "pipelines", "evaluate")
    assert (KEY in spec.secrets, KEY in training.secrets) == (True, False)
    assert spec.environment["DATA"] == "here"
    asked, ordered = json.loads(spec.config[CONFIG]), json.loads(training.config["training.json"])
    assert (asked["candidate"], asked["champion"], asked["groups"]) == (version, "1", ["carrier"])
    assert Window(**asked["held_out"]) == Window(start=ordered["held_out_start"], end=ordered["window_end"])
    assert spec.config[TRAFFIC]
    assert len(spec.config[TRAFFIC]) < 900_000
    assert (await case.platform.waits_for("wait"))["until"]


async def test_a_training_that_says_it_went_well_is_not_believed() -> None:
    case, version = await trained()
    case.platform.registry.boast(MODEL, version, "1", measured(version, won=3_000, lost=0).model_dump_json())
    await case.platform.wake()
    leave(case.platform, version, measured(version, won=100, lost=240))
    case.platform.jobs.go_on(evaluation_of(version), DONE)
    ended = await case.platform.wake()
    assert (ended["outcome"], ended["proposal"].finding.cause) == (Outcome.NOTIFIED, Cause.CANDIDATE_WORSE)
    assert isinstance(ended["proposal"].action, Notify)
    assert await case.platform.weights() == {"1": 100}
    claim = next(each for each in ended["proposal"].finding.evidence if each.id.startswith("claim."))
    assert "Claimed by the training, and checked by nobody" in claim.statement


@pytest.mark.parametrize("how", ["unsigned", "by another key", "of other files", "beside other files", "of another version"])
async def test_what_is_not_the_platforms_own_proves_nothing(how: str) -> None:
    case, version = await trained()
    await case.platform.wake()
    good, registry = measured(version), case.platform.registry
    match how:
        case "unsigned":
            registry.evaluate(MODEL, version, "1", good.model_dump_json())
        case "by another key":
            leave(case.platform, version, good, key="somebody else's")
        case "of other files":
            leave(case.platform, version, good)
            registry.spoil(MODEL, version, "model.pt2", b"something else")
        case "beside other files":
            leave(case.platform, version, good)
            registry.spoil(MODEL, "1", "model.pt2", b"a champion that is easily beaten")
        case _:
            leave(case.platform, version, measured("2"))
    case.platform.jobs.go_on(evaluation_of(version), DONE)
    ended = await case.platform.wake()
    assert (ended["outcome"], ended["proposal"].finding.cause) == (Outcome.NOTIFIED, Cause.CANDIDATE_UNPROVEN)
    (missing,) = ended["proposal"].finding.missing
    assert missing.source == "registry"


@pytest.mark.parametrize(
    ("play", "said"),
    [
        (Play(Phase.FAILED, Reason.OUT_OF_MEMORY), "out of memory"),
        (Play(Phase.FAILED, Reason.CANCELLED, detail="ada: enough"), "ada: enough"),
        (Play(Phase.FAILED, Reason.EXIT_CODE, exit_code=1), "code 1"),
        (DONE, "No evaluation"),
    ],
)
async def test_an_evaluation_that_fails_leaves_the_candidate_unproven_and_people_told(play: Play, said: str) -> None:
    case, version = await trained()
    await case.platform.wake()
    case.platform.jobs.go_on(evaluation_of(version), play)
    ended = await case.platform.wake()
    assert (ended["outcome"], ended["proposal"].finding.cause) == (Outcome.NOTIFIED, Cause.CANDIDATE_UNPROVEN)
    assert said in ended["proposal"].finding.summary
    assert await case.platform.weights() == {"1": 100}


async def test_a_training_that_a_person_asked_for_rolls_nothing_out_that_is_unproven() -> None:
    case = await drifted("none")
    case.platform.policies = policies()
    request = Request(kind="retrain", model=MODEL, by="carol", reason="the new airport")
    await case.platform.start(to_alert(request, "trg", case.platform.clock.now()))
    await case.platform.decide()
    version = case.platform.registry.publish(MODEL, tags={JOB_TAG: JOB})
    case.platform.jobs.go_on(JOB, DONE)
    await case.platform.wake()
    case.platform.jobs.go_on(evaluation_of(version), Play(Phase.FAILED, Reason.LOST))
    assert (await case.platform.wake())["outcome"] == Outcome.NOTIFIED


async def test_it_is_looked_at_until_it_ends() -> None:
    case, version = await trained()
    await case.platform.wake()
    for _ in range(3):
        await case.platform.wake()
        assert (await case.platform.jobs.state(evaluation_of(version))).phase is Phase.RUNNING
    leave(case.platform, version, measured(version))
    case.platform.jobs.go_on(evaluation_of(version), DONE)
    await case.platform.wake()
    assert isinstance((await case.platform.proposal()).action, StartRollout)
    assert len(case.platform.jobs.submissions) == 2


async def test_a_crash_around_its_submission_makes_one_job() -> None:
    case, version = await trained()
    platform, submit, calls = case.platform, case.platform.jobs.submit, []

    async def dying(key: str, spec: JobSpec) -> Any:
        calls.append(await submit(key, spec))
        if len(calls) < 3:
            # Labels have come meanwhile: the same key, and another spec.
            platform.traffic("1", HOUR)
            raise TemporaryError("the connection broke right after it")
        return calls[-1]

    platform.jobs.submit = dying  # type: ignore[method-assign]
    await platform.wake()
    assert [job.name for job in await platform.jobs.jobs()] == [evaluation_of(version), JOB]
    assert await platform.waits_for("wait")


async def test_a_champion_that_moved_meanwhile_is_another_evaluation() -> None:
    case, version = await trained()
    await case.platform.wake()
    await case.platform.move("2")
    await case.platform.wake()
    other = evaluation_of(version, "2")
    assert (await case.platform.jobs.state(other)).phase is Phase.RUNNING
    leave(case.platform, version, measured(version, "2"))
    case.platform.jobs.go_on(other, DONE)
    await case.platform.wake()
    action = (await case.platform.proposal()).action
    assert isinstance(action, StartRollout)
    assert (action.version, action.from_version) == (version, "2")


@pytest.mark.parametrize("made_here", [True, False])
async def test_in_mode_observe_nothing_is_evaluated_and_the_candidate_waits(made_here: bool) -> None:
    """The kill switch, thrown in the minute in which a training ends, throws nothing away."""
    if made_here:
        case, version = await trained()
        platform, before = case.platform, 1
        platform.mode = Mode.OBSERVE
        waits = await platform.wake()
    else:
        platform, version, before = await healthy(policies=policies()), "2", 0
        platform.mode = Mode.OBSERVE
        request = Request(kind="promote", model=MODEL, version=version, by="carol", reason="better on the new routes")
        waits = await platform.start(to_alert(request, "trg", platform.clock.now()))
    for _ in range(3):
        assert (await platform.waits_for("wait"))["until"]
        assert not any(told.name.startswith("evaluation.") for told in _lines(waits))  # type: ignore[arg-type]
        waits = await platform.wake()
    assert len(platform.jobs.submissions) == before
    platform.mode = Mode.PROPOSE
    await platform.wake()
    assert (await platform.jobs.jobs())[0].name == evaluation_of(version)
    leave(platform, version, measured(version))
    platform.jobs.go_on(evaluation_of(version), DONE)
    await platform.wake()
    assert isinstance((await platform.proposal()).action, StartRollout)


async def test_an_evaluation_that_was_begun_is_followed_under_the_kill_switch() -> None:
    case, version = await trained()
    await case.platform.wake()
    case.platform.mode = Mode.OBSERVE
    leave(case.platform, version, measured(version))
    case.platform.jobs.go_on(evaluation_of(version), DONE)
    ended = await case.platform.wake()
    assert ended["proposal"].finding.cause is Cause.CANDIDATE_BETTER


async def test_without_rows_and_without_a_command_it_is_said_why() -> None:
    for rules, said in (({"recent": "0s"}, "policy names no source"), ({"command": None}, "policy names no evaluation")):
        case, _ = await trained(**rules)
        ended = await case.platform.wake()
        assert said in ended["proposal"].finding.summary
        assert len(case.platform.jobs.submissions) == 1


async def test_what_somebody_wants_promoted_is_evaluated_first() -> None:
    platform = await wanted()
    assert platform.jobs.submissions[0][1].config[TRAFFIC]
    leave(platform, "2", measured("2"))
    platform.jobs.go_on(evaluation_of("2"), DONE)
    await platform.wake()
    proposal = await platform.proposal()
    assert isinstance(proposal.action, StartRollout)
    assert proposal.finding.cause is Cause.CANDIDATE_BETTER
    await platform.decide()
    assert await platform.registry.alias(MODEL, Alias.CHALLENGER) == "2"


async def test_what_has_been_evaluated_is_not_evaluated_again() -> None:
    platform = await healthy(policies=policies())
    leave(platform, "2", measured("2"))
    request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="now")
    await platform.start(to_alert(request, "trg", platform.clock.now()))
    assert isinstance((await platform.proposal()).action, StartRollout)
    assert platform.jobs.submissions == []


async def test_an_evaluation_that_has_grown_old_is_made_anew_and_proves_nothing_by_itself() -> None:
    platform = await healthy(policies=policies(good_for="7d"))
    now = platform.clock.now()
    # When it ran by its machine's clock says nothing of how old its rows are.
    leave(platform, "2", measured("2", asked_at=now - timedelta(days=7), measured_at=now))
    request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="now")
    await platform.start(to_alert(request, "trg", now))
    ((_, spec),) = platform.jobs.submissions
    assert datetime.fromisoformat(json.loads(spec.config[CONFIG])["asked_at"]) == now
    platform.jobs.go_on(evaluation_of("2"), Play(Phase.FAILED, Reason.LOST))
    await platform.wake()
    finding = (await platform.proposal()).finding
    assert finding.cause is Cause.CANDIDATE_UNPROVEN
    assert "evaluated 7 days ago, and policy lets that stand for 7 days: its evaluation failed" in finding.summary


async def test_a_young_evaluation_stands_whatever_the_clock_of_its_machine_said() -> None:
    platform = await healthy(policies=policies())
    now = platform.clock.now()
    leave(platform, "2", measured("2", asked_at=now - timedelta(days=6), measured_at=now - timedelta(days=600)))
    request = Request(kind="promote", model=MODEL, version="2", by="carol", reason="now")
    await platform.start(to_alert(request, "trg", now))
    assert isinstance((await platform.proposal()).action, StartRollout)
    assert platform.jobs.submissions == []


async def test_an_evaluation_is_no_training() -> None:
    """It neither keeps one from beginning nor is counted in the day's."""
    platform = await wanted()
    platform.run_id = "run-2"
    request = Request(kind="retrain", model=MODEL, by="dora", reason="the new airport")
    await platform.start(to_alert(request, "trg-2", platform.clock.now()))
    assert isinstance((await platform.proposal()).action, Retrain)


async def test_people_read_that_it_has_begun_and_how_it_ended() -> None:
    case, version = await trained()
    begun = await case.platform.wake()
    assert "evaluation.begun" in {told.name for told in _lines(begun)}  # type: ignore[arg-type]
    case.platform.jobs.go_on(evaluation_of(version), Play(Phase.FAILED, Reason.LOST))
    told = {told.name: told.data for told in _lines(await case.platform.wake())}  # type: ignore[arg-type]
    assert told["evaluation.ended"]["job"] == evaluation_of(version)
    assert "lost" in told["evaluation.ended"]["reason"]
