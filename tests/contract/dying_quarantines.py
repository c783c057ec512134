"""A process that quarantines data and is killed on the way: SIGKILL, right before its transaction commits or right after."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import event

from api.store.database import Database
from api.store.quarantines import SqlQuarantines
from api.store.sessions import Transaction
from tests.twins.clock import SteppedClock
from tools.quarantines.port import Quarantine
from tools.values import Window

MODEL = "flights"
WINDOW = Window(start=datetime(2026, 3, 1, tzinfo=UTC), end=datetime(2026, 3, 2, tzinfo=UTC))
When = Literal["before", "after"]


async def place(on: SqlQuarantines) -> Quarantine:
    return await on.place(MODEL, WINDOW, ("wind",), expected=(), key="run/1", actor="ann", reason="the sensor hung")


async def release(on: SqlQuarantines, quarantine: str) -> Quarantine:
    return await on.release(quarantine, key="run/2", actor="bob", reason="repaired")


def die(url: str, when: When, quarantine: str | None) -> None:
    """Place one, or release this one."""

    def end(_session: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def run() -> None:
        on = SqlQuarantines(Database(url), SteppedClock())
        event.listen(Transaction.sync_session_class, f"{when}_commit", end)
        await (place(on) if quarantine is None else release(on, quarantine))

    asyncio.run(run())
