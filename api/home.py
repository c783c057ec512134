"""Who is at work in a home on SQLite: one service, or commands that open its database themselves.

The embedded engines take one process at a time, and a schema must not be changed under a service. So a service has the home to
itself, and a command changes the schema only where no service is; what it does otherwise (a key is made, a row is read) is as
good beside a service as without one. On PostgreSQL the database keeps them apart, and nothing is locked.
"""

import asyncio
import contextlib
import fcntl
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import TextIO

from sqlalchemy.engine import make_url

from api.settings import Settings
from api.store.database import Database

_PATIENCE = timedelta(seconds=5)
"""How long a service waits for commands to be done with the schema, and a command for a service that is just starting; making
a schema from nothing takes a second."""
_RETRY_S = 0.05


class HomeInUse(Exception):
    """A service is at work there, or something keeps one from it."""


class HomeUnusable(Exception):
    """It is no folder, or none that may be written."""


@contextlib.asynccontextmanager
async def service(settings: Settings, *, patience: timedelta = _PATIENCE) -> AsyncIterator[None]:
    """Be the one service of the home. Raises HomeInUse, HomeUnusable."""
    limit = time.monotonic() + patience.total_seconds()
    with contextlib.ExitStack() as stack:
        for file in _locks(settings, stack):
            while not _lock(file, fcntl.LOCK_EX):
                # A command is done with it in a moment; another service never is.
                if time.monotonic() > limit:
                    raise HomeInUse(f"another service is at work in {Path(file.name).parent}; several need PostgreSQL")
                await asyncio.sleep(_RETRY_S)
        yield


@contextlib.asynccontextmanager
async def opened(settings: Settings, *, patience: timedelta = _PATIENCE) -> AsyncIterator[tuple[Database, bool]]:
    """The database for a command, its schema up to date, and whether the command has made it so.

    Raises HomeInUse when a service of another build is at work there; HomeUnusable.
    """
    with contextlib.ExitStack() as stack:
        files = _locks(settings, stack)
        database = Database(settings.database)
        try:
            # Shared: commands do not keep each other away, and the database has them migrate one after the other.
            if all(_lock(file, fcntl.LOCK_SH) for file in files):
                changed = await database.migrate()
            else:
                await _wait_for_service(settings, database, patience)
                changed = False
            stack.close()
            yield database, changed
        finally:
            await database.close()


async def _wait_for_service(settings: Settings, database: Database, patience: timedelta) -> None:
    """Until the one that is at work has brought the schema up to date, as each does at its start."""
    limit = time.monotonic() + patience.total_seconds()
    while not await database.up_to_date():
        if time.monotonic() > limit:
            raise HomeInUse(f"the schema is not that of this build, and a service is at work in {settings.home}: stop it first")
        await asyncio.sleep(_RETRY_S)


def _locks(settings: Settings, stack: contextlib.ExitStack) -> list[TextIO]:
    """The files to lock, always in the same order: of the home, and of the database's folder where that is another one."""
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
        if not settings.on_sqlite:
            return []
        folders = {settings.home.resolve(), Path(make_url(settings.database).database or "").parent.resolve()}
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        return [stack.enter_context((folder / "service.lock").open("w")) for folder in sorted(folders)]
    except OSError as error:
        raise HomeUnusable(
            f"{error.filename} cannot be used ({error.strerror}); set OPPEN_HOME to a folder that you may write"
        ) from error


def _lock(file: TextIO, kind: int) -> bool:
    """The kernel lets go of it when the process dies, however it dies."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
