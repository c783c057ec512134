"""The door to SQL: one database, SQLite in a file or PostgreSQL by URL, behind the same four verbs.

SQLite has one writer at a time. Instead of letting transactions fight over the file's lock, this process has one writing
connection and hands it out in order of asking; readers have their own connections and are never in the way (write-ahead log).
`synchronous=FULL` means that a commit that returned survives a power cut.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from api.store import journal, schema
from api.store.failures import translated
from api.store.sessions import ReadSession, Transaction
from api.store.signals import Signals
from tools.errors import TemporaryError

_BUSY_TIMEOUT_S = 10
"""How long a lock held by another process is waited for, before it is a TemporaryError."""
_RETRY_S = 0.05
_HELD = timedelta(seconds=1)
"""When to ask again for what another process holds: it is at it for seconds."""
_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
# A holder whose machine vanished is noticed after a minute, and not after the two hours that are the usual default; one that
# lives may hold for as long as it likes.
_HOLDING = (
    "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c idle_in_transaction_session_timeout=0"
)


class Database:
    """`url`: `sqlite:///PATH` or `postgresql://...`; the asynchronous driver is chosen here."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        match parsed.get_backend_name():
            case "sqlite":
                self._writing, self._reading = _sqlite(parsed)
                self._holding: AsyncEngine | None = None
                self._turn: contextlib.AbstractAsyncContextManager[Any] = asyncio.Lock()
            case "postgresql":
                self._writing, self._reading, self._holding = _postgresql(parsed)
                self._turn = contextlib.nullcontext()
            case other:
                raise ValueError(f"{other} is not supported: use sqlite:///PATH or postgresql://...")
        self._transactions = async_sessionmaker(self._writing, class_=Transaction, expire_on_commit=False)
        self._reads = async_sessionmaker(self._reading, class_=ReadSession, expire_on_commit=False)
        self._inside: set[asyncio.Task[Any] | None] = set()
        self.signals = Signals()

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[Transaction]:
        """One transaction, committed when the block is left and rolled back when it raises.

        Raises TemporaryError when it may be tried again as a whole, Conflict when a constraint forbids it.
        """
        task = asyncio.current_task()
        if task in self._inside:
            # On SQLite it would wait for itself for ever; on PostgreSQL it would pass, and commit half of a whole.
            raise RuntimeError("a transaction was begun within a transaction")
        self._inside.add(task)
        try:
            with translated():
                async with self._turn, self._transactions() as transaction:
                    yield transaction
                    await journal.write(transaction)
                    await transaction.commit()
        finally:
            self._inside.discard(task)
        self.signals.wake(transaction.journal.touched)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[ReadSession]:
        with translated():
            async with self._reads() as session:
                yield session

    @contextlib.asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Of all processes on this database, be the one that does `name`, until the block is left or the process is dead.

        Raises TemporaryError when another process is at it, or when the connection that held it was lost in between. An SQLite
        file has one service, whose tasks keep apart by themselves; one process that holds a name twice is refused the second.
        """
        if self._holding is None:
            yield
            return
        with translated():
            # The lock is the transaction's: nothing to give back, and no proxy between us and the server can mix it up.
            async with self._holding.begin() as connection:
                if not await connection.scalar(_TRY_LOCK, {"name": name}):
                    raise TemporaryError(f"another process is at {name}", retry_after=_HELD)
                yield

    async def ping(self) -> None:
        """Raises TemporaryError when the database does not answer."""
        async with self.read() as session:
            await session.execute(text("SELECT 1"))

    async def migrate(self) -> bool:
        """Bring the schema up to date; whether there was anything to do. Cheap when there was not: every start asks."""
        limit = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                with translated():
                    return await schema.upgrade(self._writing)
            except TemporaryError:
                # Processes that start at once on a new file: turning the write-ahead log on is the one thing for which SQLite
                # does not wait for the other's lock. And a server may be starting along with us.
                if time.monotonic() > limit:
                    raise
                await asyncio.sleep(_RETRY_S)

    async def up_to_date(self) -> bool:
        """Whether the schema is that of this build; changes nothing."""
        with translated():
            return await schema.up_to_date(self._reading)

    async def close(self) -> None:
        await self._reading.dispose()
        await self._writing.dispose()
        if self._holding is not None:
            await self._holding.dispose()


def _sqlite(url: URL) -> tuple[AsyncEngine, AsyncEngine]:
    if not url.database or url.database == ":memory:":
        raise ValueError("SQLite needs a file: sqlite:///PATH")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    url = url.set(drivername="sqlite+aiosqlite")
    arguments = {"timeout": float(str(url.query.get("timeout", _BUSY_TIMEOUT_S))), "isolation_level": None}
    options: dict[str, Any] = {"connect_args": arguments}
    writing = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0, **options)
    reading = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, pool_size=4, max_overflow=0, **options)

    @event.listens_for(writing.sync_engine, "connect")
    def _prepare_writer(connection: Any, _record: object) -> None:
        _pragmas(connection, "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")

    @event.listens_for(writing.sync_engine, "begin")
    def _begin(connection: Any) -> None:
        # Taken at the start: a transaction that reads first and writes later could not be upgraded while another one writes.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(reading.sync_engine, "connect")
    def _prepare_reader(connection: Any, _record: object) -> None:
        _pragmas(connection, "query_only=ON")

    return writing, reading


def _pragmas(connection: Any, *pragmas: str) -> None:
    cursor = connection.cursor()
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _postgresql(url: URL) -> tuple[AsyncEngine, AsyncEngine, AsyncEngine]:
    """For writing, for reading, and for holding."""
    url = url.set(drivername="postgresql+psycopg")
    # UTC, or a time near the edge of the calendar cannot be shown in the server's zone; no lock is waited for without end.
    settings = f"-c timezone=UTC -c lock_timeout={_BUSY_TIMEOUT_S}s"
    common: dict[str, Any] = {"pool_pre_ping": True, "pool_timeout": _BUSY_TIMEOUT_S, "pool_size": 5, "max_overflow": 5}
    writing = create_async_engine(url, connect_args=_connect(settings), **common)
    reading = create_async_engine(
        url,
        connect_args=_connect(f"{settings} -c default_transaction_read_only=on"),
        isolation_level="AUTOCOMMIT",
        **common,
    )
    # One for each run that moves, of which the engine sees to it that they are not many.
    holding = create_async_engine(
        url, connect_args=_connect(f"{settings} {_HOLDING}"), pool_pre_ping=True, pool_size=2, max_overflow=-1
    )
    return writing, reading, holding


def _connect(settings: str) -> dict[str, Any]:
    return {"options": settings, "application_name": "oppen", "connect_timeout": 5}
