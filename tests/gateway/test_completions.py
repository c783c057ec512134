"""Language models behind the gateway: what goes through, who answers, what is logged, and what happens when it goes wrong."""

import asyncio
import json
from contextlib import AsyncExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.settings import Settings
from tests.gateway.languages import KEY, QUESTION, VERSIONS, Open, languages, on_a_port, one, two, write_language_model
from tests.gateway.model_files import write_onnx
from tests.gateway.running import Gateway, predictions, until
from tests.twins.vllm import TOKENS, TwinVllm
from tools.predictions.records import PredictionRecord, Usage

__all__ = ["languages", "one", "two"]


async def ask(gateway: Gateway, call: str = "chat/completions", **more: Any) -> httpx.Response:
    return await gateway.client.post(f"/v1/{call}", json={"model": "chat", **QUESTION, **more})


def only(home: Path) -> PredictionRecord:
    (record,) = predictions(home)
    return record


def usage(record: PredictionRecord) -> Usage:
    assert isinstance(record.usage, Usage)
    return record.usage


async def test_an_answer_goes_through_as_it_is_and_names_the_version(languages: Open, one: TwinVllm) -> None:
    async with languages() as gateway:
        answer = await ask(gateway, temperature=0.10, seed=12345678901234567890123, x_of_the_servers_own={"a": [1.0, None]})
        assert (answer.status_code, answer.content) == (200, one.sent)
        assert answer.headers["content-type"] == "application/json"
        assert (answer.headers["x-oppen-model"], answer.headers["x-oppen-version"]) == ("chat", "1")
        # The model is called by its name there, and nothing else is touched, not even how a number is written.
        sent = one.bodies[0]
        assert json.loads(sent)["model"] == "base"
        for part in (b'"temperature":0.1', b'"seed":12345678901234567890123', b'"x_of_the_servers_own":{"a":[1.0,null]}'):
            assert part in sent
        home = gateway.home
    assert only(home).id == answer.headers["x-oppen-prediction-id"]


async def test_text_completions_go_through_too(languages: Open, one: TwinVllm) -> None:
    async with languages() as gateway:
        answer = await gateway.client.post("/v1/completions", json={"model": "chat", "prompt": "is it late", "max_tokens": 2})
        assert answer.json()["choices"][0]["text"] == "".join(TOKENS[:2])
        home = gateway.home
    assert usage(only(home)).finish == "length"
    assert only(home).features == {"messages": None, "prompt_tokens": 3, "stream": False}


async def test_versions_are_picked_by_weight_and_a_user_stays_with_one(languages: Open, one: TwinVllm, two: TwinVllm) -> None:
    async with languages({"1": 50, "2": 30, "3": 20}) as gateway:
        first = {}
        for n in range(60):
            first[n] = (await ask(gateway, user=f"customer-{n}")).headers["x-oppen-version"]
        assert set(first.values()) == {"1", "2", "3"}
        again = {n: (await ask(gateway, user=f"customer-{n}")).headers["x-oppen-version"] for n in range(60)}
        assert again == first
        home = gateway.home
    versions = list(first.values())
    assert one.asked["base"] == 2 * versions.count("1")
    assert one.asked["tone-2"] == 2 * versions.count("2")
    assert two.asked["base"] == 2 * versions.count("3")
    assert {(record.entity, record.version) for record in predictions(home)} == {(f"customer-{n}", v) for n, v in first.items()}


async def test_a_stream_comes_event_by_event_and_without_the_counts_that_were_not_asked_for(
    languages: Open, one: TwinVllm
) -> None:
    one.holds_after = 2
    async with languages() as gateway:
        body = {"model": "chat", **QUESTION, "stream": True}
        async with gateway.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["x-oppen-version"] == "1"
            pieces, came = answer.aiter_raw(), b""
            while TOKENS[0].encode() not in came:
                came += await anext(pieces)
            # The server has not gone on yet, and the first token is here.
            one.go_on.set()
            async for piece in pieces:
                came += piece
        counts = next(event for event in one.sent.split(b"\n\n") if b'"usage"' in event)
        assert came == one.sent.replace(counts + b"\n\n", b"")
        assert json.loads(one.bodies[0])["stream_options"] == {"include_usage": True}
        assert await gateway.metric("time_to_first_token_seconds_count", model="chat", version="1") == 1
        assert await gateway.metric("prompt_tokens_total", model="chat", version="1") == 8
        assert await gateway.metric("completion_tokens_total", model="chat", version="1") == 4
        assert await gateway.metric("completions_total", model="chat", version="1", outcome="answered") == 1
        home = gateway.home
    record = only(home)
    assert (usage(record).prompt_tokens, usage(record).completion_tokens, usage(record).finish) == (8, 4, "stop")
    assert usage(record).first_token_us is not None
    assert 0 < usage(record).first_token_us <= record.latency_us  # type: ignore[operator]


