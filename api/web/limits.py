"""What a request may cost before anybody is known to have sent it: pure ASGI, so that nothing is read that nobody asks for.

A body is not collected here. It is counted while a route reads it, so a route that refuses a sender by its headers has cost the
service nothing, and one that reads on is stopped at the bound.
"""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Malformed, TooLarge
from api.web.errors import respond

_SMALL_BYTES = 256 * 1024
"""For all that is no delivery: the largest of them, an edited action, stays under a tenth of this."""
_DELIVERIES = ("/v1/alerts/", "/v1/lineage")


class BodyLimit:
    """413 for bodies above the bound, whether or not they say how long they are. `deliveries`: the bytes that alerts and
    events of lineage may have."""

    def __init__(self, app: ASGIApp, deliveries: int) -> None:
        self._app = app
        self._deliveries = deliveries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._deliveries if scope["path"].startswith(_DELIVERIES) else _SMALL_BYTES
        reading = _Reading(receive, send, limit)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit():
            await respond(Malformed("Content-Length is no number"))(scope, receive, send)
            return
        try:
            if int(declared[:20]) > limit:
                raise _TooLong
            await self._app(scope, reading.receive, reading.send)
        except _TooLong:
            reading.over = True
        if reading.over:
            detail = f"at most {limit} bytes are taken at once; send less, or raise OPPEN_MAX_BODY_BYTES"
            # What is left of the body is not read: the connection is of no use to anybody any more.
            await respond(TooLarge(detail), {"Connection": "close"})(scope, receive, send)


class _TooLong(Exception):
    """Breaks off whoever is reading the body."""


class _Reading:
    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._left = limit
        self.over = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                self.over = True
                raise _TooLong
        return message

    async def send(self, message: Message) -> None:
        """Whatever is made of the broken-off body inside, the answer is ours."""
        if not self.over:
            await self._send(message)
