"""How much the platform may do by itself right now, and the kill switch.

The mode is read from SQL each time it is asked for: a copy in memory would be quicker by a millisecond, and would let a replica
act for as long as it is kept after somebody has thrown the switch.
"""

from collections.abc import Awaitable, Callable

from agents.policies import Mode, Policies
from api.problems import FieldError, Invalid
from api.store import audit, autonomy
from api.store.database import Database
from api.store.records import AutonomyRecord
from api.store.sessions import Transaction
from api.store.text import storable
from tools.clock import Clock


class Autonomy:
    def __init__(self, database: Database, policies: Callable[[], Policies], clock: Clock) -> None:
        self._database = database
        self._policies = policies
        self._clock = clock

    async def mode(self) -> Mode:
        """What was last set, or the policies' mode while nobody has set one."""
        record = await self.current()
        return self._policies().mode if record is None else Mode(record.mode)

    async def current(self) -> AutonomyRecord | None:
        """Who set the mode that holds, when and why; None: it is the policies'."""
        async with self._database.read() as session:
            return await autonomy.current(session)

    async def history(self, *, limit: int = 50) -> list[AutonomyRecord]:
        """Newest first."""
        async with self._database.read() as session:
            return await autonomy.changes(session, limit=limit)

    async def change(
        self,
        mode: Mode,
        *,
        actor: str,
        reason: str,
        then: Callable[[Transaction, AutonomyRecord], Awaitable[None]] | None = None,
    ) -> AutonomyRecord:
        """Holds for every decision that is made after this returns, in every replica. `then` is done in the same transaction.
        Raises Invalid without a reason."""
        if not reason.strip() or not storable(reason):
            raise Invalid(
                "a change of autonomy says why", errors=(FieldError(field="reason", detail="say why, in plain text"),)
            )
        now = self._clock.now()
        async with self._database.begin() as transaction:
            record = await autonomy.add(transaction, mode.value, actor, reason, at=now)
            audit.append(
                transaction,
                at=now,
                actor=actor,
                action="autonomy.changed",
                subject="autonomy",
                data={"mode": mode.value, "reason": reason},
            )
            if then is not None:
                await then(transaction, record)
        return record
