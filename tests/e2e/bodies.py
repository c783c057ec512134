"""Bodies as senders post them, and what every refusal has in common."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import httpx

FIXTURES = Path(__file__).parents[1] / "fixtures" / "alertmanager"
CAPTURES = sorted(path.stem for path in FIXTURES.glob("*.json"))


def captured(name: str) -> dict[str, Any]:
    """The body of a real delivery of Alertmanager."""
    body: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())["body"]
    return body


def alert(
    fingerprint: str = "a1", *, severity: str = "warning", model: str = "flights", status: str = "firing"
) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "ModelAccuracyLow", "model": model, "severity": severity},
        "annotations": {"summary": f"Accuracy of {model} is low"},
        "startsAt": "2026-03-02T08:59:00Z",
        "endsAt": "2026-03-02T09:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint,
    }


def group(*alerts: dict[str, Any], truncated: int = 0) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}:{}", "receiver": "oppen", "truncatedAlerts": truncated, "alerts": list(alerts)}


def signed(key: str, body: bytes, timestamp: int | None = None) -> dict[str, str]:
    """Headers: with a timestamp our own form, without one GitHub's."""
    content = body if timestamp is None else str(timestamp).encode() + b"." + body
    digest = hmac.new(key.encode(), content, hashlib.sha256).hexdigest()
    if timestamp is None:
        return {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
    return {"X-Timestamp": str(timestamp), "X-Signature": digest, "Content-Type": "application/json"}


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """That the answer is a problem as RFC 9457 has it, with that status and code."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]
    problem: dict[str, Any] = answer.json()
    assert (problem["type"], problem["status"]) == (f"urn:oppen:problem:{code}", status)
    assert problem["title"]
    assert problem["detail"]
    return problem


def fields(problem: dict[str, Any]) -> list[str]:
    return [error["field"] for error in problem["errors"]]
