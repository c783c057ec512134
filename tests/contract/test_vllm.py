"""A vLLM server: its adapters through the port, its answers through the gateway. The twin and the real one pass the same."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.contract.languages import LanguageServer, adapter_server, language_server, real_vllm
from tests.gateway.languages import on_a_port, write_language_model
from tests.gateway.running import Gateway, predictions, until
from tests.twins.vllm import BASE, LONGEST, TwinVllm
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.predictions.records import Usage
from tools.serving.adapters import AdapterServer, ServedModel
from tools.serving.vllm import VllmServer, open_vllm

__all__ = ["adapter_server", "language_server", "real_vllm"]

QUESTION = [{"role": "user", "content": "is the flight late"}]


async def test_it_is_a_server_and_answers(adapter_server: VllmServer) -> None:
    assert isinstance(adapter_server, AdapterServer)
    await adapter_server.ping()
    assert [(model.name, model.base) for model in await adapter_server.models()] == [(BASE, None)]


async def test_an_adapter_is_loaded_once_and_gone_once(adapter_server: VllmServer, language_server: LanguageServer) -> None:
    path = f"{language_server.adapters}/tone"
    there = ServedModel(name="tone-1", path=path, base=BASE)
    for _ in range(2):
        assert await adapter_server.load_adapter("tone-1", path) == there
    assert there in await adapter_server.models()
    for _ in range(2):
        await adapter_server.unload_adapter("tone-1")
    assert [model.name for model in await adapter_server.models()] == [BASE]


async def test_a_name_stands_for_one_adapter(adapter_server: VllmServer, language_server: LanguageServer) -> None:
    await adapter_server.load_adapter("tone-1", f"{language_server.adapters}/tone")
    with pytest.raises(Conflict, match="tone-1"):
        await adapter_server.load_adapter("tone-1", f"{language_server.adapters}/calm")


async def test_an_adapter_that_is_not_there_is_said_so(adapter_server: VllmServer, language_server: LanguageServer) -> None:
    with pytest.raises(PermanentError, match="No adapter found"):
        await adapter_server.load_adapter("gone", f"{language_server.adapters}/gone")
    await adapter_server.unload_adapter("gone")


async def test_a_base_model_is_no_adapter(adapter_server: VllmServer, language_server: LanguageServer) -> None:
    with pytest.raises(PermanentError, match="base model"):
        await adapter_server.load_adapter(BASE, f"{language_server.adapters}/tone")
    with pytest.raises(PermanentError, match="base model"):
        await adapter_server.unload_adapter(BASE)


async def test_a_wrong_key_is_said_so_and_is_not_repeated(language_server: LanguageServer) -> None:
    async with open_vllm("it", language_server.url, "not-the-key") as server:
        await server.ping()
        with pytest.raises(PermanentError, match="key") as refused:
            await server.models()
        assert "not-the-key" not in str(refused.value)


async def test_a_server_without_updates_says_how_to_allow_them() -> None:
    async with TwinVllm(updates=False).serve() as url, open_vllm("it", url, "sesame") as server:
        with pytest.raises(PermanentError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            await server.load_adapter("tone-1", "/adapters/tone")


async def test_a_server_that_is_away_is_a_temporary_error() -> None:
    async with open_vllm("it", "http://127.0.0.1:9", None) as server:
        for call in (server.ping, server.models):
            with pytest.raises(TemporaryError, match="'it'"):
                await call()


# Through the gateway.


@asynccontextmanager
async def between_base_and_adapter(language_server: LanguageServer, tmp_path: Path) -> AsyncIterator[Gateway]:
    base = {"runtime": "vllm", "server": "it", "model": BASE}
    adapter = {"name": "tone-2", "path": f"{language_server.adapters}/tone"}
    write_language_model(tmp_path / "registry", "chat", "1", base)
    write_language_model(tmp_path / "registry", "chat", "2", {**base, "adapter": adapter})
    servers = {"it": {"url": language_server.url, "key": language_server.key, "manages_adapters": True}}
    prices = {"chat": {"*": {"currency": "USD", "input": "1", "output": "2"}}}
    settings: dict[str, Any] = {"completion_servers": servers, "token_prices": prices}
    async with on_a_port(tmp_path / "registry", tmp_path / "home", **settings) as gateway:
        answer = await gateway.route({"1": 60, "2": 40}, generation=0, model="chat")
        assert answer.status_code == 200, answer.text
        yield gateway


async def test_calls_go_by_weight_to_base_and_adapter(language_server: LanguageServer, tmp_path: Path) -> None:
    async with between_base_and_adapter(language_server, tmp_path) as gateway:
        answered: dict[str, list[str]] = {"1": [], "2": []}
        for n in range(30):
            asked: dict[str, Any] = {"model": "chat", "messages": QUESTION, "max_tokens": 2, "ignore_eos": True}
            asked["user"] = f"customer-{n}"
            answer = await gateway.client.post("/v1/chat/completions", json=asked)
            assert answer.status_code == 200, answer.text
            answered[answer.headers["x-oppen-version"]].append(answer.json()["model"])
        assert 3 <= len(answered["2"]) <= 20
        assert (set(answered["1"]), set(answered["2"])) == ({BASE}, {"tone-2"})
        home = gateway.home
    records = predictions(home)
    assert len(records) == 30
    for record in records:
        assert isinstance(record.usage, Usage)
        assert (record.error, record.usage.completion_tokens, record.usage.finish) == (None, 2, "length")
        prompt = record.usage.prompt_tokens
        assert prompt is not None
        assert record.usage.cost == f"0.{prompt + 2 * 2:06d}"


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("call", ["chat/completions", "completions"])
async def test_a_stream_is_counted_whether_its_client_asks_or_not(
    language_server: LanguageServer, tmp_path: Path, call: str, counts: bool
) -> None:
    async with between_base_and_adapter(language_server, tmp_path) as gateway:
        asked: dict[str, Any] = {"model": "chat", "stream": True, "max_tokens": 4, "ignore_eos": True}
        asked |= {"messages": QUESTION} if call == "chat/completions" else {"prompt": "is the flight late"}
        if counts:
            asked["stream_options"] = {"include_usage": True}
        answer = await gateway.client.post(f"/v1/{call}", json=asked)
        events = [event.removeprefix("data: ") for event in answer.text.split("\n\n") if event]
        assert events[-1] == "[DONE]"
        pieces = [json.loads(event) for event in events[:-1]]
        assert [piece for piece in pieces if not piece["choices"]] == ([pieces[-1]] if counts else [])
        assert pieces[-1 - counts]["choices"][0]["finish_reason"] == "length"
        home = gateway.home
    (record,) = predictions(home)
    assert isinstance(record.usage, Usage)
    assert (record.usage.completion_tokens, record.usage.finish) == (4, "length")
    assert record.usage.first_token_us is not None
    if counts:
        assert pieces[-1]["usage"]["prompt_tokens"] == record.usage.prompt_tokens


async def test_what_it_refuses_comes_as_it_says_it(language_server: LanguageServer, tmp_path: Path) -> None:
    async with between_base_and_adapter(language_server, tmp_path) as gateway:
        for wrong, param in (
            ({"messages": QUESTION, "max_tokens": 10 * LONGEST}, "max_tokens"),
            ({"messages": "x"}, "body.messages"),
        ):
            answer = await gateway.client.post("/v1/chat/completions", json={"model": "chat", **wrong})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
        assert await gateway.metric("errors_total", model="chat", kind="upstream_refused") == 2
        home = gateway.home
    assert predictions(home) == []


@pytest.mark.servers
@pytest.mark.timeout(1200)
async def test_whoever_leaves_is_not_answered_any_more(real_vllm: LanguageServer, tmp_path: Path) -> None:
    """By the real one, which takes a while for so many tokens. (Of the twin: `tests/gateway/test_completions.py`.)"""
    async with between_base_and_adapter(real_vllm, tmp_path) as gateway:
        asked = {"model": "chat", "messages": QUESTION, "stream": True, "max_tokens": LONGEST - 60, "ignore_eos": True}
        async with gateway.client.stream("POST", "/v1/chat/completions", json=asked) as answer:
            await anext(answer.aiter_raw())

        async def told() -> bool:
            ended = [await gateway.metric("completions_total", version=version, outcome="cancelled") for version in ("1", "2")]
            return sum(ended) == 1

        async def idle() -> bool:
            metrics = (await gateway.client.get(f"{real_vllm.url}/metrics")).text
            running = [line for line in metrics.splitlines() if line.startswith("vllm:num_requests_running{")]
            return bool(running) and all(line.endswith(" 0.0") for line in running)

        await until(told)
        await until(idle)
        home = gateway.home
    (record,) = predictions(home)
    assert isinstance(record.usage, Usage)
    assert (record.error, record.usage.finish) == (None, "cancelled")
