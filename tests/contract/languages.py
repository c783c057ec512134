"""The language-model servers that the same tests run on: the twin, and a real vLLM where `make test-servers` has one."""

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.servers.vllm import vllm
from tests.twins.vllm import KEY, TwinVllm
from tools.serving.vllm import VllmServer, open_vllm


@dataclass(frozen=True)
class LanguageServer:
    url: str
    key: str
    adapters: str
    """The folder, as the server sees it, where adapters `tone` and `calm` are."""


@pytest.fixture(scope="session")
def real_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    program = os.environ.get("OPPEN_TEST_VLLM")
    if not program:
        pytest.skip("OPPEN_TEST_VLLM says where vLLM's command is; make test-servers installs it")
    folder = tmp_path_factory.mktemp("vllm")
    with vllm(Path(program), folder) as url:
        yield LanguageServer(url, KEY, str(folder))


@pytest.fixture(params=["twin", pytest.param("vllm", marks=[pytest.mark.servers, pytest.mark.timeout(1200)])])
async def language_server(request: pytest.FixtureRequest) -> AsyncIterator[LanguageServer]:
    """Without an adapter."""
    if request.param == "twin":
        async with TwinVllm().serve() as url:
            yield LanguageServer(url, KEY, "/adapters")
        return
    real: LanguageServer = request.getfixturevalue("real_vllm")
    yield real
    async with open_vllm("real", real.url, real.key) as server:
        for model in await server.models():
            if model.base is not None:
                await server.unload_adapter(model.name)


@pytest.fixture
async def adapter_server(language_server: LanguageServer) -> AsyncIterator[VllmServer]:
    async with open_vllm("it", language_server.url, language_server.key) as server:
        yield server
