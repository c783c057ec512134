"""What people ask for, what they order about rollouts, and trainings under way, over HTTP."""

from datetime import timedelta
from typing import Any

import pytest

from agents.actions import Promote, Rollback, StartRollout
from agents.promotion_rules import Rollouts
from agents.proposals import Receipt
from agents.requests import request_of
from agents.unread import asks_back
from api.store import alerts, approvals, audit, events, incidents, rollouts, runs
from api.store.actions import ActionLedger
from api.work.following import Joined
from api.work.progress import Progress
from tests.databases import BACKENDS
from tests.e2e.bodies import refused
from tests.e2e.running import Platform
from tests.e2e.terminal import Terminal
from tests.twins.jobs import Play, TwinJobs
from tests.work.cases import ask, proposal
from tools.jobs.port import MIB, JobSpec, Phase, Resources

MODEL = "flights"


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(f"{request.param.replace('postgresql', 'postgres')}_database_url")
    return url


@pytest.fixture(autouse=True)
def versions(platform: Platform) -> None:
    for _ in range(2):
        platform.registry.publish(MODEL)


async def test_what_is_asked_for_opens_an_incident_and_starts_at_once(platform: Platform) -> None:
    body = {"model": MODEL, "version": "2", "reason": "better on the new routes"}
    answer = await platform.operator.post("/v1/triggers/promote", json=body)
    assert answer.status_code == 202
    told = answer.json()
    assert told["joined"] is False
    assert len(platform.dispatches.runs) == 1
    async with platform.database.read() as session:
        found = [alerts.to_alert(each) for each in await alerts.of_incident(session, told["incident_id"])]
        (run,) = await runs.of_incident(session, told["incident_id"])
    request = request_of(found)
    assert request is not None
    assert (request.kind, request.model, request.version, request.by) == ("promote", MODEL, "2", "some-operator")
    assert run.due_at == platform.clock.now()


async def test_a_second_request_joins_the_first(platform: Platform) -> None:
    body = {"model": MODEL, "reason": "now"}
    first = (await platform.operator.post("/v1/triggers/retrain", json=body)).json()
    second = (await platform.operator.post("/v1/triggers/check", json=body)).json()
    assert (second["incident_id"], second["joined"]) == (first["incident_id"], True)


async def test_the_same_request_again_is_answered_again(platform: Platform) -> None:
    body, key = {"model": MODEL, "reason": "now"}, {"Idempotency-Key": "k-1"}
    first = await platform.operator.post("/v1/triggers/check", json=body, headers=key)
    again = await platform.operator.post("/v1/triggers/check", json=body, headers=key)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")
    async with platform.database.read() as session:
        assert len((await incidents.page(session)).items) == 1


async def test_what_is_held_by_people_does_not_swallow_a_request(platform: Platform) -> None:
    body = {"model": MODEL, "reason": "now"}
    first = (await platform.operator.post("/v1/triggers/check", json=body)).json()["incident_id"]
    async with platform.database.begin() as transaction:
        await incidents.close(transaction, first, "escalated", at=platform.clock.now())
    platform.clock.pass_(timedelta(minutes=1))
    assert (await platform.operator.post("/v1/triggers/check", json=body)).json()["incident_id"] != first


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/triggers/check", {"model": "nothing", "reason": "r"}, 404),
        ("/v1/triggers/promote", {"model": MODEL, "version": "9", "reason": "r"}, 404),
        ("/v1/triggers/retrain", {"model": MODEL}, 422),
        ("/v1/triggers/retrain", {"model": MODEL, "reason": "r", "window_start": "2026-01-01T00:00:00Z"}, 422),
        ("/v1/models/nothing/rollback", {"reason": "r"}, 404),
    ],
)
async def test_what_cannot_be_asked_for_is_said(platform: Platform, path: str, body: dict[str, Any], status: int) -> None:
    answer = await platform.operator.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["status"] == status


async def test_viewers_ask_for_nothing(platform: Platform) -> None:
    refused(await platform.viewer.post("/v1/triggers/check", json={"model": MODEL, "reason": "r"}), 403, "forbidden")


async def test_a_rollback_is_asked_for_by_its_model(platform: Platform) -> None:
    answer = await platform.operator.post(f"/v1/models/{MODEL}/rollback", json={"reason": "complaints"})
    async with platform.database.read() as session:
        found = [alerts.to_alert(each) for each in await alerts.of_incident(session, answer.json()["incident_id"])]
    request = request_of(found)
    assert request is not None
    assert (request.kind, request.version) == ("rollback", None)


