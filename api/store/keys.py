"""SQL about API keys. Only hashes come here; `api/web/auth.py` makes and checks the secrets."""

from datetime import datetime

from sqlalchemy import select, update

from api.store.records import ApiKeyRecord
from api.store.sessions import ReadSession, Transaction
from api.store.text import storable


async def get(session: ReadSession, key_id: str) -> ApiKeyRecord | None:
    return await session.get(ApiKeyRecord, key_id) if storable(key_id) else None


async def all_keys(session: ReadSession) -> list[ApiKeyRecord]:
    """Oldest first, revoked ones too: their names are in the audit log."""
    return list(await session.scalars(select(ApiKeyRecord).order_by(ApiKeyRecord.created_at, ApiKeyRecord.id)))


async def add(transaction: Transaction, key: ApiKeyRecord) -> None:
    """Raises Conflict when the name is taken."""
    transaction.add(key)
    await transaction.flush()


async def revoke(transaction: Transaction, key_id: str, *, at: datetime) -> bool:
    """False when there is no such key, or it was revoked before."""
    revoked = await transaction.execute(
        update(ApiKeyRecord)
        .where(ApiKeyRecord.id == key_id, ApiKeyRecord.revoked_at.is_(None))
        .values(revoked_at=at)
        .returning(ApiKeyRecord.id)
    )
    return revoked.first() is not None
