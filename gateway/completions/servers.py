"""The language-model servers that this gateway knows by name, and what one version is on its server."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

import httpx
import msgspec
import structlog
from pydantic import AfterValidator, SecretStr

from tools.errors import PermanentError, PortError
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import FILE, CompletionsSpec
from tools.serving.vllm import VllmServer
from tools.values import Frozen

log = structlog.get_logger()

_KEEPALIVE_S = 2.0
"""vLLM closes an idle connection after five: one that it is just closing must not be used again."""
_CONNECT_S = 3.0
_POOL_S = 1.0
"""For a free connection; then the server has as much to do as this gateway lets it have."""


def _plain(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("url: write it as http://host:port")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url: keep a password out of it; `key` is for the server's key")
    return url.rstrip("/").removesuffix("/v1")


class CompletionServer(Frozen):
    url: Annotated[str, AfterValidator(_plain)]
    """Where it listens; a `/v1` at the end may be left out."""
    key: SecretStr | None = None
    """Its API key. Clients never see it, and their own is never sent there."""
    manages_adapters: bool = False
    """Load a version's adapter when the version gets traffic, and unload it when it leaves. For one gateway per server: another
    one's versions are not known here."""


@dataclass(frozen=True, slots=True)
class CompletionLimits:
    connections: int
    """To one server at once."""
    total_s: float
    """A whole answer may take; of a stream, what is spent waiting for the server."""
    idle_s: float
    """Between two pieces of a stream."""
    send_s: float
    """For a client to take a piece; beyond it the client counts as gone."""
    answer_bytes: int
    """Of an answer that is no stream, which is held as a whole."""


class Server:
    def __init__(self, name: str, settings: CompletionServer, client: httpx.AsyncClient) -> None:
        self.name = name
        self.client = client
        self.manages_adapters = settings.manages_adapters
        self.adapters = VllmServer(name, client)
        self.users: defaultdict[str, set[Upstream]] = defaultdict(set)
        """Adapter -> the versions (of several models, perhaps) that are answered with it."""
        self.changing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Adapter -> held by who loads or unloads it: one version's leaving never takes it from another that comes."""


class Upstream:
    """A version on its server."""

    def __init__(self, server: Server, spec: CompletionsSpec) -> None:
        self.server = server
        self.name = spec.served_name
        self._spec = spec
        self._settled = False

    async def settle(self) -> None:
        """See to it that the server answers as this version. Raises PermanentError or TemporaryError; a version that never
        came about then leaves nothing behind there."""
        try:
            await self._bring()
            await self._check()
        except PortError:
            if not self._settled:
                await self.leave()
            raise
        self._settled = True

    async def _bring(self) -> None:
        adapter = self._spec.adapter
        if adapter is None or not self.server.manages_adapters:
            return
        async with self.server.changing[adapter.name]:
            self.server.users[adapter.name].add(self)
            await self.server.adapters.load_adapter(adapter.name, adapter.path)

    async def _check(self) -> None:
        served = {model.name: model for model in await self.server.adapters.models()}
        for wanted in {self._spec.model, self.name}:
            if wanted not in served:
                names = ", ".join(sorted(served)[:10])
                raise PermanentError(f"server {self.server.name!r} does not serve {wanted!r}, but {names or 'nothing'}")

    async def leave(self) -> None:
        """The version is let go of. An adapter that cannot be unloaded stays and is logged: it costs memory, not answers."""
        adapter = self._spec.adapter
        if adapter is None or not self.server.manages_adapters:
            return
        async with self.server.changing[adapter.name]:
            users = self.server.users[adapter.name]
            users.discard(self)
            if users:
                return
            try:
                # Whether it is there is not known where loading failed; what has its name from elsewhere is not ours.
                there = await self.server.adapters.models()
                if any((each.name, each.path) == (adapter.name, adapter.path) for each in there):
                    await self.server.adapters.unload_adapter(adapter.name)
            except PortError as error:
                log.warning("adapter.not_unloaded", server=self.server.name, adapter=adapter.name, reason=str(error))


class Servers:
    def __init__(self, servers: Mapping[str, Server]) -> None:
        self._servers = servers

    def upstream(self, spec: CompletionsSpec, model: str, version: str) -> Upstream:
        """Raises PermanentError for a server that is not in the settings."""
        server = self._servers.get(spec.server)
        if server is None:
            raise PermanentError(
                f"{model} {version} is answered by server {spec.server!r}, which is not in OPPEN_GATEWAY_COMPLETION_SERVERS"
            )
        return Upstream(server, spec)


@asynccontextmanager
async def open_servers(settings: Mapping[str, CompletionServer], limits: CompletionLimits) -> AsyncIterator[Servers]:
    """Opens no connection yet."""
    async with contextlib.AsyncExitStack() as stack:
        servers = {}
        for name, server in settings.items():
            key = {"authorization": f"Bearer {server.key.get_secret_value()}"} if server.key is not None else {}
            client = httpx.AsyncClient(
                base_url=server.url,
                # As it is: an answer that was packed for us could not be handed on as it came.
                headers={"accept-encoding": "identity", "user-agent": "oppen-gateway", **key},
                timeout=httpx.Timeout(limits.total_s, connect=_CONNECT_S, pool=_POOL_S),
                limits=httpx.Limits(
                    max_connections=limits.connections,
                    max_keepalive_connections=limits.connections,
                    keepalive_expiry=_KEEPALIVE_S,
                ),
                # No proxy from the environment: the key is for this address alone.
                trust_env=False,
            )
            servers[name] = Server(name, server, await stack.enter_async_context(client))
        yield Servers(servers)


def read_completions(files: ModelFiles) -> CompletionsSpec | None:
    """None for a version whose own file is served here. Raises PermanentError when it cannot be told."""
    try:
        said = (files.folder / FILE).read_bytes()
        runtime = msgspec.json.decode(said, type=_Runtime).runtime
    except (FileNotFoundError, msgspec.DecodeError):
        return None  # what is wrong with it is said where it is read as a spec
    if runtime is None:
        return None
    try:
        return CompletionsSpec.model_validate_json(said)
    except ValueError as error:
        raise PermanentError(f"{files.model} {files.version}: {FILE}: {error}") from error


class _Runtime(msgspec.Struct):
    runtime: str | None = None