async def rolling(platform: Platform) -> tuple[str, str]:
    """A rollout in progress: its id, and its run's, which waits for the next look."""
    told = (await platform.operator.post("/v1/triggers/check", json={"model": MODEL, "reason": "r"})).json()
    now = platform.clock.now()
    action = StartRollout(model=MODEL, from_version="1", version="2", stages=Rollouts().stages)
    async with platform.database.begin() as transaction:
        (run,) = await runs.of_incident(transaction, told["incident_id"])
        row = {
            "proposal_id": f"{run.id}/1",
            "run_id": run.id,
            "incident_id": told["incident_id"],
            "model": MODEL,
            "version": "2",
            "from_version": "1",
            "status": "running",
            "stages": [each.model_dump(mode="json") for each in action.stages],
            "stage": 0,
            "stage_since": now,
            "look": None,
            "reason": "",
            "began_at": now,
        }
        await rollouts.keep(transaction, row, at=now)
        await runs.take(transaction, run.id, runs.START, at=now)
        await runs.wait_until(transaction, run.id, "i-1", now + timedelta(hours=1), at=now)
    return str((await platform.viewer.get("/v1/rollouts")).json()["items"][0]["id"]), run.id


async def ask_on(platform: Platform, rollout: str, run_id: str) -> str:
    """Let the run of a rollout ask whether it goes on; the question's id."""
    shown = (await platform.viewer.get(f"/v1/rollouts/{rollout}")).json()
    about = proposal(shown["incident_id"], run_id, attempt=2)
    return (await ask(platform.database, platform.services.approvals, platform.clock, about)).id


async def test_an_order_is_kept_told_and_looked_at_at_once(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    platform.dispatches.runs.clear()
    answer = await platform.operator.post(f"/v1/rollouts/{rollout}/pause", json={"reason": "a call"})
    assert (answer.status_code, answer.json()["ordered"], answer.json()["ordered_by"]) == (200, "pause", "some-operator")
    assert platform.dispatches.runs == [run_id]
    order = await platform.services.rollouts.standing(run_id)
    assert order is not None
    assert (order.kind, order.reason) == ("pause", "a call")
    async with platform.database.read() as session:
        run = await runs.get(session, run_id)
        told = [event.name for event in await events.after(session, answer.json()["incident_id"], 0, limit=50)]
        audited = [line.action for line in (await audit.page(session, limit=50)).items]
    assert run is not None
    assert (run.status, run.event.startswith("order:")) == ("queued", True)
    assert "rollout.paused" in told
    assert "rollout.paused" in audited
    await platform.operator.post(f"/v1/rollouts/{rollout}/resume", json={"reason": "the call is over"})
    assert await platform.services.rollouts.standing(run_id) is None


async def test_a_rollback_that_meets_a_rollout_ends_it(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    platform.dispatches.runs.clear()
    path, body, key = f"/v1/models/{MODEL}/rollback", {"reason": "it is on fire"}, {"Idempotency-Key": "k-1"}
    answer = await platform.operator.post(path, json=body, headers=key)
    assert answer.status_code == 202
    assert (answer.json()["joined"], answer.json()["aborts"]) == (True, rollout)
    assert platform.dispatches.runs == [run_id]
    order = await platform.services.rollouts.standing(run_id)
    assert order is not None
    assert (order.kind, order.by, order.reason) == ("abort", "some-operator", "it is on fire")
    async with platform.database.read() as session:
        run = await runs.get(session, run_id)
    assert run is not None
    assert (run.status, run.event.startswith("order:")) == ("queued", True)
    assert (await platform.operator.post(path, json=body, headers=key)).json() == answer.json()
    refused(await platform.operator.post(path, json=body), 409, "conflict")


async def test_a_rollback_to_another_version_than_a_rollouts_champion_is_refused(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    answer = await platform.operator.post(f"/v1/models/{MODEL}/rollback", json={"version": "2", "reason": "r"})
    refused(answer, 409, "conflict")
    assert rollout in answer.json()["detail"]
    assert await platform.services.rollouts.standing(f"{run_id}/1") is None


async def test_at_a_prompt_a_rollback_that_ends_a_rollout_says_so(platform: Platform) -> None:
    rollout, _ = await rolling(platform)
    said = await Terminal(platform, "operator").run("models", "rollback", MODEL, "--reason", "r")
    assert f"{rollout} is under way, and is ended" in said.stdout


async def verifying(platform: Platform, path: str, body: dict[str, Any]) -> str:
    """An incident whose run has done what was asked for, and looks whether it holds."""
    incident: str = (await platform.operator.post(path, json=body)).json()["incident_id"]
    now = platform.clock.now()
    async with platform.database.begin() as transaction:
        (run,) = await runs.of_incident(transaction, incident)
        await runs.take(transaction, run.id, runs.START, at=now)
        await runs.wait_until(transaction, run.id, "i-1", now + timedelta(hours=1), at=now)
        await incidents.move(transaction, incident, "verifying", at=now)
    platform.clock.pass_(timedelta(minutes=1))
    return incident


PROMOTED = ("/v1/triggers/promote", {"model": MODEL, "version": "2", "reason": "r"})
REVIEWED = ("/v1/triggers/cost-review", {"model": MODEL, "reason": "r"})
"""Its incident is not the model's, and what it has promoted is taken back all the same."""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"/v1/models/{MODEL}/rollback", {"reason": "it is on fire"}),
        ("/v1/triggers/retrain", {"model": MODEL, "reason": "r"}),
        ("/v1/triggers/promote", {"model": MODEL, "version": "1", "reason": "r"}),
    ],
)
async def test_what_an_open_incident_would_not_read_is_refused(platform: Platform, path: str, body: dict[str, Any]) -> None:
    incident = await verifying(platform, *PROMOTED)
    answer = await platform.operator.post(path, json=body)
    refused(answer, 409, "conflict")
    assert incident in answer.json()["detail"]
    assert "done by hand" in answer.json()["detail"]
    async with platform.database.read() as session:
        assert len(await alerts.of_incident(session, incident)) == 1


