"""A vLLM server over HTTP: what it answers as, and its LoRA adapters.

Adapters come and go at run time only on a server started with `--enable-lora` and `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True`; what
was loaded so is forgotten when it restarts. Written against vLLM 0.32.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from tools.errors import Conflict, PermanentError, TemporaryError
from tools.serving.adapters import ServedModel

_TIMEOUT = httpx.Timeout(5.0)
_LOADING = httpx.Timeout(5.0, read=120.0)
"""An adapter is read from the server's disk before it is answered."""
_NO_UPDATES = (
    "takes no adapters while it runs: start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, "
    "or name the adapters with --lora-modules"
)


class _Card(BaseModel):
    id: str
    root: str | None = None
    parent: str | None = None


class _Cards(BaseModel):
    data: tuple[_Card, ...]


_CARDS = TypeAdapter(_Cards)


@asynccontextmanager
async def open_vllm(name: str, url: str, key: str | None) -> AsyncIterator["VllmServer"]:
    """`name`: what messages call it; `url`: where it listens, without `/v1`; `key`: its API key, if it has one."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    # No proxy from the environment: the key is for this address alone.
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=False) as client:
        yield VllmServer(name, client)


class VllmServer:
    """`AdapterServer`. The client carries the server's address and key, and is closed by whoever made it."""

    def __init__(self, name: str, client: httpx.AsyncClient) -> None:
        self._name = name
        self._client = client

    async def ping(self) -> None:
        response = await self._call("GET", "/health")
        if not response.is_success:
            raise TemporaryError(f"server {self._name!r} is not healthy: it answers {response.status_code}")

    async def models(self) -> tuple[ServedModel, ...]:
        response = await self._call("GET", "/v1/models")
        if not response.is_success:
            raise self._error(response, "its models cannot be listed")
        try:
            cards = _CARDS.validate_json(response.content).data
        except ValidationError as error:
            raise PermanentError(f"server {self._name!r} lists its models in a form that is not understood: {error}") from error
        found = [ServedModel(name=card.id, path=card.root, base=card.parent) for card in cards]
        return tuple(sorted(found, key=lambda model: model.name))

    async def load_adapter(self, name: str, path: str) -> ServedModel:
        if there := await self._adapter(name, path):
            return there
        response = await self._call("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        # Somebody else may have loaded it in between, and what was answered may be about that: what counts is what is there.
        if (response.is_success or response.status_code == httpx.codes.BAD_REQUEST) and (
            there := await self._adapter(name, path)
        ):
            return there
        if response.is_success:
            raise TemporaryError(f"server {self._name!r} loaded adapter {name!r}, but does not list it")
        raise self._error(response, f"adapter {name!r} cannot be loaded from {path!r}")

    async def unload_adapter(self, name: str) -> None:
        there = next((model for model in await self.models() if model.name == name), None)
        if there is None:
            return
        if there.base is None:
            raise PermanentError(f"{name!r} is a base model of server {self._name!r}, no adapter")
        response = await self._call("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        if response.is_success or (response.status_code == httpx.codes.NOT_FOUND and _said(response)):
            return
        raise self._error(response, f"adapter {name!r} cannot be unloaded")

    async def _adapter(self, name: str, path: str) -> ServedModel | None:
        """Raises PermanentError or Conflict when the name stands for something else."""
        there = next((model for model in await self.models() if model.name == name), None)
        if there is None:
            return None
        if there.base is None:
            raise PermanentError(f"{name!r} is a base model of server {self._name!r}, no adapter")
        if there.path != path:
            raise Conflict(f"server {self._name!r} has adapter {name!r} from {there.path!r}, not from {path!r}")
        return there

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> httpx.Response:
        timeout = _LOADING if body is not None else _TIMEOUT
        try:
            return await self._client.request(method, path, json=body, timeout=timeout)
        except httpx.TransportError as error:
            raise TemporaryError(f"server {self._name!r} does not answer: {type(error).__name__} {error}") from error

    def _error(self, response: httpx.Response, what: str) -> PermanentError | TemporaryError:
        said, status = _said(response), response.status_code
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return PermanentError(f"server {self._name!r} does not take our key ({status}): {what}")
        if status in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED) and not said:
            return PermanentError(f"server {self._name!r} {_NO_UPDATES}")
        text = f"server {self._name!r}: {what}: {said or f'it answers {status}'}"
        # A file that is no adapter, or one of too high a rank, is a 500 there too: only without a reason may it pass by itself.
        if status == httpx.codes.TOO_MANY_REQUESTS or (response.is_server_error and not said):
            return TemporaryError(text)
        return PermanentError(text)


def _said(response: httpx.Response) -> str:
    """The server's own reason; empty for what a router or proxy says."""
    try:
        body: Any = response.json()
    except ValueError:
        return ""
    error = body.get("error") if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    return message[:500] if isinstance(message, str) else ""
