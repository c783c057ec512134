"""Who asks, and what they may do. Deny by default: a route without one of these types in its signature is public on purpose.

API keys are `oppen_{id}_{secret}`; only the secret's SHA-256 is stored, which is enough because the secret is 256 random bits.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.problems import Forbidden, Unauthenticated
from api.store import ids, keys
from api.store.records import ApiKeyRecord
from api.web.dependencies import Here, Needs

_KEY = re.compile(r"oppen_([0-9a-f]{32})_([0-9a-f]{64})")
_UNKNOWN = "0" * 64
"""Compared with when there is no such key, so that this takes as long as a wrong secret."""

_ADVICE = "send a valid API key as 'Authorization: Bearer oppen_...'; `oppen keys create` makes one"


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


def key_id_of(key: str) -> str:
    """Empty when it has not the form of a key."""
    form = _KEY.fullmatch(key)
    return form[1] if form else ""


def opens(key: str, record: ApiKeyRecord | None, now: datetime) -> bool:
    """Whether the key is that of the row, which is still valid."""
    return _holds(record, key.rpartition("_")[2], now)


_bearer = HTTPBearer(auto_error=False, description="An API key: `oppen keys create`.", scheme_name="ApiKey")
_Given = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


async def principal(request: Request, needs: Needs, here: Here, given: _Given = None) -> Principal:
    """Raises Unauthenticated, in the same words whether the key, its id or its secret is wrong; TooManyFailures."""
    if given is None:
        raise Unauthenticated(_ADVICE)
    address = request.client.host if request.client else ""
    form = _KEY.fullmatch(given.credentials)
    key_id, secret = form.groups() if form else ("", "")
    here.failures.check(address, key_id)
    record = None
    if key_id:
        async with needs.database.read() as session:
            record = await keys.get(session, key_id)
    if not _holds(record, secret, needs.clock.now()) or record is None:
        here.failures.failed(address)
        here.metrics.refused_key()
        raise Unauthenticated(_ADVICE)
    here.failures.held(key_id)
    return Principal(record.name, Role[record.role.upper()], record.id)


def _holds(record: ApiKeyRecord | None, secret: str, now: datetime) -> bool:
    expected = _UNKNOWN if record is None else record.secret_hash
    same = hmac.compare_digest(hashlib.sha256(secret.encode()).hexdigest(), expected)
    if record is None or not same or record.revoked_at is not None:
        return False
    return record.expires_at is None or now < record.expires_at


Who = Annotated[Principal, Depends(principal)]


class _AtLeast:
    def __init__(self, role: Role) -> None:
        self._role = role

    async def __call__(self, who: Who) -> Principal:
        if who.role < self._role:
            raise Forbidden(f"this needs the role {self._role.name.lower()}; {who.name} is {who.role.name.lower()}")
        return who


# As scopes, so that the document says which role an operation needs.
CanView = Annotated[Principal, Security(_AtLeast(Role.VIEWER), scopes=["viewer"])]
CanOperate = Annotated[Principal, Security(_AtLeast(Role.OPERATOR), scopes=["operator"])]
CanDecide = Annotated[Principal, Security(_AtLeast(Role.APPROVER), scopes=["approver"])]
CanAdminister = Annotated[Principal, Security(_AtLeast(Role.ADMIN), scopes=["admin"])]
