"""A gateway on a port, with language models behind it: `chat`, whose versions 1 and 2 are a base model and an adapter of one
server, and version 3 the base model of another."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.assembly import assembled
from gateway.settings import Settings
from gateway.wire import JoiningProtocol
from tests.gateway.folder_registry import FolderRegistry
from tests.gateway.running import Gateway
from tests.listening import listening
from tests.twins.vllm import BASE, KEY, TwinVllm
from tools.registry.serving_spec import FILE

VERSIONS = {
    "1": {"runtime": "vllm", "server": "one", "model": BASE},
    "2": {"runtime": "vllm", "server": "one", "model": BASE, "adapter": {"name": "tone-2", "path": "/adapters/tone"}},
    "3": {"runtime": "vllm", "server": "two", "model": BASE},
}
PRICES = {
    "chat": {
        "1": {"currency": "USD", "input": "0.15", "output": "0.60"},
        "*": {"currency": "EUR", "input": "0.1", "output": "0.000000007"},
    }
}
QUESTION = {"messages": [{"role": "user", "content": "is my secret flight late"}]}
"""Eight tokens, as the twin counts them."""

Open = Callable[..., AbstractAsyncContextManager[Gateway]]


def write_language_model(root: Path, model: str, version: str, spec: dict[str, Any]) -> None:
    folder = root / model / version
    folder.mkdir(parents=True)
    (folder / FILE).write_text(json.dumps(spec))


@asynccontextmanager
async def on_a_port(root: Path, home: Path, **settings: Any) -> AsyncIterator[Gateway]:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(assembled(Settings(home=home, **settings), FolderRegistry(root)))
        url = await stack.enter_async_context(listening(app, http=JoiningProtocol))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=20.0, trust_env=False))
        yield Gateway(app, client, home)


@pytest.fixture
def one() -> TwinVllm:
    return TwinVllm()


@pytest.fixture
def two() -> TwinVllm:
    return TwinVllm()


@pytest.fixture
def languages(one: TwinVllm, two: TwinVllm, tmp_path: Path) -> Open:
    """`async with languages(weights={...}, setting=...) as gateway`."""
    root = tmp_path / "registry"
    for version, spec in VERSIONS.items():
        write_language_model(root, "chat", version, spec)

    @asynccontextmanager
    async def start(weights: dict[str, int] | None = None, **settings: Any) -> AsyncIterator[Gateway]:
        async with one.serve() as first, two.serve() as second:
            servers = {"one": {"url": first, "key": KEY, "manages_adapters": True}, "two": {"url": f"{second}/v1", "key": KEY}}
            chosen = {"completion_servers": servers, "token_prices": PRICES, **settings}
            async with on_a_port(root, tmp_path / "home", **chosen) as gateway:
                answer = await gateway.route(weights or {"1": 100}, generation=0, model="chat")
                assert answer.status_code == 200, answer.text
                yield gateway

    return start
