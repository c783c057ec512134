"""Whether a delivery of alerts comes from the source that it is posted for. A source without credentials cannot post.

Senders that authenticate by a header are refused before their body is read. A signature covers the body, so it is read first,
in a place for strangers, and parsed only after.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar

from starlette.requests import Request

from api.problems import Unauthenticated
from api.settings import Sender
from api.web.services import Services
from api.web.strangers import Strangers
from tools.rollouts.canaries import password

_TOLERANCE = timedelta(minutes=5)
"""How old a signed delivery may be; clocks differ, and a replay is worth nothing after it."""


class WantsPassword(Unauthenticated):
    challenge: ClassVar[str] = "Basic"


class WantsSignature(Unauthenticated):
    challenge: ClassVar[str] = "Signature"


READ_S = 10.0
"""In which a delivery has to arrive; Alertmanager itself waits no longer for its answer."""


async def recognise(source: str, request: Request, needs: Services, strangers: Strangers) -> None:
    """Returns when the request is shown to come from `source`, without its body where the headers show it.

    Raises Unauthenticated; Overloaded when a signed body came too slowly.
    """
    sender, headers = needs.senders.get(source), request.headers
    match sender:
        case None:
            raise Unauthenticated(f"no credentials are configured for {source}: set OPPEN_SENDERS")
        case Sender(bearer=secret) if secret is not None:
            if not _same(_given(headers, "bearer"), secret.get_secret_value()):
                raise Unauthenticated(f"the bearer token of {source} is missing or wrong")
        case Sender(basic=secret) if secret is not None:
            if not _same(_decoded(_given(headers, "basic")), secret.get_secret_value()):
                raise WantsPassword(f"the user and password of {source} are missing or wrong")
        case Sender(hmac=secret) if secret is not None:
            if not await _signed(secret.get_secret_value(), request, strangers, needs.clock.now()):
                raise WantsSignature(f"sign as {source} with X-Timestamp and X-Signature over 'timestamp.body', of this minute")
        case Sender(github=secret) if secret is not None:
            async with strangers.place(READ_S):
                body = await request.body()
            expected = f"sha256={_digest(secret.get_secret_value(), body)}"
            if not _same(headers.get("x-hub-signature-256", ""), expected):
                raise WantsSignature(f"sign as {source} with X-Hub-Signature-256 over the body")
        case Sender(canary=secret) if secret is not None:
            user, _, given = _decoded(_given(headers, "basic")).partition(":")
            namespace, _, name = user.partition(".")
            if not _same(given, password(secret.get_secret_value(), namespace, name)):
                raise WantsPassword(f"the user and password of {source} are missing or wrong")
        case _:
            raise Unauthenticated(f"no credentials are configured for {source}: set OPPEN_SENDERS")


def speaks_for(source: str, namespace: str, name: str, request: Request, needs: Services) -> bool:
    """Whether what was recognised as `source` may ask about that Canary: with a password of its own, about no other."""
    sender = needs.senders.get(source)
    if sender is None or sender.canary is None:
        return sender is not None
    user, _, _ = _decoded(_given(request.headers, "basic")).partition(":")
    return user == f"{namespace}.{name}"


def _given(headers: Mapping[str, str], wanted: str) -> str:
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    return credentials.strip() if scheme.lower() == wanted else ""


async def _signed(key: str, request: Request, strangers: Strangers, now: datetime) -> bool:
    headers = request.headers
    timestamp = headers.get("x-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now.timestamp() - int(timestamp)) > _TOLERANCE.total_seconds():
        return False
    given = headers.get("x-signature", "").removeprefix("sha256=")
    async with strangers.place(READ_S):
        body = await request.body()
    return _same(given, _digest(key, timestamp.encode() + b"." + body))


def _digest(key: str, content: bytes) -> str:
    return hmac.new(key.encode(), content, hashlib.sha256).hexdigest()


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