async def watched(
    platform: Platform, done: Promote | Rollback, undo: Rollback, asked: tuple[str, dict[str, Any]] = PROMOTED
) -> tuple[str, str]:
    """An incident whose run has carried that out; its incident, and the key of what was done."""
    incident = await verifying(platform, *asked)
    async with platform.database.read() as session:
        (run,) = await runs.of_incident(session, incident)
    ledger, now = ActionLedger(platform.database, platform.clock), platform.clock.now()
    about = proposal(incident, run.id).model_copy(update={"action": done})
    before, _ = await ledger.intend(about, about.state)
    receipt = Receipt(key=about.id, action=done, before=before, after=before, undo=undo, started_at=now, finished_at=now)
    await ledger.complete(receipt)
    platform.dispatches.runs.clear()
    return incident, about.id


PROMOTE = Promote(model=MODEL, from_version="1", version="2")
BACK = Rollback(model=MODEL, from_version="2", to_version="1")


@pytest.mark.parametrize(("version", "asked"), [(None, PROMOTED), ("1", PROMOTED), (None, REVIEWED)])
async def test_a_rollback_that_meets_a_promotion_that_is_watched_is_the_undo_of_it(
    platform: Platform, version: str | None, asked: tuple[str, dict[str, Any]]
) -> None:
    incident, key = await watched(platform, PROMOTE, BACK, asked)
    body = {"reason": "it is on fire"} | ({"version": version} if version else {})
    answer = await platform.operator.post(f"/v1/models/{MODEL}/rollback", json=body)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["incident_id"], told["joined"], told["undoes"], told["aborts"]) == (incident, True, key, None)
    run_id = key.split("/")[0]
    assert platform.dispatches.runs == [run_id]
    async with platform.database.read() as session:
        run = await runs.get(session, run_id)
    assert run is not None
    assert (run.status, run.event.startswith("order:")) == ("queued", True)
    (unread,) = [each for each in await Joined(platform.database).unread(run_id) if asks_back(each)]
    assert request_of([unread]) is not None


@pytest.mark.parametrize(
    ("done", "undo", "version"),
    [
        (PROMOTE, BACK, "2"),  # not where its undo leads
        (BACK, Rollback(model=MODEL, from_version="1", to_version="2"), None),  # asked for twice, it is no roll forward
    ],
)
async def test_a_rollback_that_is_not_the_undo_of_what_is_watched_is_refused(
    platform: Platform, done: Any, undo: Rollback, version: str | None
) -> None:
    incident, _ = await watched(platform, done, undo)
    body = {"reason": "r"} | ({"version": version} if version else {})
    answer = await platform.operator.post(f"/v1/models/{MODEL}/rollback", json=body)
    refused(answer, 409, "conflict")
    assert incident in answer.json()["detail"]
    assert platform.dispatches.runs == []


