"""Which messages were handed over, by key, so that none is sent twice."""

from datetime import datetime

from sqlalchemy import delete, select

from api.store.database import Database
from api.store.records import NotificationRecord
from api.store.statements import insert
from tools.clock import Clock
from tools.notify.port import Message


class SentMessages:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def already(self, key: str) -> bool:
        async with self._database.read() as session:
            return await session.get(NotificationRecord, key) is not None

    async def record(self, key: str, channel: str, message: Message) -> None:
        """Repeating a `key` keeps the first."""
        async with self._database.begin() as transaction:
            await transaction.execute(
                insert(transaction, NotificationRecord)
                .values(key=key, channel=channel, message=message.model_dump(mode="json"), sent_at=self._clock.now())
                .on_conflict_do_nothing(index_elements=["key"])
            )

    async def forget(self, before: datetime, limit: int) -> int:
        """Drop at most `limit` that were sent before that; how many went. Their keys would be sent again."""
        old = select(NotificationRecord.key).where(NotificationRecord.sent_at < before).limit(limit)
        async with self._database.begin() as transaction:
            gone = await transaction.execute(
                delete(NotificationRecord).where(NotificationRecord.key.in_(old)).returning(NotificationRecord.key)
            )
            return len(gone.all())
