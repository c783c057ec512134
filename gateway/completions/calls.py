"""One call of a language model: who answers, the answer handed on as it comes, and the line in the log.

The version's failures are errors in its line: a server that is away, fails, is too slow or breaks off. What the server refuses
(a request that is wrong, too long, too many) is the client's, is passed on and leaves no line. A client that leaves ends the
server's work; its line has no error, and `cancelled` as the reason of its end.

No text of prompts and answers is logged, and of a server's errors neither, because they quote what they complain about.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping

import httpx
import msgspec
import structlog

from gateway.bodies import Message, Receive, Send
from gateway.completions.answers import Events, Reading
from gateway.completions.metrics import Outcome
from gateway.completions.refusals import ClientGone, ServerAway, ServerFailed, ServerSlow
from gateway.completions.requests import Call, CompletionRequest, read_request
from gateway.completions.servers import CompletionLimits, Upstream
from gateway.fleet import Fleet
from gateway.ids import PredictionIds
from gateway.metrics import Metrics
from gateway.refusals import Backlogged, Overloaded, Refused
from gateway.segments import SegmentLog
from gateway.versions import Version
from tools.clock import Clock
from tools.errors import PortError
from tools.predictions.records import PredictionRecord, Usage
from tools.serving.tokens import TokenPrices

log = structlog.get_logger()

EVERY_VERSION = "*"
"""In the prices: of versions that have none of their own."""

_PASSED = ("content-type", "retry-after")


class Prices:
    """By model and version."""

    def __init__(self, prices: Mapping[str, Mapping[str, TokenPrices]]) -> None:
        self._prices = prices

    def of(self, model: str, version: str) -> TokenPrices | None:
        priced = self._prices.get(model, {})
        return priced.get(version) or priced.get(EVERY_VERSION)


class Completions:
    def __init__(
        self,
        fleet: Fleet,
        predictions: SegmentLog,
        clock: Clock,
        metrics: Metrics,
        prices: Prices,
        limits: CompletionLimits,
    ) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._predictions = predictions
        self._clock = clock
        self._prices = prices
        self._limits = limits
        self._ids = PredictionIds()

    async def answer(self, call: Call, body: bytes, receive: Receive, send: Send, *, last: bool) -> None:
        """`receive`: where the client's leaving is heard of; `last`: the connection is closed afterwards.

        Raises a Refused while nothing has been sent."""
        started = time.perf_counter()
        request = read_request(body)
        model = self._fleet.model(request.model)
        try:
            version = model.pick(request.entity or None)
            upstream = version.language
            if not self._predictions.reserve(1):
                raise Backlogged(f"{self._predictions.pending} predictions wait to be written; try again")
            exchange = _Exchange(request, version, upstream, self._limits, send, started, self._new_id(), last=last)
            await self._carry_out(exchange, call, receive)
        except Refused as refusal:
            refusal.model = model.name
            raise

    async def _carry_out(self, exchange: "_Exchange", call: Call, receive: Receive) -> None:
        """What was reserved is written or given back."""
        version = exchange.version
        with version.serving():
            error: str | None = "the gateway failed"
            outcome: Outcome = "failed"
            try:
                await _unless_gone(exchange.run(call), receive)
                error, outcome = exchange.error, exchange.outcome
            except (ServerAway, ServerFailed, ServerSlow) as failure:
                error = str(failure)
                raise
            except (ClientGone, asyncio.CancelledError) as reason:
                error, outcome = None, "cancelled"
                if isinstance(reason, asyncio.CancelledError):
                    raise
            except Refused:
                outcome = "refused"
                raise
            finally:
                if outcome == "refused":
                    self._predictions.release(1)
                    version.completions.outcome(outcome)
                    if exchange.outcome == "refused":
                        self._metrics.error(version.model, "upstream_refused")
                else:
                    self._write(exchange, error, outcome)
            # The line is in the log before the answer is complete.
            if outcome != "cancelled":
                with contextlib.suppress(ClientGone):
                    await exchange.finish()

    def _new_id(self) -> str:
        return self._ids.next(self._now())

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)

    def _write(self, exchange: "_Exchange", error: str | None, outcome: Outcome) -> None:
        request, version, reading = exchange.request, exchange.version, exchange.reading
        elapsed = time.perf_counter() - exchange.started
        prompt, completion = reading.prompt_tokens, reading.completion_tokens
        prices = self._prices.of(version.model, version.version)
        cost = prices.cost(prompt, completion) if prices and prompt is not None and completion is not None else None
        usage = Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            first_token_us=int(exchange.first_token_s * 1_000_000) if exchange.first_token_s is not None else None,
            finish="cancelled" if outcome == "cancelled" else reading.finish,
            cost=format(cost, "f") if cost is not None else None,
            currency=prices.currency if prices and cost is not None else None,
        )
        record = PredictionRecord(
            id=exchange.id,
            model=version.model,
            version=version.version,
            at=self._now(),
            entity=request.entity,
            latency_us=int(elapsed * 1_000_000),
            features={"messages": request.messages, "prompt_tokens": prompt, "stream": request.stream},
            error=error,
            usage=usage,
        )
        self._predictions.append([record])
        seen = version.completions
        seen.outcome(outcome)
        seen.duration(elapsed)
        seen.prompt_tokens(prompt or 0)
        seen.completion_tokens(completion or 0)
        if exchange.first_token_s is not None:
            seen.first_token(exchange.first_token_s)
        if outcome == "answered":
            version.metrics.latency(elapsed)
            version.metrics.predictions(1)
        if error is not None:
            log.warning("completion.failed", model=version.model, version=version.version, id=exchange.id, reason=error)


class _Exchange:
    """With one server, for one client."""

    def __init__(
        self,
        request: CompletionRequest,
        version: Version,
        upstream: Upstream,
        limits: CompletionLimits,
        send: Send,
        started: float,
        id: str,
        *,
        last: bool,
    ) -> None:
        self.request = request
        self.version = version
        self.started = started
        self.id = id
        self.reading = Reading()
        self.first_token_s: float | None = None
        self.error: str | None = None
        """What went wrong after the answer had begun."""
        self.outcome: Outcome = "answered"
        self._upstream = upstream
        self._limits = limits
        self._send = send
        self._last = last
        self._waited = 0.0
        self._head: Message | None = None
        """Of an answer that is not begun yet."""
        self._end = b""

    async def run(self, call: Call) -> None:
        """All but the end of the answer. Raises ServerAway, ServerFailed, ServerSlow or Overloaded while nothing has been sent,
        ClientGone at any time."""
        response = await self._ask(call)
        try:
            if response.status_code == httpx.codes.NOT_FOUND:
                # The name is ours, not the client's. A server that was started anew has forgotten its adapters.
                await response.aclose()
                await self._settle_again()
                response = await self._ask(call)
            await self._hand_on(response)
        finally:
            await response.aclose()

    async def finish(self) -> None:
        """Raises ClientGone."""
        if self._head is not None:
            await self._send(self._head)
        await self._give(self._end, more=False)

    async def _ask(self, call: Call) -> httpx.Response:
        """The head of the answer; the body is still to be read."""
        server = self._upstream.server
        request = server.client.build_request(
            "POST",
            f"/v1/{call}",
            content=self.request.as_asked_of(self._upstream.name),
            headers={"content-type": "application/json"},
        )
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._left_s()):
                return await server.client.send(request, stream=True)
        except httpx.PoolTimeout as error:
            raise Overloaded(f"server {server.name!r} has all its connections in use; try again") from error
        except httpx.ConnectTimeout as error:
            raise ServerAway(f"server {server.name!r} does not answer") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise ServerSlow(f"server {server.name!r} has not answered in {self._limits.total_s:g} s") from error
        except httpx.TransportError as error:
            raise ServerAway(f"server {server.name!r} cannot be reached: {type(error).__name__}") from error
        finally:
            self._waited += time.perf_counter() - started

    async def _settle_again(self) -> None:
        try:
            async with asyncio.timeout(self._left_s()):
                await self._upstream.settle()
        except PortError as error:
            raise ServerAway(str(error)) from error
        except TimeoutError as error:
            raise ServerSlow(f"server {self._upstream.server.name!r} takes too long to load {self._upstream.name!r}") from error

    async def _hand_on(self, response: httpx.Response) -> None:
        status, server = response.status_code, self._upstream.server.name
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise ServerAway(f"server {server!r} does not take the gateway's key")
        if status == httpx.codes.NOT_FOUND:
            raise ServerAway(f"server {server!r} does not serve {self._upstream.name!r}")
        if status == httpx.codes.SERVICE_UNAVAILABLE:
            raise ServerAway(f"server {server!r} is not available (503)")
        if response.is_client_error:
            self.outcome = "refused"
            self._keep(response, await self._whole(response))
        elif not response.is_success:
            raise ServerFailed(f"server {server!r} answered {status}")
        elif response.headers.get("content-type", "").startswith("text/event-stream"):
            await self._stream(response)
        else:
            body = await self._whole(response)
            self.reading.whole(body)
            self._keep(response, body)

    async def _whole(self, response: httpx.Response) -> bytes:
        found, size = [], 0
        async with contextlib.aclosing(self._pieces(response, self._limits.total_s)) as pieces:
            async for piece in pieces:
                size += len(piece)
                if size > self._limits.answer_bytes:
                    server = self._upstream.server.name
                    raise ServerFailed(f"server {server!r} answers with more than {self._limits.answer_bytes} bytes")
                found.append(piece)
        return b"".join(found)

    def _keep(self, response: httpx.Response, body: bytes) -> None:
        self._head = self._head_of(response, (b"content-length", b"%d" % len(body)))
        self._end = body

    async def _stream(self, response: httpx.Response) -> None:
        """Once a stream has begun its failure can only be said in it."""
        await self._send(self._head_of(response, (b"cache-control", b"no-cache")))
        events = Events()
        try:
            async with contextlib.aclosing(self._pieces(response, self._limits.idle_s)) as pieces:
                async for piece in pieces:
                    out = bytearray()
                    for event in events.feed(piece):
                        hidden = self.reading.event(event) and not self.request.counts
                        if not hidden:
                            out += event
                    if self.first_token_s is None and self.reading.begun:
                        self.first_token_s = time.perf_counter() - self.started
                    if out:
                        await self._give(bytes(out), more=True)
        except Refused as failure:
            self._break_off(str(failure), failure.status)
            return
        except ValueError as error:
            self._break_off(f"server {self._upstream.server.name!r}: {error}", ServerFailed.status)
            return
        if self.reading.failed:
            self.error, self.outcome = f"server {self._upstream.server.name!r} failed in the middle of its answer", "failed"
        elif not self.reading.done:
            self._break_off(f"server {self._upstream.server.name!r} broke off its answer", ServerFailed.status)
            return
        self._end = events.rest()

    def _break_off(self, reason: str, code: int) -> None:
        """Without the `[DONE]` of a proper end."""
        self.error, self.outcome = reason, "failed"
        self._end = b"data: " + error_body(reason, "server_error", code) + b"\n\n"

    async def _pieces(self, response: httpx.Response, idle_s: float) -> AsyncGenerator[bytes, None]:
        """As they come. Raises ServerSlow, or ServerAway when the server breaks off."""
        server = self._upstream.server.name
        pieces = response.aiter_raw()
        while True:
            started = time.perf_counter()
            try:
                async with asyncio.timeout(min(idle_s, self._left_s())):
                    piece = await anext(pieces, None)
            except (httpx.TimeoutException, TimeoutError) as error:
                raise ServerSlow(f"server {server!r} has stopped to answer") from error
            except httpx.TransportError as error:
                raise ServerAway(f"server {server!r} broke off its answer: {type(error).__name__}") from error
            finally:
                self._waited += time.perf_counter() - started
            if piece is None:
                return
            yield piece

    def _left_s(self) -> float:
        return max(self._limits.total_s - self._waited, 0.001)

    def _head_of(self, response: httpx.Response, more: tuple[bytes, bytes]) -> Message:
        passed = [(name.encode(), value.encode()) for name in _PASSED if (value := response.headers.get(name))]
        own = [
            (b"x-oppen-model", self.version.model.encode("ascii", "backslashreplace")),
            (b"x-oppen-version", self.version.version.encode("ascii", "backslashreplace")),
            (b"x-oppen-prediction-id", self.id.encode()),
        ]
        closing = [(b"connection", b"close")] if self._last else []
        return {"type": "http.response.start", "status": response.status_code, "headers": [*passed, more, *own, *closing]}

    async def _give(self, body: bytes, *, more: bool) -> None:
        """Raises ClientGone when the client takes nothing any more."""
        try:
            async with asyncio.timeout(self._limits.send_s):
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError as error:
            raise ClientGone from error


async def _unless_gone(work: Coroutine[None, None, None], receive: Receive) -> None:
    """Raises ClientGone, with `work` cancelled, when the client leaves before it is done."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        # What a connection raises while it is torn down concerns nobody any more.
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def error_body(message: str, type: str, code: int, *, param: str | None = None) -> bytes:
    """An error as OpenAI's clients and vLLM write it."""
    return msgspec.json.encode({"error": {"message": message, "type": type, "param": param, "code": code}})
