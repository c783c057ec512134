"""A runtime beside the gateway: TorchServe computes, over HTTP.

A version is put into an archive in the folder that both share, registered, and warmed as in this process. When TorchServe
stops answering, or has lost the version (a start knows none), the version is away: its requests fail at once, instead of each
waiting for a time-out, while it is brought there again, until that works.
"""

import asyncio
import contextlib
import itertools
import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import structlog
from numpy.typing import NDArray

from gateway.runtimes.inprocess import sizes
from tools.errors import Conflict, PortError, TemporaryError
from tools.inference.engines import read_spec, warm
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import ServingSpec
from tools.serving.archives import is_archive_of, remove_archives, write_archive
from tools.serving.model_servers import ModelServer, Unregistered
from tools.serving.torchserve import open_torchserve, problem
from tools.serving.torchserve_handler import BINARY, CATEGORICAL, LENGTH_HEADER, MODEL_FAILED, NUMERIC, OUTPUT, pack, unpack
from tools.serving.torchserve_keys import KeyFile

log = structlog.get_logger()

_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Between tries to bring a version back, or to tidy up; the last one repeats."""
_CONNECT_S = 1.0
PLATFORM = "torchserve"


@dataclass(frozen=True, slots=True)
class Addresses:
    inference: str
    management: str
    store: Path
    """The folder that TorchServe has as its `model_store`."""
    key_file: Path | None
    timeout_s: float
    """The longest that a batch is waited for."""


class PredictionFailed(RuntimeError):
    """The model raised, over there."""


@asynccontextmanager
async def open_runtime(addresses: Addresses, *, batch_rows: int, max_workers: int) -> AsyncIterator["TorchServeRuntime"]:
    auth = KeyFile(addresses.key_file, "inference", addresses.management) if addresses.key_file else None
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=2 * max_workers)
    timeout = httpx.Timeout(addresses.timeout_s, connect=_CONNECT_S)
    # Batches come from threads, so this client is of the blocking kind. No proxy from the environment: rows and token are for
    # this address alone.
    with httpx.Client(base_url=addresses.inference, auth=auth, timeout=timeout, limits=limits, trust_env=False) as client:
        async with open_torchserve(addresses.management, addresses.key_file, answer_s=addresses.timeout_s) as server:
            runtime = TorchServeRuntime(server, client, addresses.store, batch_rows)
            try:
                yield runtime
            finally:
                await runtime.close()


class TorchServeRuntime:
    """`Runtime`. A model on that server belongs to one gateway: what this one does not need, it removes."""

    def __init__(self, server: ModelServer, client: httpx.Client, store: Path, batch_rows: int) -> None:
        self.server = server
        self.client = client
        self.store = store
        self.sizes = sizes(batch_rows)
        self._wanted: dict[str, tuple[str | None, frozenset[str]]] = {}
        self._settling: dict[str, asyncio.Task[None]] = {}

    async def place(self, files: ModelFiles, workers: int) -> "Hosted":
        hosted = Hosted(self, files, read_spec(files), workers)
        await hosted.bring()
        return hosted

    def settle(self, model: str, main: str | None, keep: Collection[str]) -> None:
        self._wanted[model] = (main, frozenset(keep))
        self.settle_again(model)

    def settle_again(self, model: str) -> None:
        if model not in self._wanted:
            return
        if running := self._settling.pop(model, None):
            running.cancel()
        self._settling[model] = asyncio.create_task(_until_done(lambda: self._settle(model), "runtime.not_settled", model))

    async def close(self) -> None:
        """What is registered stays, so that a restart finds it."""
        await _cancel(self._settling.values())

    async def _settle(self, model: str) -> None:
        main, keep = self._wanted[model]
        present = await self.server.versions(model)
        ours = [each for each in present if is_archive_of(model, each.version, each.archive)]
        if any(each.version == main and not each.default for each in ours):
            await self.server.set_default(model, str(main))
        for each in ours:
            if each.version not in keep:
                await self.server.remove(model, each.version)
                await asyncio.to_thread(remove_archives, model, each.version, self.store)
                log.info("runtime.removed", model=model, version=each.version)


class _Elsewhere:
    """`Estimate`: never on the gateway's own loop, which would wait with it."""

    def expected_s(self, rows: int) -> float:  # noqa: ARG002
        return math.inf

    def observe(self, rows: int, seconds: float) -> None:
        """Waiting takes no processor time worth learning."""