@pytest.mark.parametrize("cut", [None, 1, 7])
async def test_whoever_asks_for_the_counts_gets_them_and_every_byte(languages: Open, one: TwinVllm, cut: int | None) -> None:
    one.cut = cut
    async with languages() as gateway:
        options = {"include_usage": True, "continuous_usage_stats": False}
        answer = await ask(gateway, stream=True, stream_options=options)
        assert answer.content == one.sent
        assert b'"usage"' in answer.content
        assert json.loads(one.bodies[0])["stream_options"] == options


async def test_the_counts_are_left_out_wherever_the_network_cuts(languages: Open, one: TwinVllm) -> None:
    one.cut = 3
    async with languages() as gateway:
        answer = await ask(gateway, stream=True, stream_options={"include_usage": False})
        assert b'"usage"' not in answer.content
        assert answer.content.endswith(b"data: [DONE]\n\n")
        home = gateway.home
    assert usage(only(home)).prompt_tokens == 8


async def test_what_a_call_costs_is_exact_and_no_text_is_kept(languages: Open) -> None:
    async with languages({"1": 50, "3": 50}) as gateway:
        for version in ("1", "3"):
            for n in range(50):
                answer = await ask(gateway, user=f"{n}")
                if answer.headers["x-oppen-version"] == version:
                    break
        home = gateway.home
    costs = {record.version: usage(record) for record in predictions(home)}
    assert (Decimal(costs["1"].cost or "0"), costs["1"].currency) == (Decimal("0.0000036"), "USD")
    assert (Decimal(costs["3"].cost or "0"), costs["3"].currency) == (Decimal("0.000000800000028"), "EUR")
    written = b"".join(path.read_bytes() for path in (home / "segments").glob("*.ndjson"))
    assert b"secret" not in written
    assert TOKENS[1].encode() not in written


async def test_what_the_server_refuses_is_passed_on_and_is_not_the_versions_fault(languages: Open, one: TwinVllm) -> None:
    async with languages() as gateway:
        answer = await ask(gateway, max_tokens=100_000)
        assert (answer.status_code, answer.content) == (400, one.sent)
        one.status = 429
        assert (await ask(gateway)).status_code == 429
        assert await gateway.metric("errors_total", model="chat", kind="upstream_refused") == 2
        assert await gateway.metric("log_pending", kind="predictions") == 0
        home = gateway.home
    assert predictions(home) == []


async def test_a_server_that_is_away_is_a_503_and_its_versions_error(tmp_path: Path, one: TwinVllm) -> None:
    write_language_model(tmp_path / "registry", "chat", "1", VERSIONS["1"])
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(one.serve())
        servers = {"one": {"url": url, "key": KEY}}
        async with on_a_port(tmp_path / "registry", tmp_path / "home", completion_servers=servers) as gateway:
            assert (await gateway.route({"1": 100}, generation=0, model="chat")).status_code == 200
            await stack.aclose()
            answer = await ask(gateway)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            error = answer.json()["error"]
            assert (error["type"], error["code"], "'one'" in error["message"]) == ("server_error", 503, True)
            assert await gateway.metric("errors_total", model="chat", kind="upstream_away") == 1
            assert await gateway.metric("completions_total", model="chat", version="1", outcome="failed") == 1
            home = gateway.home
    record = only(home)
    assert (record.version, record.error, usage(record).cost) == ("1", "server 'one' cannot be reached: ConnectError", None)


