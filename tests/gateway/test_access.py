"""Who may call what, labels, and settings."""

from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from gateway.settings import Settings, read
from tests.gateway.conftest import Start
from tests.gateway.running import Gateway, labels, predictions

ADMIN = {"authorization": "Bearer letmein"}


async def test_admin_calls_need_the_token_and_inference_does_not(start: Start) -> None:
    async with start(token="letmein") as gateway:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic letmein"}):
            assert (await gateway.client.get("/admin/models", headers=headers)).status_code == 401
            assert (await gateway.client.put("/admin/routes/late", headers=headers)).status_code == 401
        assert (await gateway.client.get("/admin/models", headers=ADMIN)).status_code == 200
        assert (await gateway.infer()).status_code == 200


async def test_inference_and_feedback_can_ask_for_a_token_too(start: Start) -> None:
    async with start(inference_token="letmein") as gateway:
        assert (await gateway.infer()).status_code == 401
        assert (await gateway.client.post("/v2/models/late/feedback", json={"labels": []})).status_code == 401
        gateway.client.headers.update(ADMIN)
        assert (await gateway.infer()).status_code == 200


async def test_without_a_token_admin_calls_are_taken_under_loopbacks_name_only(gateway: Gateway) -> None:
    """A browser can be made to call loopback under a foreign name."""
    assert (await gateway.client.get("/admin/models", headers={"host": "localhost:8080"})).status_code == 200
    assert (await gateway.client.get("/admin/models", headers={"host": "evil.example"})).status_code == 403


async def test_labels_are_logged_for_the_loader(start: Start) -> None:
    async with start() as gateway:
        ids = (await gateway.infer([1.0, 2.0, 3.0])).json()["parameters"]["prediction_ids"]
        given = [{"id": id_, "label": label} for id_, label in zip(ids, ("late", True, 2.5), strict=True)]
        accepted = await gateway.client.post("/v2/models/late/feedback", json={"labels": given})
        assert accepted.json() == {"accepted": 3}
        assert await gateway.metric("labels_total", model="late") == 3
        home = gateway.home
    assert [(label.id, label.label) for label in labels(home)] == list(zip(ids, ("late", "true", "2.5"), strict=True))
    assert [record.id for record in predictions(home)] == ids


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "labels"),
        ({"labels": [{"id": "x"}]}, "labels[0]: send a label, metrics, or both"),
        ({"labels": [{"id": "", "label": "late"}]}, "labels[0].id"),
        ({"labels": [{"id": "x" * 65, "label": "late"}]}, "labels[0].id"),
        ({"labels": [{"id": "x", "label": None}]}, "$.labels[0].label"),
    ],
)
async def test_a_wrong_label_is_named_and_nothing_is_taken(gateway: Gateway, body: object, complaint: str) -> None:
    response = await gateway.client.post("/v2/models/late/feedback", json=body)
    assert response.status_code == 400
    assert complaint in response.json()["error"]
    assert await gateway.metric("log_pending", kind="labels") == 0


async def test_labels_of_a_model_that_is_not_served_are_not_found(gateway: Gateway) -> None:
    response: httpx.Response = await gateway.client.post("/v2/models/nobody/feedback", json={"labels": []})
    assert response.status_code == 404


def test_flags_win_over_the_environment_and_lists_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPEN_GATEWAY_PORT", "1234")
    monkeypatch.setenv("OPPEN_GATEWAY_GRACE_S", "5")
    monkeypatch.setenv("OPPEN_CLOCK", "shared:/clock")
    chosen = read(["--port", "4321", "--model", "a", "--model", "b", "--home", "/here"])
    assert (chosen.port, chosen.grace_s, chosen.models, chosen.home) == (4321, 5.0, ("a", "b"), Path("/here"))
    assert chosen.clock == "shared:/clock"


def test_beyond_loopback_a_token_is_needed() -> None:
    with pytest.raises(ValidationError, match="OPPEN_GATEWAY_TOKEN"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", token="secret").token is not None


def test_a_secret_is_not_shown() -> None:
    assert "hush" not in repr(Settings(token="hush", inference_token="hush"))
