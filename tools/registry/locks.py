"""One change of a model's aliases at a time, over all processes that share a database.

The registry has no compare-and-set, so who changes an alias has to be alone for as long as it takes to look, write and look
again. The locks belong to whoever holds them by the kernel's or the server's book-keeping: killed at any instant, they are
free. None of them is held for longer than two or three calls to the registry.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import exc, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tools.errors import TemporaryError

_PATIENCE_S = 10
_RETRY_S = 0.01


class Exclusion(Protocol):
    def over(self, model: str) -> contextlib.AbstractAsyncContextManager[None]:
        """Raises TemporaryError when somebody else is at work for too long."""
        ...


class FileExclusion:
    """For SQLite, whose one writer lock must not be held while the registry answers: a lock on a file beside the database.

    It covers all models: moves of aliases are rare and short.
    """

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(f"{database.name}-aliases.lock")
        self._here = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def over(self, model: str) -> AsyncIterator[None]:
        async with self._here:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                await self._acquire(descriptor, model)
                yield
            finally:
                # Closing is letting go.
                os.close(descriptor)

    @staticmethod
    async def _acquire(descriptor: int, model: str) -> None:
        """Asks again and again: the kernel can only be waited for by a thread that could not be called back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    try:
                        return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        await asyncio.sleep(_RETRY_S)
        raise TemporaryError(f"another process has been moving aliases for {_PATIENCE_S} s; {model} was left alone")


class PostgresExclusion:
    """An advisory lock of a transaction: the server lets go of it when the connection is gone."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @contextlib.asynccontextmanager
    async def over(self, model: str) -> AsyncIterator[None]:
        number = int.from_bytes(hashlib.sha256(f"alias_changes/{model}".encode()).digest()[:8], signed=True)
        async with self._engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="READ COMMITTED")
            async with connection.begin():
                try:
                    await connection.execute(text(f"SET LOCAL lock_timeout = '{_PATIENCE_S}s'"))
                    await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
                except exc.OperationalError as error:
                    raise TemporaryError(f"another process is moving aliases of {model}: {error.orig}") from error
                yield
