"""What language models take, over HTTP."""

from datetime import timedelta

import pytest

from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform
from tests.e2e.terminal import Terminal
from tools.predictions.records import PredictionRecord, Usage

_MODEL = "chat"


def called(
    platform: Platform, n: int, *, version: str = "1", ago: timedelta = timedelta(hours=1), error: str | None = None
) -> None:
    at = int((platform.clock.now() - ago).timestamp() * 1_000_000)
    usage = Usage(prompt_tokens=20, completion_tokens=10, first_token_us=40_000, finish="stop", cost="0.000009", currency="USD")
    record = PredictionRecord(
        id=f"{n}", model=_MODEL, version=version, at=at, entity="", latency_us=250_000, features={}, error=error, usage=usage
    )
    platform.predictions.add([record])


async def test_versions_are_told_with_their_tokens_errors_and_costs(platform: Platform) -> None:
    called(platform, 1)
    called(platform, 2, error="server 'one' broke off its answer")
    called(platform, 3, version="2", ago=timedelta(days=2))
    answer = (await platform.viewer.get(f"/v1/models/{_MODEL}/usage")).json()
    (version,) = answer["versions"]
    assert (version["version"], version["calls"], version["errors"]) == ("1", 2, 1)
    assert (version["prompt_tokens"], version["completion_tokens"], version["first_token_p95_ms"]) == (40, 20, 40.0)
    # Money is text, and exact.
    cost = {"currency": "USD", "amount": "0.000018", "calls": 2, "per_call": "0.000009000", "per_million_tokens": "0.300000000"}
    assert version["costs"] == [cost]
    start = (platform.clock.now() - timedelta(days=3)).isoformat()
    longer = (await platform.viewer.get(f"/v1/models/{_MODEL}/usage", params={"start": start})).json()
    assert [each["version"] for each in longer["versions"]] == ["1", "2"]


async def test_a_model_that_never_answered_is_not_found(platform: Platform) -> None:
    for name in ("nobody", "a%00b"):
        refused(await platform.viewer.get(f"/v1/models/{name}/usage"), 404, "not-found")


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"start": "2026-03-03T00:00:00Z", "end": "2026-03-02T00:00:00Z"}, "start"),
        ({"start": "2025-03-02T00:00:00Z", "end": "2026-03-02T00:00:00Z"}, "start"),
        ({"end": "1000-01-01T00:00:00Z"}, "end"),
    ],
)
async def test_a_window_that_is_none_is_named(platform: Platform, query: dict[str, str], named: str) -> None:
    called(platform, 1)
    assert fields(refused(await platform.viewer.get(f"/v1/models/{_MODEL}/usage", params=query), 422, "invalid")) == [named]


async def test_a_store_that_is_down_is_said(platform: Platform) -> None:
    platform.predictions.go_down()
    refused(await platform.viewer.get(f"/v1/models/{_MODEL}/usage"), 503, "unavailable")


async def test_at_a_terminal_it_is_a_line_for_each_version(platform: Platform) -> None:
    called(platform, 1)
    shown = await Terminal(platform, "viewer").run("models", "usage", _MODEL)
    assert shown.exit_code == 0, shown.output
    assert "version 1: 1 calls, 0 errors, 20 tokens read, 10 written" in shown.stdout
    assert "0.000009 USD (0.300000000 for a million tokens)" in shown.stdout
