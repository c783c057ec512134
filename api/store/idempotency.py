"""The answers that were given to writes with an `Idempotency-Key`, so that repeating the request repeats the answer."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete

from api.store.records import IdempotencyRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import insert


async def find(session: ReadSession, principal: str, route: str, key: str) -> IdempotencyRecord | None:
    """Compare its `request_hash`: the same key with another body is a mistake of the caller's."""
    return await session.get(IdempotencyRecord, (principal, route, key))


async def remember(
    transaction: Transaction,
    principal: str,
    route: str,
    key: str,
    *,
    request_hash: str,
    status: int,
    body: Mapping[str, Any],
    at: datetime,
) -> bool:
    """False when an answer to this key was given meanwhile; the first one stands."""
    statement = (
        insert(transaction, IdempotencyRecord)
        .values(principal=principal, route=route, key=key, request_hash=request_hash, status=status, body=dict(body), at=at)
        .on_conflict_do_nothing(index_elements=["principal", "route", "key"])
        .returning(IdempotencyRecord.key)
    )
    return (await transaction.execute(statement)).first() is not None


async def forget(transaction: Transaction, before: datetime) -> None:
    """Drop answers older than `before`: a client that repeats does so within minutes."""
    await transaction.execute(delete(IdempotencyRecord).where(IdempotencyRecord.at < before))
