"""The command line over the same API: results on stdout, words about what is wrong, and exit codes."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from agents.policies import Mode, Policies
from api.cli import app
from tests.e2e.running import Platform
from tests.e2e.terminal import Terminal
from tests.work.cases import Asked, asked, declined


@pytest.fixture
async def question(platform: Platform) -> Asked:
    return await asked(platform.database, platform.services.approvals, platform.clock)


async def test_a_question_is_listed_shown_and_approved(platform: Platform, question: Asked) -> None:
    terminal = Terminal(platform, "approver")
    (listed,) = (await terminal.json("approvals", "list"))["items"]
    assert listed["id"] == question.approval.id
    shown = (await terminal.run("approvals", "show", question.approval.id)).stdout
    assert f"/v1/approvals/{question.approval.id}/decision" in shown
    command = next(line for line in shown.splitlines() if line.startswith("curl "))
    assert question.approval.fingerprint in command
    answered = await terminal.json("approvals", "approve", question.approval.id)
    assert answered["approval"]["status"] == "approved"
    assert "no approvals (pending)" in (await terminal.run("approvals", "list")).stdout.splitlines()


async def test_a_rejection_says_why(platform: Platform, question: Asked) -> None:
    terminal = Terminal(platform, "approver")
    assert (await terminal.run("approvals", "reject", question.approval.id)).exit_code == 2
    answered = await terminal.json("approvals", "reject", question.approval.id, "--reason", "we roll forward")
    assert answered["approval"]["verdict"]["decision"]["reason"] == "we roll forward"


async def test_what_the_service_refuses_is_said_in_its_words(platform: Platform, question: Asked) -> None:
    done = await Terminal(platform, "viewer").run("approvals", "approve", question.approval.id)
    assert done.exit_code != 0
    assert "this needs the role approver" in str(done.exception)


async def test_an_incident_is_listed_and_shown(platform: Platform, question: Asked) -> None:
    terminal = Terminal(platform, "viewer")
    (listed,) = (await terminal.json("incidents", "list"))["items"]
    assert listed["id"] == question.incident_id
    shown = (await terminal.run("incidents", "show", question.incident_id)).stdout
    assert "model:flights" in shown
    assert question.approval.id in shown


async def test_the_report_of_an_incident_comes_when_there_is_one(platform: Platform, question: Asked) -> None:
    terminal = Terminal(platform, "viewer")
    early = await terminal.run("incidents", "report", question.incident_id)
    assert (early.exit_code, "no report" in str(early.exception)) == (1, True)
    await declined(platform.database, platform.services.approvals, platform.clock, question)
    assert (await terminal.run("incidents", "report", question.incident_id)).stdout.startswith("## Alerts\n")
    assert "## Outcome" in (await terminal.json("incidents", "report", question.incident_id))["report"]


def test_policies_are_checked_as_the_service_would_read_them(tmp_path: Path) -> None:
    def check(*words: str, **settings: str) -> Result:
        return CliRunner().invoke(app, ["policies", "check", *words], env=settings)

    ours, wrong = tmp_path / "ours.yaml", tmp_path / "wrong.yaml"
    ours.write_text("mode: observe\n")
    wrong.write_text("mode: sometimes\n")
    assert Policies().version in check().stdout
    for done in (check(str(ours)), check(OPPEN_POLICIES=str(ours))):
        assert (done.exit_code, Policies(mode=Mode.OBSERVE).version in done.stdout) == (0, True)
    refused = check("--json", OPPEN_POLICIES=str(wrong))
    assert (refused.exit_code, [each["field"] for each in json.loads(refused.stdout)["errors"]]) == (1, ["mode"])


async def test_the_kill_switch_is_thrown_and_shown(platform: Platform) -> None:
    terminal = Terminal(platform, "operator")
    await terminal.json("autonomy", "set", "observe", "--reason", "something is off")
    found = await terminal.json("autonomy", "show")
    assert (found["mode"], found["reason"]) == ("observe", "something is off")


async def test_the_audit_log_is_verified(platform: Platform, question: Asked) -> None:
    assert (await Terminal(platform, "viewer").json("audit", "verify"))["ok"] is True


async def test_without_a_key_or_a_service_it_says_what_to_do(platform: Platform) -> None:
    runner = CliRunner()
    done = await asyncio.to_thread(runner.invoke, app, ["incidents", "list"], env={"OPPEN_URL": platform.url, "OPPEN_KEY": ""})
    assert "set OPPEN_KEY" in str(done.exception)
    environment = {"OPPEN_URL": "http://127.0.0.1:9", "OPPEN_KEY": "oppen_x"}
    done = await asyncio.to_thread(runner.invoke, app, ["incidents", "list"], env=environment)
    assert "is `oppen serve` running" in str(done.exception)
