"""Who asks, and what they may do. Deny by default: a route without one of these types in its signature is public on purpose.

API keys are `oppen_{id}_{secret}`; only the secret's SHA-256 is stored, which is enough because the secret is 256 random bits.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.problems import Forbidden, Unauthenticated
from api.settings import Sender
from api.store import ids, keys
from api.store.records import ApiKeyRecord
from api.web.services import Services

_TOLERANCE = timedelta(minutes=5)
"""How old a signed delivery may be; clocks differ, and a replay is worth nothing after it."""


class Role(IntEnum):
    """Each may do what the ones before it may."""

    VIEWER = 1
    OPERATOR = 2
    APPROVER = 3
    ADMIN = 4


@dataclass(frozen=True)
class Principal:
    name: str
    role: Role
    key_id: str


def new_key(name: str, role: Role, now: datetime, expires_at: datetime | None = None) -> tuple[ApiKeyRecord, str]:
    """The row to store, and the key itself, which exists nowhere else: show it once."""
    key_id = ids.new("key", now).removeprefix("key_")
    secret = secrets.token_hex(32)
    record = ApiKeyRecord(
        id=key_id,
        name=name,
        role=role.name.lower(),
        secret_hash=hashlib.sha256(secret.encode()).hexdigest(),
        created_at=now,
        expires_at=expires_at,
    )
    return record, f"oppen_{key_id}_{secret}"


def services(request: Request) -> Services:
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


Needs = Annotated[Services, Depends(services)]
_bearer = HTTPBearer(auto_error=False, description="An API key: `oppen keys create`.", scheme_name="ApiKey")


async def principal(needs: Needs, given: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)] = None) -> Principal:
    """Raises Unauthenticated, in the same words and time whether the key, its id or its secret is wrong."""
    prefix, _, rest = (given.credentials if given else "").partition("_")
    key_id, _, secret = rest.partition("_")
    record = None
    if prefix == "oppen" and key_id:
        async with needs.database.read() as session:
            record = await keys.get(session, key_id)
    expected = record.secret_hash if record is not None else "0" * 64
    matches = hmac.compare_digest(hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest(), expected)
    now = needs.clock.now()
    if (
        record is None
        or not matches
        or record.revoked_at is not None
        or (record.expires_at is not None and record.expires_at <= now)
    ):
        raise Unauthenticated("send a valid API key as 'Authorization: Bearer oppen_...'; `oppen keys create` makes one")
    return Principal(record.name, Role[record.role.upper()], record.id)


class _AtLeast:
    def __init__(self, role: Role) -> None:
        self._role = role

    async def __call__(self, who: Annotated[Principal, Depends(principal)]) -> Principal:
        if who.role < self._role:
            raise Forbidden(f"this needs the role {self._role.name.lower()}; {who.name} is {who.role.name.lower()}")
        return who


CanView = Annotated[Principal, Depends(_AtLeast(Role.VIEWER))]
CanOperate = Annotated[Principal, Depends(_AtLeast(Role.OPERATOR))]
CanDecide = Annotated[Principal, Depends(_AtLeast(Role.APPROVER))]
CanAdminister = Annotated[Principal, Depends(_AtLeast(Role.ADMIN))]


def check_sender(senders: Mapping[str, Sender], source: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
    """Raises Unauthenticated unless the delivery proves that it comes from `source`."""
    sender = senders.get(source)
    if sender is None:
        raise Unauthenticated(f"no credentials are configured for {source}: set OPPEN_SENDERS")
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if sender.bearer is not None:
        proven = scheme.lower() == "bearer" and _same(given.strip(), sender.bearer.get_secret_value())
    elif sender.basic is not None:
        proven = scheme.lower() == "basic" and _same(_decoded(given), sender.basic.get_secret_value())
    elif sender.hmac is not None:
        proven = _signed(sender.hmac.get_secret_value(), headers, body, now)
    else:
        proven = False
    if not proven:
        raise Unauthenticated(f"the credentials of {source} are missing or wrong")


def _signed(key: str, headers: Mapping[str, str], body: bytes, now: datetime) -> bool:
    timestamp = headers.get("x-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return False
    if abs(now.timestamp() - int(timestamp)) > _TOLERANCE.total_seconds():
        return False
    expected = hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return _same(headers.get("x-signature", ""), f"sha256={expected}")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode("utf-8", "replace"))


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text.strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