async def test_a_server_that_is_away_gets_no_traffic_and_may_later(tmp_path: Path, one: TwinVllm) -> None:
    write_language_model(tmp_path / "registry", "chat", "1", VERSIONS["1"])
    async with one.serve() as url:
        port = int(url.rsplit(":", 1)[1])
    servers = {"one": {"url": url, "key": KEY}}
    async with on_a_port(tmp_path / "registry", tmp_path / "home", completion_servers=servers) as gateway:
        answer = await gateway.route({"1": 100}, generation=0, model="chat")
        assert (answer.status_code, "'one' does not answer" in answer.text) == (503, True)
        assert int(answer.headers["retry-after"]) >= 1
        assert (await ask(gateway)).status_code == 404
        async with one.serve(port):
            assert (await gateway.route({"1": 100}, generation=0, model="chat")).status_code == 200
            assert (await ask(gateway)).status_code == 200


async def test_a_server_gets_no_more_at_once_than_it_is_let(languages: Open, one: TwinVllm) -> None:
    one.holds_after = 0
    async with languages(completion_connections=1) as gateway:
        first = asyncio.create_task(ask(gateway))

        async def at_work() -> bool:
            return one.asked["base"] == 1

        await until(at_work)
        answer = await ask(gateway)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert await gateway.metric("errors_total", model="chat", kind="overloaded") == 1
        one.go_on.set()
        assert (await first).status_code == 200
        home = gateway.home
    # That too much was asked is not the version's fault.
    assert only(home).error is None


@pytest.mark.parametrize(("there", "here"), [(500, 502), (503, 503), (302, 502), (401, 503), (403, 503)])
async def test_a_server_that_fails_is_its_versions_error(languages: Open, one: TwinVllm, there: int, here: int) -> None:
    async with languages() as gateway:
        one.status = there
        answer = await ask(gateway, stream=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (here, here)
        # What it says may quote the prompt: it stays there.
        assert "EngineCore" not in answer.text
        home = gateway.home
    assert "server 'one'" in str(only(home).error)


async def test_a_stream_that_breaks_off_says_so_and_is_an_error(languages: Open, one: TwinVllm) -> None:
    one.breaks_after = 2
    async with languages() as gateway:
        answer = await ask(gateway, stream=True)
        events = answer.content.split(b"\n\n")
        assert json.loads(events[-2].removeprefix(b"data: "))["error"]["type"] == "server_error"
        assert b"[DONE]" not in answer.content
        home = gateway.home
    record = only(home)
    assert "broke off" in str(record.error)
    assert (usage(record).prompt_tokens, usage(record).cost) == (None, None)


async def test_a_failure_that_the_server_tells_in_its_stream_is_passed_on_and_counted(languages: Open, one: TwinVllm) -> None:
    one.fails_after = 2
    async with languages() as gateway:
        answer = await ask(gateway, stream=True)
        assert answer.content == one.sent
        assert await gateway.metric("completions_total", model="chat", version="1", outcome="failed") == 1
        home = gateway.home
    assert "in the middle" in str(only(home).error)


async def test_a_client_that_leaves_ends_the_servers_work(languages: Open, one: TwinVllm) -> None:
    one.holds_after = 2
    async with languages() as gateway:
        async with gateway.client.stream(
            "POST", "/v1/chat/completions", json={"model": "chat", **QUESTION, "stream": True}
        ) as answer:
            await anext(answer.aiter_raw())

        async def given_up() -> bool:
            return one.given_up == 1

        await until(given_up)

        async def counted() -> bool:
            return await gateway.metric("completions_total", model="chat", version="1", outcome="cancelled") == 1

        await until(counted)
        home = gateway.home
    record = only(home)
    assert (record.error, usage(record).finish) == (None, "cancelled")


async def test_a_client_that_leaves_before_the_answer_does_so_too(languages: Open, one: TwinVllm) -> None:
    one.holds_after = 0
    async with languages() as gateway:
        asking = asyncio.create_task(ask(gateway))

        async def at_work() -> bool:
            return one.asked["base"] == 1

        await until(at_work)
        asking.cancel()

        async def given_up() -> bool:
            return one.given_up == 1

        await until(given_up)
        home = gateway.home
    assert usage(only(home)).finish == "cancelled"


@pytest.mark.parametrize("holds_after", [0, 2])
async def test_a_server_that_stops_to_answer_is_not_waited_for(languages: Open, one: TwinVllm, holds_after: int) -> None:
    one.holds_after = holds_after
    async with languages(completion_timeout_s=0.3) as gateway:
        answer = await ask(gateway, stream=True)
        if holds_after:
            assert (answer.status_code, b"[DONE]" in answer.content) == (200, False)
            assert b'"code":504' in answer.content
        else:
            assert answer.status_code == 504

        async def given_up() -> bool:
            return one.given_up == 1

        await until(given_up)
        home = gateway.home
    assert only(home).error is not None


async def test_a_pause_in_a_stream_is_bounded(languages: Open, one: TwinVllm) -> None:
    one.holds_after = 2
    async with languages(completion_idle_s=0.2) as gateway:
        assert b'"code":504' in (await ask(gateway, stream=True)).content


async def test_an_answer_that_is_too_large_is_refused(languages: Open, one: TwinVllm) -> None:
    one.padding = "x" * 2000
    async with languages(completion_answer_bytes=1024) as gateway:
        answer = await ask(gateway)
        assert (answer.status_code, "1024 bytes" in answer.text) == (502, True)
        home = gateway.home
    assert only(home).error is not None


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b"{", 400, "JSON"),
        (b"[]", 400, "JSON"),
        (b"{}", 400, "model"),
        (b'{"model": 7}', 400, "model"),
        (b'{"model": "chat", "stream": "yes"}', 400, "stream"),
        (b'{"model": "chat", "stream_options": []}', 400, "stream_options"),
        (b'{"model": "chat", "user": "' + b"x" * 600 + b'"}', 400, "user"),
        (b'{"model": "nobody"}', 404, "nobody"),
        (b'{"model": "' + b"x" * 2000 + b'"}', 413, "bytes"),
    ],
)
async def test_a_wrong_request_is_refused_in_openais_form(languages: Open, body: bytes, status: int, complaint: str) -> None:
    async with languages(max_body_bytes=1000) as gateway:
        answer = await gateway.client.post("/v1/chat/completions", content=body)
        assert answer.status_code == status
        error = answer.json()["error"]
        assert complaint in error["message"]
        assert (error["code"], error["param"]) == (status, None)
        assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")