class Hosted:
    """`Placement`."""

    platform = PLATFORM
    cost = _Elsewhere()
    here = False

    def __init__(self, runtime: TorchServeRuntime, files: ModelFiles, spec: ServingSpec, workers: int) -> None:
        self.spec = spec
        self.problem = ""
        self._runtime = runtime
        self._files = files
        self._workers = workers
        self._loop = asyncio.get_running_loop()
        self._path = f"/predictions/{quote(files.model, safe='')}/{quote(files.version, safe='')}"
        self._healing: asyncio.Task[None] | None = None
        self._closed = False

    async def bring(self) -> None:
        """Registered and warmed; what is there already stays. Raises TemporaryError or PermanentError."""
        model, version = self._files.model, self._files.version
        server = self._runtime.server
        archive = await asyncio.to_thread(write_archive, self._files, self._runtime.store)
        try:
            await server.register(model, version, archive, workers=self._workers)
        except Conflict:
            await self._give_way(archive)
            await server.register(model, version, archive, workers=self._workers)
        await asyncio.to_thread(warm, self._compute, self.spec, self._runtime.sizes, f"{model} {version}")

    def engine(self, *tensors: NDArray[Any]) -> NDArray[Any]:
        """Raises TemporaryError while it is away, PredictionFailed when the model raises."""
        if self.problem:
            raise TemporaryError(self.problem)
        try:
            return self._compute(*tensors)
        except TemporaryError as error:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to bring it back
                self._loop.call_soon_threadsafe(self._fall, str(error))
            raise

    async def scale(self, workers: int) -> None:
        if self.problem:
            raise TemporaryError(self.problem)
        try:
            await self._runtime.server.scale(self._files.model, self._files.version, workers)
        except Unregistered as error:
            # It was placed there: TorchServe has been started anew since.
            self._fall(str(error))
            raise TemporaryError(self.problem) from error
        self._workers = workers

    async def close(self) -> None:
        self._closed = True
        if self._healing is not None:
            await _cancel([self._healing])

    async def _give_way(self, archive: str) -> None:
        """Remove what is registered under our name from an archive of ours with another content: this gateway, or the registry,
        has a newer one. Raises Conflict when it is somebody else's."""
        model, version = self._files.model, self._files.version
        others = [each for each in await self._runtime.server.versions(model) if each.version != version]
        for each in await self._runtime.server.versions(model):
            if each.version != version or each.archive == archive:
                continue
            if not is_archive_of(model, version, each.archive):
                raise Conflict(f"{model} {version} is on TorchServe from {each.archive}, which is not ours: remove it there")
            if each.default and others:
                await self._runtime.server.set_default(model, others[0].version)
            await self._runtime.server.remove(model, version)

    def _compute(self, *tensors: NDArray[Any]) -> NDArray[Any]:
        """One batch, over HTTP."""
        named = dict(zip(self._names(), tensors, strict=True))
        body, length = pack("inputs", named)
        headers = {"content-type": BINARY, LENGTH_HEADER: str(length)}
        try:
            response = self._runtime.client.post(self._path, content=body, headers=headers)
        except httpx.TransportError as error:
            raise TemporaryError(f"TorchServe does not answer: {type(error).__name__} {error}") from error
        if response.is_success:
            return unpack("outputs", response.content, int(response.headers.get(LENGTH_HEADER, 0)))[OUTPUT]
        if failure := _failure(response):
            raise PredictionFailed(failure)
        raise TemporaryError(str(problem(response)))

    def _names(self) -> list[str]:
        kinds = {feature.kind for feature in self.spec.features}
        return [name for name in (NUMERIC, CATEGORICAL) if name in kinds]

    def _fall(self, reason: str) -> None:
        if self.problem or self._closed:
            return
        self.problem = f"{reason}; {self._files.model} {self._files.version} is brought there again"
        log.warning("runtime.away", model=self._files.model, version=self._files.version, reason=reason)
        self._healing = asyncio.create_task(_until_done(self._heal, "runtime.still_away", self._files.model))

    async def _heal(self) -> None:
        await self.bring()
        self.problem = ""
        log.info("runtime.back", model=self._files.model, version=self._files.version)
        # After its start the first that is registered is the default.
        self._runtime.settle_again(self._files.model)


def _failure(response: httpx.Response) -> str:
    """What the model failed with, if it is that: our handler says it, or TorchServe does for a handler that raised."""
    try:
        said: object = response.json()
    except ValueError:
        return ""
    if not isinstance(said, Mapping):
        return ""
    if response.status_code == MODEL_FAILED and isinstance(said.get("error"), str):
        return str(said["error"])
    if response.status_code == httpx.codes.SERVICE_UNAVAILABLE and said.get("type") == "InternalServerException":
        return str(said.get("message"))
    return ""


async def _until_done(step: Callable[[], Any], event: str, model: str) -> None:
    """Temporary or not: whoever looks after TorchServe may mend what it refuses now."""
    for attempt in itertools.count():
        try:
            await step()
        except PortError as error:
            log.warning(event, model=model, error=str(error))
        else:
            return
        await asyncio.sleep(_PAUSES_S[min(attempt, len(_PAUSES_S) - 1)])


async def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
