"""The OpenAI-style calls: `POST /v1/chat/completions`, `POST /v1/completions`, `GET /v1/models`, and errors in their form."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from gateway.access import Access
from gateway.bodies import Receive, Scope, Send, read_body
from gateway.completions.calls import Completions, error_body
from gateway.completions.requests import Call
from gateway.fleet import Fleet
from gateway.models import Model
from gateway.refusals import NotFound, Refused, WrongMethod
from tools.errors import TemporaryError

_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class CompletionsWeb:
    def __init__(
        self, fleet: Fleet, completions: Completions, access: Access, count: Callable[[str, str], None], *, max_body: int
    ) -> None:
        """`count`: model (empty where there is none) and kind of what was not answered."""
        self._fleet = fleet
        self._completions = completions
        self._access = access
        self._count = count
        self._max_body = max_body
        self._since = int(time.time())

    async def __call__(self, scope: Scope, path: list[str], receive: Receive, send: Send, *, last: bool) -> None:
        """`path`: below `/v1`; `last`: the connection is closed afterwards."""
        begun = False

        async def noting(message: Any) -> None:
            nonlocal begun
            begun = True
            await send(message)

        headers: list[tuple[bytes, bytes]] = []
        try:
            answer = await self._answer(scope, path, receive, noting, last=last)
            if answer is None:
                return
            status, body = 200, answer
        except Refused as refusal:
            if begun:
                raise
            status, body = refusal.status, _error(refusal)
            if refusal.retry_after_s is not None:
                headers.append((b"retry-after", b"%d" % refusal.retry_after_s))
            self._count(refusal.model, refusal.kind)
        except TemporaryError as error:
            status, body = 503, error_body(str(error), "server_error", 503)
            headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after.total_seconds()))))
            self._count("", "registry")
        head = [_JSON, (b"content-length", b"%d" % len(body)), *headers, *([_CLOSE] if last else [])]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, path: list[str], receive: Receive, send: Send, *, last: bool) -> bytes | None:
        """None: it has been sent."""
        self._access.check_inference(scope["headers"])
        match path:
            case ["chat", "completions"]:
                await self._complete("chat/completions", scope, receive, send, last=last)
                return None
            case ["completions"]:
                await self._complete("completions", scope, receive, send, last=last)
                return None
            case ["models"]:
                _require(scope, "GET")
                return msgspec.json.encode({"object": "list", "data": [self._card(m) for m in self._fleet if m.language]})
            case ["models", name]:
                _require(scope, "GET")
                model = self._fleet.model(name)
                if not model.language:
                    raise NotFound(f"{name} is no language model")
                return msgspec.json.encode(self._card(model))
            case _:
                raise NotFound("there is nothing at this address below /v1: it has chat/completions, completions and models")

    async def _complete(self, call: Call, scope: Scope, receive: Receive, send: Send, *, last: bool) -> None:
        _require(scope, "POST")
        body = await read_body(scope, receive, self._max_body)
        await self._completions.answer(call, body, receive, send, last=last)

    def _card(self, model: Model) -> dict[str, Any]:
        return {"id": model.name, "object": "model", "created": self._since, "owned_by": "oppen"}


def _require(scope: Scope, wanted: str) -> None:
    if scope["method"] != wanted:
        raise WrongMethod(f"{scope['method']} is not taken here, {wanted} is")


def _error(refusal: Refused) -> bytes:
    kind = _TYPES.get(refusal.status, "invalid_request_error" if refusal.status < 500 else "server_error")
    return error_body(str(refusal), kind, refusal.status)