async def test_the_key_is_the_gateways_own_and_the_clients_goes_no_further(languages: Open, one: TwinVllm) -> None:
    async with languages(inference_token="letmein") as gateway:
        answer = await ask(gateway)
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
        assert (await gateway.client.get("/v1/models")).status_code == 401
        gateway.client.headers["authorization"] = "Bearer letmein"
        assert (await ask(gateway)).status_code == 200
    assert one.keys == {f"Bearer {KEY}"}


async def test_models_are_listed_in_openais_form(languages: Open, tmp_path: Path) -> None:
    async with languages() as gateway:
        listed = (await gateway.client.get("/v1/models")).json()
        assert (listed["object"], [model["id"] for model in listed["data"]]) == ("list", ["chat"])
        assert (await gateway.client.get("/v1/models/chat")).json()["object"] == "model"
        for path, method, status in (("models/nobody", "GET", 404), ("models", "POST", 405), ("else", "GET", 404)):
            answer = await gateway.client.request(method, f"/v1/{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, status)
        assert (await gateway.client.get("/v1/chat/completions")).status_code == 405


async def test_each_protocol_sends_on_to_the_other(languages: Open, tmp_path: Path) -> None:
    write_onnx(tmp_path / "registry" / "late" / "1")
    async with languages() as gateway:
        assert (await gateway.route({"1": 100}, generation=0, model="late")).status_code == 200
        answer = await gateway.infer(model="chat")
        assert (answer.status_code, "/v1/chat/completions" in answer.text) == (400, True)
        answer = await ask(gateway, model="late")
        assert (answer.status_code, "/v2/models/late/infer" in answer.text) == (400, True)
        assert [model["id"] for model in (await gateway.client.get("/v1/models")).json()["data"]] == ["chat"]
        described = (await gateway.client.get("/v2/models/chat")).json()
        assert (described["platform"], described["inputs"]) == ("vllm", [])
        assert (await gateway.client.get("/admin/models")).status_code == 200
        assert await gateway.metric("version_ready", model="chat", version="1") == 1


async def test_a_version_takes_its_adapter_along(languages: Open, one: TwinVllm) -> None:
    async with languages(grace_s=0) as gateway:
        assert one.adapters == {}
        assert (await gateway.route({"2": 100}, generation=1, model="chat")).status_code == 200
        assert one.adapters == {"tone-2": "/adapters/tone"}
        assert (await ask(gateway)).headers["x-oppen-version"] == "2"
        assert (await gateway.route({"1": 100}, generation=2, model="chat")).status_code == 200

        async def unloaded() -> bool:
            return one.adapters == {}

        await until(unloaded)


@pytest.mark.parametrize(
    ("taken", "left"),
    [({}, {}), ({"tone-9": "/adapters/tone"}, {"tone-9": "/adapters/tone"})],
    ids=["its base model is not there", "its adapter's name is somebody else's"],
)
async def test_a_version_that_comes_to_nothing_leaves_no_adapter_and_takes_nobodys(
    languages: Open, one: TwinVllm, tmp_path: Path, taken: dict[str, str], left: dict[str, str]
) -> None:
    spec = {**VERSIONS["2"], "model": "other", "adapter": {"name": "tone-9", "path": "/adapters/calm"}}
    write_language_model(tmp_path / "registry", "chat", "9", spec)
    async with languages() as gateway:
        one.adapters |= taken
        assert (await gateway.route({"9": 100}, generation=1, model="chat")).status_code == 422
        assert one.adapters == left


async def test_a_server_that_was_started_anew_gets_its_adapter_again(languages: Open, one: TwinVllm) -> None:
    async with languages({"2": 100}) as gateway:
        one.forget()
        assert (await ask(gateway)).status_code == 200
        assert one.adapters == {"tone-2": "/adapters/tone"}
        # One that has lost it for good is away, as far as this version is concerned.
        one.forget()
        one.adapters_on_disk.clear()
        assert (await ask(gateway)).status_code == 503
        home = gateway.home
    assert [record.error is None for record in predictions(home)] == [True, False]


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({**VERSIONS["1"], "server": "nowhere"}, "OPPEN_GATEWAY_COMPLETION_SERVERS"),
        ({**VERSIONS["1"], "model": "other"}, "does not serve 'other', but base"),
        ({**VERSIONS["2"], "adapter": {"name": "x", "path": "/gone"}}, "No adapter found"),
        ({**VERSIONS["2"], "adapter": {"name": "base", "path": "/adapters/tone"}}, "base model"),
        ({**VERSIONS["1"], "url": "http://elsewhere"}, "url"),
        ({**VERSIONS["1"], "runtime": "other"}, "runtime"),
    ],
)
async def test_a_version_that_its_server_cannot_answer_for_gets_no_traffic(
    languages: Open, tmp_path: Path, spec: dict[str, Any], complaint: str
) -> None:
    write_language_model(tmp_path / "registry", "chat", "9", spec)
    async with languages() as gateway:
        answer = await gateway.route({"9": 100}, generation=1, model="chat")
        assert (answer.status_code, complaint in answer.text) == (422, True), answer.text
        assert (await ask(gateway)).headers["x-oppen-version"] == "1"


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"completion_servers": {"a": {"url": "http://u:hush@host"}}}, "password"),
        ({"completion_servers": {"a": {"url": "ftp://host"}}}, "http://host:port"),
        ({"token_prices": {"chat": {"1": {"currency": "USD", "input": 0.1, "output": "1"}}}}, "float"),
        ({"token_prices": {"chat": {"1": {"currency": "dollars", "input": "1", "output": "1"}}}}, "currency"),
    ],
)
def test_settings_that_would_go_wrong_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Settings(**settings)


def test_a_key_shows_nowhere() -> None:
    settings = Settings(completion_servers={"a": {"url": "http://host:1/v1/", "key": "hush"}})
    assert settings.completion_servers["a"].url == "http://host:1"
    assert "hush" not in repr(settings)
