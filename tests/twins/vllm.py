"""A vLLM server as far as the gateway uses one. Statuses, headers and bodies are those that vLLM 0.32 sent when it was asked
the same: models, chat and text completions, streams, LoRA adapters while it runs, its key, and its errors."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.listening import listening

BASE, BASE_PATH = "base", "/models/base"
TOKENS = ("The", " flight", " is", " late")
LONGEST = 256
KEY = "sesame"

_CREATED = 1795625695
_JSON = "application/json"


class _BreaksOff(Exception):
    """The connection ends where it is."""


@dataclass
class TwinVllm:
    """Attributes are what a test does to it from outside, or looks at afterwards."""

    base: str = BASE
    adapters_on_disk: set[str] = field(default_factory=lambda: {"/adapters/tone", "/adapters/calm"})
    updates: bool = True
    """Whether it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING."""
    adapters: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    """Answered to every completion instead of one."""
    breaks_after: int | None = None
    """So many events of a stream, and then the connection is cut."""
    fails_after: int | None = None
    """So many events of a stream, and then the engine dies: the stream says so and ends."""
    holds_after: int | None = None
    """So many events of a stream (or 0: before any answer), and then it waits for `go_on`."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    cut: int | None = None
    """Bytes of a piece of a stream; None: an event is a piece."""
    bodies: list[bytes] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    """By the model's name here."""
    keys: set[str] = field(default_factory=set)
    """Authorizations that came."""
    given_up: int = 0
    """Completions whose asker left before their end."""
    padding: str = ""
    """At the end of an answer that is no stream."""
    sent: bytes = b""
    """The last answer's body, as it went out."""

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        async with listening(self, port=port) as url:
            yield url

    def forget(self) -> None:
        """As when it is started anew."""
        self.adapters.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"]
        given = headers.get(b"authorization", b"").decode()
        self.keys.add(given)
        answer = _Answer(self, send)
        if path.startswith("/v1") and given != f"Bearer {KEY}":
            await answer.json(401, {"error": "Unauthorized"})
            return
        match scope["method"], path:
            case "GET", "/health":
                await answer.whole(200, b"", "text/plain")
            case "GET", "/v1/models":
                await answer.json(200, {"object": "list", "data": self._cards()})
            case "POST", "/v1/load_lora_adapter" if self.updates:
                await self._load(json.loads(body), answer)
            case "POST", "/v1/unload_lora_adapter" if self.updates:
                await self._unload(json.loads(body), answer)
            case "POST", "/v1/chat/completions" | "/v1/completions":
                self.bodies.append(body)
                working = asyncio.ensure_future(self._complete(path == "/v1/chat/completions", body, answer))
                leaving = asyncio.ensure_future(receive())
                await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if not working.done():
                    self.given_up += 1
                working.cancel()
                leaving.cancel()
                await asyncio.gather(working, leaving, return_exceptions=True)
            case _:
                await answer.json(404, {"detail": "Not Found"})

    def _cards(self) -> list[dict[str, Any]]:
        card = {"object": "model", "created": _CREATED, "owned_by": "vllm"}
        base = {"id": self.base, **card, "root": BASE_PATH, "parent": None, "max_model_len": LONGEST}
        return [base, *({"id": name, **card, "root": path, "parent": self.base} for name, path in self.adapters.items())]

    async def _load(self, asked: dict[str, Any], answer: "_Answer") -> None:
        name, path = asked["lora_name"], asked["lora_path"]
        if name == self.base:
            await answer.error(400, f"The lora adapter '{name}' conflicts with a served base model.", "InvalidUserInput")
        elif name in self.adapters:
            again = "If you want to load the adapter in place, set 'load_inplace' to True."
            await answer.error(400, f"The lora adapter '{name}' has already been loaded. {again}", "InvalidUserInput")
        elif path not in self.adapters_on_disk:
            await answer.error(404, f"Loading lora {name} failed: No adapter found for <path>", "NotFoundError")
        else:
            self.adapters[name] = path
            await answer.whole(200, f"Success: LoRA adapter '{name}' added successfully.".encode(), None)

    async def _unload(self, asked: dict[str, Any], answer: "_Answer") -> None:
        name = asked["lora_name"]
        if name not in self.adapters:
            await answer.error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        else:
            del self.adapters[name]
            await answer.whole(200, f"Success: LoRA adapter '{name}' removed successfully.".encode(), None)

    async def _complete(self, chat: bool, body: bytes, answer: "_Answer") -> None:
        asked = json.loads(body)
        name = asked["model"]
        self.asked[name] += 1
        if self.holds_after == 0:
            await self.go_on.wait()
        if self.status is not None:
            await answer.error(self.status, "EngineCore encountered an issue.", "InternalServerError")
        elif name != self.base and name not in self.adapters:
            await answer.error(404, f"The model `{name}` does not exist.", "NotFoundError", "model")
        elif chat and not isinstance(asked["messages"], list):
            quoted = f"'msg': 'Input should be a valid list', 'input': {asked['messages']!r}"
            await answer.error(400, f"1 validation error:\n  {{{quoted}}}", "Bad Request", "body.messages")
        elif asked.get("max_tokens", 1) > LONGEST:
            reason = f"max_tokens={asked['max_tokens']} cannot be greater than max_model_len={LONGEST}."
            await answer.error(400, reason, "BadRequestError", "max_tokens")
        elif asked.get("stream"):
            await self._stream(chat, asked, answer)
        else:
            text = "".join(TOKENS[: asked.get("max_tokens", 99)]) + self.padding
            said = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, **said, "finish_reason": _reason(asked)}
            await answer.json(200, {"id": "cmpl-1", "model": name, "choices": [choice], "usage": _usage(asked)})

    async def _stream(self, chat: bool, asked: dict[str, Any], answer: "_Answer") -> None:
        events = []
        if chat:
            events.append(_event(asked, {"delta": {"role": "assistant", "content": ""}, "finish_reason": None}))
        tokens = TOKENS[: asked.get("max_tokens", 99)]
        for place, token in enumerate(tokens, start=1):
            reason = _reason(asked) if place == len(tokens) else None
            events.append(
                _event(asked, {**({"delta": {"content": token}} if chat else {"text": token}), "finish_reason": reason})
            )
        if (asked.get("stream_options") or {}).get("include_usage"):
            events.append(_event(asked, None))
        events.append(b"data: [DONE]\n\n")
        await answer.start(200, "text/event-stream; charset=utf-8")
        for place, event in enumerate(events):
            if place == self.breaks_after:
                raise _BreaksOff
            if place == self.fails_after:
                failure = {"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}}
                await answer.piece(b"data: " + json.dumps(failure).encode() + b"\n\n")
                await answer.piece(events[-1])
                break
            if place == self.holds_after:
                await self.go_on.wait()
            for start in range(0, len(event), self.cut or len(event)):
                await answer.piece(event[start : start + (self.cut or len(event))])
        await answer.end()


class _Answer:
    def __init__(self, vllm: TwinVllm, send: Any) -> None:
        self._vllm = vllm
        self._send = send

    async def start(self, status: int, kind: str | None, length: int | None = None) -> None:
        self._vllm.sent = b""
        headers = [(b"vary", b"Origin")]
        if kind is not None:
            headers.append((b"content-type", kind.encode()))
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def piece(self, body: bytes) -> None:
        self._vllm.sent += body
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, body: bytes, kind: str | None) -> None:
        await self.start(status, kind, len(body))
        self._vllm.sent = body
        await self._send({"type": "http.response.body", "body": body})

    async def json(self, status: int, value: object) -> None:
        await self.whole(status, json.dumps(value, separators=(",", ":")).encode(), _JSON)

    async def error(self, status: int, message: str, kind: str, param: str | None = None) -> None:
        await self.json(status, {"error": {"message": message, "type": kind, "param": param, "code": status}})


def _usage(asked: dict[str, Any]) -> dict[str, int]:
    words = json.dumps(asked.get("messages") or asked.get("prompt")).count(" ") + 1
    written = min(len(TOKENS), asked.get("max_tokens", 99))
    return {"prompt_tokens": words, "total_tokens": words + written, "completion_tokens": written}


def _reason(asked: dict[str, Any]) -> str:
    return "length" if asked.get("max_tokens", 99) <= len(TOKENS) else "stop"


def _event(asked: dict[str, Any], choice: dict[str, Any] | None) -> bytes:
    """The one with the counts has no choice."""
    counts = {"usage": _usage(asked)} if choice is None else {}
    choices = [{"index": 0, **choice}] if choice is not None else []
    said = {"id": "cmpl-1", "created": _CREATED, "model": asked["model"], "choices": choices, **counts}
    return b"data: " + json.dumps(said, separators=(",", ":")).encode() + b"\n\n"