async def test_at_a_prompt_a_rollback_that_undoes_says_so(platform: Platform) -> None:
    _, key = await watched(platform, PROMOTE, BACK)
    said = await Terminal(platform, "operator").run("models", "rollback", MODEL, "--reason", "r")
    assert f"{key} is taken back" in said.stdout


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (PROMOTED, PROMOTED),
        (PROMOTED, ("/v1/triggers/check", {"model": MODEL, "reason": "r"})),
        (("/v1/triggers/retrain", {"model": MODEL, "reason": "r"}),) * 2,
    ],
)
async def test_what_an_open_incident_comes_to_anyway_joins_it(platform: Platform, first: Any, second: Any) -> None:
    incident = await verifying(platform, *first)
    answer = await platform.operator.post(second[0], json=second[1])
    assert (answer.status_code, answer.json()["incident_id"], answer.json()["joined"]) == (202, incident, True)


async def test_an_incident_that_has_not_begun_reads_what_is_asked_for_and_a_check_takes_nothing_from_it(
    platform: Platform,
) -> None:
    incident = (await platform.operator.post("/v1/triggers/check", json={"model": MODEL, "reason": "r"})).json()["incident_id"]
    for path, body in (PROMOTED, ("/v1/triggers/check", {"model": MODEL, "reason": "r"})):
        platform.clock.pass_(timedelta(seconds=1))
        assert (await platform.operator.post(path, json=body)).json()["incident_id"] == incident
    async with platform.database.read() as session:
        request = request_of([alerts.to_alert(each) for each in await alerts.of_incident(session, incident)])
    assert request is not None
    assert request.kind == "promote"


async def test_an_abort_stands(platform: Platform) -> None:
    rollout, _ = await rolling(platform)
    await platform.operator.post(f"/v1/rollouts/{rollout}/abort", json={"reason": "complaints"})
    refused(await platform.operator.post(f"/v1/rollouts/{rollout}/resume", json={"reason": "or not"}), 409, "conflict")
    assert (await platform.viewer.get(f"/v1/rollouts/{rollout}")).json()["ordered"] == "abort"


