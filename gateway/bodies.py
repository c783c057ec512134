"""A request's body, read within its limit."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.refusals import TooLarge

Scope = Mapping[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """Raises TooLarge, before it is read where the request says its length."""
    declared = next((value for key, value in scope["headers"] if key == b"content-length"), b"0")
    if int(declared) > most:
        raise TooLarge(f"the body has {int(declared)} bytes where {most} are taken")
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):  # nearly always: small bodies come in one piece
        return body
    chunks = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > most:
            raise TooLarge(f"the body has more than {most} bytes")
    return b"".join(chunks)
