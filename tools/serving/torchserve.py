"""A model server: TorchServe 0.12, over its management API.

Its answers differ from what HTTP would lead one to expect: a wrong token is 400, the removal of a default 403, a model whose
workers do not start stays registered for a while without any, and what is there already is 409.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from tools.errors import Conflict, PermanentError, PortError, TemporaryError
from tools.serving.model_servers import HostedVersion, Unregistered
from tools.serving.torchserve_keys import KeyFile, refused

_TIMEOUT = httpx.Timeout(5.0)
_STARTUP_S = 100
"""A worker imports torch and loads its model: 3 s on an idle core, four times that on busy ones."""
_STARTING = httpx.Timeout(5.0, read=_STARTUP_S + 5.0)
_LOOK_S = 0.1
_PAGE = 100
_TOKEN_REFUSED = (
    "TorchServe refuses the token: the key file has to be the key_file.json in the folder where this very server was started "  # noqa: S105
    "(without one, it has to be started with --disable-token-auth)"
)


class _Model(BaseModel):
    name: str = Field(alias="modelName")


class _Page(BaseModel):
    models: tuple[_Model, ...]
    next: str | None = Field(default=None, alias="nextPageToken")


class _Worker(BaseModel):
    status: str


class _Version(BaseModel):
    version: str = Field(alias="modelVersion")
    archive: str = Field(alias="modelUrl")
    workers: int = Field(alias="minWorkers")
    running: tuple[_Worker, ...] = Field(alias="workers")


T = TypeVar("T")

_PAGES = TypeAdapter(_Page)
_VERSIONS = TypeAdapter(tuple[_Version, ...])


@asynccontextmanager
async def open_torchserve(management_url: str, key_file: Path | None, *, answer_s: float = 5.0) -> AsyncIterator["TorchServe"]:
    """`key_file`: None for a server that asks for no tokens. `answer_s`: a worker that takes longer is restarted."""
    auth = KeyFile(key_file, "management", management_url) if key_file else None
    # No proxy from the environment: the token is for this address alone.
    async with httpx.AsyncClient(base_url=management_url, auth=auth, timeout=_TIMEOUT, trust_env=False) as client:
        yield TorchServe(client, answer_s=answer_s)


class TorchServe:
    """`ModelServer`. The client carries the address and the token, and is closed by whoever made it."""

    def __init__(self, client: httpx.AsyncClient, *, answer_s: float = 5.0) -> None:
        self._client = client
        # It takes whole seconds, and 0 as none.
        self._answer_s = max(1, round(answer_s))
        self.page = _PAGE

    async def ping(self) -> None:
        """`/ping` is on the other address, and asks for the other token."""
        await self._call("GET", "/models", {"limit": "1"})

    async def models(self) -> tuple[str, ...]:
        names: list[str] = []
        start: str | None = "0"
        while start is not None:
            page = _read(_PAGES, await self._call("GET", "/models", {"limit": str(self.page), "next_page_token": start}))
            names += [model.name for model in page.models]
            start = page.next
        return tuple(sorted(names))

    async def versions(self, model: str) -> tuple[HostedVersion, ...]:
        try:
            found = _read(_VERSIONS, await self._call("GET", f"{_path(model)}/all"))
            # No version named: the one that answers is the default.
            default = _read(_VERSIONS, await self._call("GET", _path(model)))[0].version
        except Unregistered:
            return ()
        return tuple(
            HostedVersion(
                model=model,
                version=each.version,
                archive=each.archive,
                workers=each.workers,
                ready=sum(worker.status == "READY" for worker in each.running),
                default=each.version == default,
            )
            for each in sorted(found, key=lambda each: each.version)
        )

    async def register(self, model: str, version: str, archive: str, *, workers: int) -> HostedVersion:
        # Its names come from the archive: with one in the query TorchServe takes a file that is no archive, too.
        query = {
            "url": archive,
            "initial_workers": str(workers),
            "synchronous": "true",
            "response_timeout": str(self._answer_s),
            "startup_timeout": str(_STARTUP_S),
        }
        try:
            await self._call("POST", "/models", query, _STARTING)
        except _Registered:
            await self._take_over(model, version, archive, workers)
        except _NotStarted as error:
            with contextlib.suppress(PortError):
                await self.remove(model, version)
            raise PermanentError(f"TorchServe: {error}; the log of its workers says why") from error
        hosted = await self._settled(model, version, workers)
        if hosted is None or hosted.archive != archive:
            raise PermanentError(f"archive: {archive} was registered, and holds no {model} {version}")
        return hosted

    async def scale(self, model: str, version: str, workers: int) -> None:
        number = str(workers)
        query = {"min_worker": number, "max_worker": number, "synchronous": "true"}
        try:
            await self._call("PUT", _path(model, version), query, _STARTING)
        except _NotStarted as error:
            raise PermanentError(f"TorchServe: {error}; the log of its workers says why") from error
        await self._settled(model, version, workers)

    async def set_default(self, model: str, version: str) -> None:
        await self._call("PUT", f"{_path(model, version)}/set-default")

    async def remove(self, model: str, version: str) -> None:
        with contextlib.suppress(Unregistered):
            await self._call("DELETE", _path(model, version))

    async def _settled(self, model: str, version: str, workers: int) -> HostedVersion | None:
        """The version once it has so many workers ready: TorchServe answers when it has one, however many were asked for. None
        when it is not registered. Raises TemporaryError when they take too long."""
        end = time.monotonic() + _STARTUP_S
        while True:
            found = next((each for each in await self.versions(model) if each.version == version), None)
            if found is None or found.ready == workers:
                return found
            if time.monotonic() > end:
                raise TemporaryError(f"TorchServe: {found.ready} of {workers} workers of {model} {version} are ready")
            await asyncio.sleep(_LOOK_S)

    async def _take_over(self, model: str, version: str, archive: str, workers: int) -> None:
        """What is registered may be ours, of a call that broke off or was repeated."""
        for hosted in await self.versions(model):
            if hosted.version == version:
                if hosted.archive != archive:
                    raise Conflict(f"{model} {version} is registered from {hosted.archive}, not {archive}: remove it first")
                await self.scale(model, version, workers)

    async def _call(
        self,
        method: Literal["GET", "POST", "PUT", "DELETE"],
        path: str,
        query: dict[str, str] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,
    ) -> httpx.Response:
        try:
            response = await self._client.request(method, path, params=query, timeout=timeout)
        except httpx.TransportError as error:
            raise TemporaryError(f"TorchServe does not answer: {type(error).__name__} {error}") from error
        if not response.is_success:
            raise problem(response)
        return response


class _Registered(Conflict):
    pass


class _NotStarted(PermanentError):
    pass


def problem(response: httpx.Response) -> PortError:
    """What an answer that is no success means, of either of TorchServe's addresses."""
    said = _message(response)
    match response.status_code:
        case httpx.codes.BAD_REQUEST if refused(response):
            return PermanentError(_TOKEN_REFUSED)
        case httpx.codes.FORBIDDEN:
            return Conflict(f"TorchServe: {said}: make another version the default before this one is removed")
        case httpx.codes.NOT_FOUND:
            return Unregistered(f"TorchServe: {said}")
        case httpx.codes.METHOD_NOT_ALLOWED:
            return PermanentError(f"TorchServe: {said} (models are registered only where it runs with --enable-model-api)")
        case httpx.codes.CONFLICT:
            return _Registered(f"TorchServe: {said}")
        case httpx.codes.INTERNAL_SERVER_ERROR if "Failed to start workers" in said:
            return _NotStarted(said)
        case httpx.codes.REQUEST_TIMEOUT | httpx.codes.TOO_MANY_REQUESTS:
            return TemporaryError(f"TorchServe: {said}")
        case status if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return TemporaryError(f"TorchServe: {said}")
        case _:
            return PermanentError(f"TorchServe: {said}")


def _message(response: httpx.Response) -> str:
    try:
        said = response.json()
    except ValueError:
        said = None
    if isinstance(said, dict) and isinstance(said.get("message"), str):
        return str(said["message"])
    return f"it answered {response.status_code}: {response.text[:200]}"


def _path(model: str, version: str | None = None) -> str:
    return "/models/" + "/".join(quote(part, safe="") for part in (model, version) if part is not None)


def _read(form: TypeAdapter[T], response: httpx.Response) -> T:
    try:
        return form.validate_json(response.content)
    except ValidationError as error:
        raise PermanentError(f"TorchServe's answer is not understood: {error}") from error
