"""Decisions over HTTP: on what was shown, once, in time, by the right person, and answered again when they are sent again."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from agents.policies import Policies
from tests.databases import BACKENDS
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform
from tests.work.cases import Asked, asked
from tools.errors import TemporaryError


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """On both databases: what happens at once is theirs to decide."""
    url: str = request.getfixturevalue(f"{request.param.replace('postgresql', 'postgres')}_database_url")
    return url


@pytest.fixture
async def question(platform: Platform) -> Asked:
    return await asked(platform.database, platform.services.approvals, platform.clock)


async def _decide(platform: Platform, question: Asked, body: dict[str, Any], **request: Any) -> httpx.Response:
    return await platform.approver.post(f"/v1/approvals/{question.approval.id}/decision", json=body, **request)


def _yes(question: Asked, **more: Any) -> dict[str, Any]:
    return {"decision": "approve", "fingerprint": question.approval.fingerprint, **more}


async def test_an_approval_is_shown_with_its_fingerprint_as_etag(platform: Platform, question: Asked) -> None:
    answer = await platform.viewer.get(f"/v1/approvals/{question.approval.id}")
    assert answer.headers["etag"] == f'"{question.approval.fingerprint}"'
    assert answer.json()["proposal"]["title"] == "Roll flights back to version 1"
    pending = (await platform.viewer.get("/v1/approvals", params={"status": "pending"})).json()["items"]
    assert [each["id"] for each in pending] == [question.approval.id]
    assert (await platform.viewer.get("/v1/approvals", params={"status": "rejected"})).json()["items"] == []


async def test_a_yes_decides_and_moves_the_run_on(platform: Platform, question: Asked) -> None:
    answer = await _decide(platform, question, _yes(question, comment="looks right"))
    assert answer.status_code == 200, answer.text
    decided = answer.json()
    assert (decided["decided"], decided["approval"]["status"]) == (True, "approved")
    assert decided["approval"]["verdict"]["decided_by"] == ["some-approver"]
    assert platform.dispatches.runs == [question.run_id]


async def test_a_decision_counts_when_the_engine_is_away(platform: Platform, question: Asked) -> None:
    platform.dispatches.failure = TemporaryError("the engine's database is locked")
    assert (await _decide(platform, question, _yes(question))).status_code == 200
    assert (await platform.viewer.get(f"/v1/runs/{question.run_id}")).json()["status"] == "queued"


async def test_the_etag_says_what_was_shown_too(platform: Platform, question: Asked) -> None:
    headers = {"If-Match": f'"{question.approval.fingerprint}"'}
    assert (await _decide(platform, question, {"decision": "approve"}, headers=headers)).status_code == 200


async def test_stock_clients_decide_in_their_own_form(platform: Platform, question: Asked) -> None:
    body = {"decisions": [{"type": "reject", "message": "not now"}], "fingerprint": question.approval.fingerprint}
    assert (await _decide(platform, question, body)).json()["approval"]["verdict"]["decision"]["reason"] == "not now"


async def test_an_edit_is_an_action_of_the_catalogue(platform: Platform, question: Asked) -> None:
    shown = {"decision": "edit", "fingerprint": question.approval.fingerprint}
    wrong = {**shown, "action": {"kind": "rollback", "model": "flights", "from_version": 3}}
    named = fields(refused(await _decide(platform, question, wrong), 422, "invalid"))
    assert named == ["action.from_version", "action.to_version"]
    unknown = {**shown, "action": {"kind": "delete_everything"}}
    assert fields(refused(await _decide(platform, question, unknown), 422, "invalid")) == ["action"]
    right = {**shown, "action": {"kind": "rollback", "model": "flights", "from_version": "2", "to_version": "0"}}
    assert (await _decide(platform, question, right)).json()["approval"]["status"] == "edited"


async def test_an_edit_stays_with_the_model_that_was_asked_about(platform: Platform, question: Asked) -> None:
    action = {"kind": "rollback", "model": "fraud", "from_version": "2", "to_version": "1"}
    body = {"decision": "edit", "fingerprint": question.approval.fingerprint, "action": action}
    assert fields(refused(await _decide(platform, question, body), 422, "invalid")) == ["action.model"]
    assert (await _decide(platform, question, {**body, "decision": "approve", "action": None})).status_code != 409


async def test_an_edit_makes_no_version_champion(platform: Platform, question: Asked) -> None:
    action = {"kind": "promote", "model": "flights", "from_version": "2", "version": "3"}
    body = {"decision": "edit", "fingerprint": question.approval.fingerprint, "action": action}
    answer = await _decide(platform, question, body)
    assert fields(refused(answer, 422, "invalid")) == ["action.kind"]
    assert "ask for the promotion of version 3" in answer.text


async def test_an_edit_comes_in_langchains_form_too(platform: Platform, question: Asked) -> None:
    edited = {"name": "rollback", "args": {"model": "flights", "from_version": "2", "to_version": "0"}}
    body = {"decisions": [{"type": "edit", "edited_action": edited}], "fingerprint": question.approval.fingerprint}
    assert (await _decide(platform, question, body)).json()["approval"]["status"] == "edited"


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"decision": "approve"}, "fingerprint"),
        ({"fingerprint": "0" * 64}, "decision"),
        ({"fingerprint": "0" * 64, "decision": "approve", "decisions": [{"type": "approve"}]}, "decision"),
        ({"fingerprint": "0" * 64, "decision": "reject"}, "reason"),
        ({"fingerprint": "0" * 64, "decision": "edit"}, "action"),
        ({"fingerprint": "0" * 64, "decision": "perhaps"}, "decision"),
        ({"fingerprint": "0" * 64, "decision": "approve", "dry_run": True}, "dry_run"),
        ({"fingerprint": "0" * 64, "decisions": [{"type": "approve"}, {"type": "approve"}]}, "decisions"),
    ],
)
async def test_what_a_decision_lacks_is_named(platform: Platform, question: Asked, body: dict[str, Any], named: str) -> None:
    assert fields(refused(await _decide(platform, question, body), 422, "invalid")) == [named]


async def test_a_fingerprint_and_an_etag_that_differ_are_refused(platform: Platform, question: Asked) -> None:
    answer = await _decide(platform, question, _yes(question), headers={"If-Match": '"other"'})
    assert fields(refused(answer, 422, "invalid")) == ["fingerprint"]


async def test_a_second_decision_is_409(platform: Platform, question: Asked) -> None:
    await _decide(platform, question, _yes(question))
    problem = refused(await _decide(platform, question, _yes(question)), 409, "already-decided")
    assert "some-approver" in problem["detail"]


async def test_a_late_decision_is_410(platform: Platform, question: Asked) -> None:
    platform.clock.pass_(Policies().approval.expires_after)
    refused(await _decide(platform, question, _yes(question)), 410, "expired")


async def test_a_decision_on_something_else_is_412(platform: Platform, question: Asked) -> None:
    refused(await _decide(platform, question, {"decision": "approve", "fingerprint": "0" * 64}), 412, "wrong-fingerprint")
    refused(await _decide(platform, question, {"decision": "approve"}, headers={"If-Match": "*"}), 412, "wrong-fingerprint")


async def test_nobody_approves_their_own_request(platform: Platform) -> None:
    own = await asked(platform.database, platform.services.approvals, platform.clock, requested_by="some-approver")
    refused(await _decide(platform, own, _yes(own)), 403, "own-request")


async def test_with_a_quorum_the_first_yes_counts_and_the_second_decides(platform: Platform) -> None:
    both = await asked(platform.database, platform.services.approvals, platform.clock, quorum=2)
    first = (await _decide(platform, both, _yes(both))).json()
    assert (first["decided"], first["votes"], first["approval"]["status"]) == (False, 1, "pending")
    second = (await platform.admin.post(f"/v1/approvals/{both.approval.id}/decision", json=_yes(both))).json()
    assert (second["decided"], second["votes"], second["approval"]["status"]) == (True, 2, "approved")


async def test_of_two_who_decide_at_once_one_decides(platform: Platform, question: Asked) -> None:
    path = f"/v1/approvals/{question.approval.id}/decision"
    no = {"decision": "reject", "reason": "no", "fingerprint": question.approval.fingerprint}
    answers = await asyncio.gather(
        platform.approver.post(path, json=_yes(question)), platform.admin.post(path, json=no), return_exceptions=False
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert platform.dispatches.runs == [question.run_id]


class TestRepeating:
    @pytest.fixture
    async def first(self, platform: Platform, question: Asked) -> httpx.Response:
        return await _decide(platform, question, _yes(question), headers={"Idempotency-Key": "k1"})

    async def test_a_decision_that_is_sent_again_is_answered_again(
        self, platform: Platform, question: Asked, first: httpx.Response
    ) -> None:
        again = await _decide(platform, question, _yes(question), headers={"Idempotency-Key": "k1"})
        assert again.json() == first.json()
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
        assert platform.dispatches.runs == [question.run_id]

    async def test_a_key_stands_for_one_request(self, platform: Platform, question: Asked, first: httpx.Response) -> None:
        other = await _decide(platform, question, _yes(question, comment="?"), headers={"Idempotency-Key": "k1"})
        refused(other, 422, "idempotency-key-reused")

    async def test_a_key_is_its_principals_own(self, platform: Platform, question: Asked, first: httpx.Response) -> None:
        path = f"/v1/approvals/{question.approval.id}/decision"
        answer = await platform.admin.post(path, json=_yes(question), headers={"Idempotency-Key": "k1"})
        refused(answer, 409, "already-decided")

    async def test_a_key_is_forgotten_after_a_day(self, platform: Platform, question: Asked, first: httpx.Response) -> None:
        platform.clock.pass_(timedelta(hours=25))
        body = {"mode": "observe", "reason": "drill"}
        assert (await platform.approver.put("/v1/autonomy", json=body, headers={"Idempotency-Key": "k2"})).status_code == 200
        again = await _decide(platform, question, _yes(question), headers={"Idempotency-Key": "k1"})
        refused(again, 409, "already-decided")

    async def test_what_was_refused_may_be_tried_again(self, platform: Platform, question: Asked) -> None:
        headers = {"Idempotency-Key": "k3"}
        wrong = {"decision": "approve", "fingerprint": "0" * 64}
        refused(await _decide(platform, question, wrong, headers=headers), 412, "wrong-fingerprint")
        assert (await _decide(platform, question, _yes(question), headers=headers)).status_code == 200

    async def test_the_same_request_twice_at_once_is_one_decision(self, platform: Platform, question: Asked) -> None:
        headers = {"Idempotency-Key": "k4"}
        answers = await asyncio.gather(*(_decide(platform, question, _yes(question), headers=headers) for _ in range(3)))
        assert {answer.status_code for answer in answers} == {200}
        assert answers[0].json() == answers[1].json() == answers[2].json()
        assert platform.dispatches.runs == [question.run_id]
