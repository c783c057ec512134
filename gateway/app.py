"""The gateway's HTTP side: a plain ASGI application, because a framework's routing and validation cost more than the models.

It finds what is addressed, checks who asks, reads the body within its limit, and turns refusals into the protocol's
`{"error": ...}`. What is done lies in `Inference` and `Fleet`.
"""

import asyncio
import time
from typing import Any
from urllib.parse import unquote

import msgspec
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from gateway import descriptions
from gateway.access import Access
from gateway.bodies import Receive, Scope, Send, read_body
from gateway.completions.web import CompletionsWeb
from gateway.fleet import Fleet
from gateway.inference import Inference
from gateway.metrics import Metrics
from gateway.protocol import BatchingChange, RouteChange, ScaleChange, decode
from gateway.refusals import NotFound, NotReady, Refused, WrongMethod
from tools.errors import TemporaryError

log = structlog.get_logger()

_JSON = (b"content-type", b"application/json")
_METRICS = (b"content-type", CONTENT_TYPE_LATEST.encode())
_CLOSE = (b"connection", b"close")


class App:
    def __init__(
        self,
        fleet: Fleet,
        inference: Inference,
        completions: CompletionsWeb,
        metrics: Metrics,
        access: Access,
        *,
        max_body: int,
    ) -> None:
        self._fleet = fleet
        self._completions = completions
        self._inference = inference
        self._metrics = metrics
        self._access = access
        self._max_body = max_body
        self.draining = False
        """Set on the way out: not ready any more, and every answer closes its connection, so that clients go elsewhere."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the gateway does not speak {scope['type']}")
        raw: bytes = scope["raw_path"]
        path = [unquote(part) for part in raw.decode("ascii").split("/")[1:]]
        if path[0] == "v1":
            await self._completions(scope, path[1:], receive, send, last=self.draining)
            return
        kind = _JSON
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            status = 200
            if path == ["metrics"]:
                body, kind = await asyncio.to_thread(generate_latest, self._metrics.registry), _METRICS
            else:
                body = await self._answer(scope, path, receive)
        except Refused as refusal:
            status, body = refusal.status, _error(str(refusal))
            if refusal.retry_after_s is not None:
                headers = ((b"retry-after", b"%d" % refusal.retry_after_s),)
            self._count(path, refusal.kind)
        except TemporaryError as error:
            status, body = 503, _error(str(error))
            headers = ((b"retry-after", b"%d" % max(1, round(error.retry_after.total_seconds()))),)
            self._count(path, "registry")
        if self.draining:
            headers = (*headers, _CLOSE)
        head = (kind, (b"content-length", b"%d" % len(body)), *headers)
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    def _count(self, path: list[str], kind: str) -> None:
        served = path[2] if path[:2] == ["v2", "models"] and len(path) > 2 and self._fleet.serves(path[2]) else ""
        self._metrics.error(served, kind)

    async def _answer(self, scope: Scope, path: list[str], receive: Receive) -> bytes:
        method: str = scope["method"]
        match path:
            case ["v2", "models", model, "infer"]:
                return await self._infer(scope, method, model, None, receive)
            case ["v2", "models", model, "versions", version, "infer"]:
                return await self._infer(scope, method, model, version, receive)
            case ["v2", "models", model, "feedback"]:
                _require(method, "POST")
                self._access.check_inference(scope["headers"])
                return self._inference.feedback(model, await self._body(scope, receive))
            case ["admin", *rest]:
                self._access.check_admin(scope["headers"])
                return await self._administer(scope, method, rest, receive)
            case ["v2", *rest]:
                _require(method, "GET")
                return self._describe(rest)
            case _:
                raise NotFound("there is nothing at this address; the protocols start at /v2 and /v1")

    async def _infer(self, scope: Scope, method: str, model: str, version: str | None, receive: Receive) -> bytes:
        _require(method, "POST")
        self._access.check_inference(scope["headers"])
        body = await self._body(scope, receive)
        return await self._inference.infer(model, version, body, time.perf_counter())

    def _describe(self, path: list[str]) -> bytes:
        match path:
            case []:
                return _json(descriptions.server())
            case ["health", "live"]:
                return _json({"live": True})
            case ["health", "ready"]:
                if self.draining or not self._fleet.ready:
                    raise NotReady("draining" if self.draining else "a model is not ready")
                return _json({"ready": True})
            case ["models", model]:
                return _json(descriptions.model(self._fleet.model(model), None))
            case ["models", model, "ready"]:
                if not self._fleet.model(model).ready:
                    raise NotReady(f"{model} is not ready")
                return _json({"name": model, "ready": True})
            case ["models", model, "versions", version]:
                return _json(descriptions.model(self._fleet.model(model), version))
            case ["models", model, "versions", version, "ready"]:
                if not self._fleet.model(model).pinned(version).ready:
                    raise NotReady(f"{model} {version} is not ready")
                return _json({"name": model, "version": version, "ready": True})
            case _:
                raise NotFound("there is nothing at this address below /v2")

    async def _administer(self, scope: Scope, method: str, path: list[str], receive: Receive) -> bytes:
        match path, method:
            case ["models"], "GET":
                return _json({"models": [descriptions.state(model) for model in self._fleet]})
            case ["routes", model], "GET":
                return _json(self._fleet.model(model).route)
            case ["routes", model], "PUT":
                change = decode(await self._body(scope, receive), RouteChange)
                return _json(
                    await self._fleet.set_weights(
                        model,
                        change.weights,
                        shadow=change.shadow,
                        expected_generation=change.expected_generation,
                        key=change.key,
                        salt=change.salt,
                    )
                )
            case ["scale", model], "GET":
                return _json(self._fleet.model(model).capacity)
            case ["scale", model], "PUT":
                scaling = decode(await self._body(scope, receive), ScaleChange)
                return _json(
                    await self._fleet.scale(model, scaling.workers, expected_workers=scaling.expected_workers, key=scaling.key)
                )
            case ["batching", model], "GET":
                return _json(self._fleet.model(model).batching)
            case ["batching", model], "PUT":
                wish = decode(await self._body(scope, receive), BatchingChange)
                return _json(
                    await self._fleet.model(model).set_batching(
                        wish.rows, wish.wait_ms, expected_generation=wish.expected_generation, key=wish.key
                    )
                )
            case ["batches", model], "GET":
                return _json({"versions": [each.model_dump() for each in self._fleet.model(model).batches()]})
            case ((["models"] | ["routes", _] | ["scale", _] | ["batching", _] | ["batches", _]), _):
                raise WrongMethod(f"{method} is not taken here")
            case _:
                raise NotFound("there is nothing at this address below /admin")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        return await read_body(scope, receive, self._max_body)


def _require(method: str, wanted: str) -> None:
    if method != wanted:
        raise WrongMethod(f"{method} is not taken here, {wanted} is")


def _error(text: str) -> bytes:
    return msgspec.json.encode({"error": text})


def _json(value: BaseModel | dict[str, Any]) -> bytes:
    return value.model_dump_json().encode() if isinstance(value, BaseModel) else msgspec.json.encode(value)