async def test_what_is_over_takes_no_orders(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    now = platform.clock.now()
    async with platform.database.begin() as transaction:
        record = await rollouts.of_proposal(transaction, f"{run_id}/1")
        assert record is not None
        row = {name: getattr(record, name) for name in ("proposal_id", "run_id", "incident_id", "model", "version")}
        more = {name: getattr(record, name) for name in ("from_version", "stages", "stage", "stage_since", "look", "began_at")}
        await rollouts.keep(transaction, {**row, **more, "status": "promoted", "reason": "all stages passed"}, at=now)
    answer = await platform.operator.post(f"/v1/rollouts/{rollout}/abort", json={"reason": "too late"})
    refused(answer, 409, "conflict")
    assert (await platform.viewer.get("/v1/rollouts?open=true")).json()["items"] == []


async def test_a_rollout_whose_run_broke_is_left_and_takes_no_orders(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    async with platform.database.read() as session:
        run = await runs.get(session, run_id)
    assert run is not None
    await Progress(platform.database, platform.services.approvals, platform.clock).fail(run, "ValueError: no such column")
    shown = (await platform.viewer.get(f"/v1/rollouts/{rollout}")).json()
    assert (shown["status"], shown["reason"]) == ("left", "its run broke: ValueError: no such column")
    refused(await platform.operator.post(f"/v1/rollouts/{rollout}/abort", json={"reason": "now"}), 409, "conflict")


async def test_an_order_to_abort_ends_the_question_whether_it_goes_on(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    asked = await ask_on(platform, rollout, run_id)
    platform.dispatches.runs.clear()
    answer = await platform.operator.post(f"/v1/rollouts/{rollout}/abort", json={"reason": "complaints"})
    assert (answer.status_code, platform.dispatches.runs) == (200, [run_id])
    async with platform.database.read() as session:
        run, question = await runs.get(session, run_id), await approvals.get(session, asked)
    assert run is not None
    assert question is not None
    assert (run.status, run.event) == ("queued", f"decision:{asked}")
    assert (question.status, question.verdict and question.verdict["decided_by"]) == ("superseded", ["some-operator"])


async def test_a_run_that_has_ended_takes_no_orders(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    async with platform.database.begin() as transaction:
        await runs.end(transaction, run_id, "failed", at=platform.clock.now(), error="as an earlier release left it")
    refused(await platform.operator.post(f"/v1/rollouts/{rollout}/abort", json={"reason": "now"}), 409, "conflict")


async def test_an_order_goes_with_the_rollout_that_goes_on(platform: Platform) -> None:
    rollout, run_id = await rolling(platform)
    await platform.operator.post(f"/v1/rollouts/{rollout}/pause", json={"reason": "a call"})
    async with platform.database.begin() as transaction:
        record = await rollouts.of_proposal(transaction, f"{run_id}/1")
        assert record is not None
        columns = (
            "run_id",
            "incident_id",
            "model",
            "version",
            "from_version",
            "status",
            "stages",
            "stage",
            "stage_since",
            "look",
        )
        row = {name: getattr(record, name) for name in (*columns, "reason", "began_at")}
        await rollouts.keep(transaction, {**row, "proposal_id": f"{run_id}/2"}, at=platform.clock.now())
    order = await platform.services.rollouts.standing(run_id)
    assert order is not None
    assert (order.kind, order.by, order.reason) == ("pause", "some-operator", "a call")
    (going_on,) = (await platform.viewer.get("/v1/rollouts?open=true")).json()["items"]
    await platform.operator.post(f"/v1/rollouts/{going_on['id']}/resume", json={"reason": "the call is over"})
    assert await platform.services.rollouts.standing(run_id) is None


async def test_rollouts_that_are_not_there(platform: Platform) -> None:
    refused(await platform.viewer.get("/v1/rollouts/rol_nothing"), 404, "not-found")
    refused(await platform.operator.post("/v1/rollouts/rol_nothing/abort", json={"reason": "r"}), 404, "not-found")


async def test_at_a_prompt_a_rollout_is_listed_shown_and_ordered_about(platform: Platform) -> None:
    rollout, _ = await rolling(platform)
    terminal = Terminal(platform, "operator")
    assert [each["id"] for each in (await terminal.json("rollouts", "list", "--open"))["items"]] == [rollout]
    assert "flights 2 beside 1, 10%" in (await terminal.run("rollouts", "show", rollout)).stdout
    for command, ordered in (("pause", "pause"), ("resume", None), ("abort", "abort")):
        assert (await terminal.json("rollouts", command, rollout, "--reason", "a call"))["ordered"] == ordered


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("check", MODEL), "check"),
        (("retrain", MODEL), "retrain"),
        (("promote", MODEL, "2"), "promote"),
        (("rollback", MODEL), "rollback"),
    ],
)
async def test_at_a_prompt_things_are_asked_for(platform: Platform, words: tuple[str, ...], kind: str) -> None:
    told = await Terminal(platform, "operator").json("models", *words, "--reason", "r")
    async with platform.database.read() as session:
        request = request_of([alerts.to_alert(each) for each in await alerts.of_incident(session, told["incident_id"])])
    assert request is not None
    assert (request.kind, request.by) == (kind, "some-operator")


async def submitted(platform: Platform) -> tuple[TwinJobs, str]:
    jobs = platform.services.jobs
    assert isinstance(jobs, TwinJobs)
    spec = JobSpec(
        model=MODEL,
        team="airports",
        run_id="run-1",
        command=("train",),
        resources=Resources(cpu=1, memory_bytes=64 * MIB),
        deadline=timedelta(hours=1),
    )
    return jobs, (await jobs.submit("run-1/1", spec)).name


async def test_at_a_prompt_a_job_is_listed_shown_read_and_cancelled(platform: Platform) -> None:
    jobs, name = await submitted(platform)
    jobs.go_on(name, Play(lines=("one", "two")))
    terminal = Terminal(platform, "operator")
    assert [each["name"] for each in (await terminal.json("jobs", "list", "--model", MODEL))["items"]] == [name]
    assert f"{name}  running" in (await terminal.run("jobs", "show", name)).stdout
    assert (await terminal.json("jobs", "logs", name, "--tail", "1"))["items"] == ["two"]
    assert (await terminal.json("jobs", "cancel", name, "--reason", "wrong data"))["reason"] == "cancelled"


async def test_jobs_are_listed_read_and_cancelled(platform: Platform) -> None:
    jobs, name = await submitted(platform)
    jobs.go_on(name, Play(lines=("one", "two")))
    assert [each["name"] for each in (await platform.viewer.get("/v1/jobs?model=flights")).json()["items"]] == [name]
    assert (await platform.viewer.get(f"/v1/jobs/{name}/logs?tail=1")).json() == {"items": ["two"]}
    shown = (await platform.viewer.get(f"/v1/jobs/{name}")).json()
    assert (shown["phase"], shown["usage"]["wall_seconds"]) == ("running", 0.0)
    refused(await platform.viewer.post(f"/v1/jobs/{name}/cancel", json={"reason": "r"}), 403, "forbidden")
    answer = await platform.operator.post(f"/v1/jobs/{name}/cancel", json={"reason": "wrong data"})
    told = answer.json()
    assert (answer.status_code, told["reason"], told["detail"]) == (202, "cancelled", "some-operator: wrong data")
    assert (await jobs.state(name)).phase is Phase.FAILED
    for name in ("nothing", "a%00b", "x" * 300):
        refused(await platform.viewer.get(f"/v1/jobs/{name}"), 404, "not-found")
