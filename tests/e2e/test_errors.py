"""What goes wrong, goes wrong in one form, and tells strangers nothing about the inside."""

import asyncio
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from api.store.database import Database
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform, running
from tests.twins.clock import SteppedClock
from tests.twins.registry import TwinRegistry


class BrokenRegistry(TwinRegistry):
    async def models(self) -> tuple[str, ...]:
        raise RuntimeError("/srv/private/mlflow.db: password is hunter2")


async def test_a_fault_of_ours_is_500_with_an_id_and_no_more(database: Database, clock: SteppedClock) -> None:
    async with running(database, clock, registry=BrokenRegistry(clock)) as platform:
        with capture_logs() as said:
            answer = await platform.viewer.get("/v1/models")
    problem = refused(answer, 500, "internal")
    assert "hunter2" not in answer.text
    assert said[0]["error_id"] == problem["error_id"]
    assert "hunter2" in str(said[0]["exc_info"])


async def test_paths_and_methods_that_are_not_there(platform: Platform) -> None:
    refused(await platform.viewer.get("/v1/nothing"), 404, "not-found")
    refused(await platform.viewer.get("/docs"), 404, "not-found")
    wrong = await platform.viewer.post("/v1/incidents")
    refused(wrong, 405, "method-not-allowed")
    assert wrong.headers["allow"] == "GET"


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 50_000, b"9" * 5_000])
async def test_a_body_that_is_no_json(platform: Platform, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    refused(await platform.approver.put("/v1/autonomy", content=body, headers=headers), 400, "malformed")


async def test_a_body_of_another_kind(platform: Platform) -> None:
    answer = await platform.approver.put("/v1/autonomy", content=b"mode: act", headers={"Content-Type": "text/yaml"})
    refused(answer, 415, "unsupported-media-type")


async def test_a_body_that_is_too_large_for_what_it_is(platform: Platform) -> None:
    refused(await platform.approver.put("/v1/autonomy", content=b" " * 300_000), 413, "too-large")


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 501}, {"limit": "all"}, {"status": "odd"}])
async def test_a_parameter_that_is_wrong_is_named(platform: Platform, params: dict[str, Any]) -> None:
    problem = refused(await platform.viewer.get("/v1/incidents", params=params), 422, "invalid")
    assert fields(problem) == [next(iter(params))]


async def test_a_field_that_is_no_unicode_can_be_spoken_of(platform: Platform) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await platform.admin.post(
        "/v1/keys", content=b'{"name": "\\ud800", "role": "viewer", "\\udfff": 1}', headers=headers
    )
    refused(answer, 422, "invalid")


async def test_a_request_keeps_the_id_it_came_with(platform: Platform) -> None:
    given = await platform.anybody.get("/healthz", headers={"X-Request-ID": "from-the-proxy.1"})
    assert given.headers["x-request-id"] == "from-the-proxy.1"
    forged = await platform.anybody.get("/healthz", headers={"X-Request-ID": "a b\tc"})
    assert len(forged.headers["x-request-id"]) == 32


async def test_answers_are_neither_kept_nor_guessed_at(platform: Platform) -> None:
    headers = (await platform.viewer.get("/v1/incidents")).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]


async def test_what_is_refused_is_logged_with_its_request_and_without_secrets(platform: Platform) -> None:
    secret = "oppen_" + "0" * 32 + "_" + "5" * 64
    with capture_logs(processors=[merge_contextvars]) as said:
        answer = await platform.anybody.get("/v1/alerts", headers={"Authorization": f"Bearer {secret}"})
    (line,) = said
    assert (line["event"], line["status"], line["request_id"]) == ("http.answered", 401, answer.headers["x-request-id"])
    assert "5" * 64 not in str(said)


async def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(platform: Platform) -> None:
    host, _, port = platform.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/alerts/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n"
        b"Authorization: Bearer a-token-of-alertmanager\r\nContent-Type: application/json\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await platform.anybody.get("/healthz")).status_code == 200
    assert await platform.count("alerts") == 0
