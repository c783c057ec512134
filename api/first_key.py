"""On an empty database nobody could do anything: the first start makes an admin key.

Its file is complete before its row is: a process that is killed in between leaves a key that opens nothing, and the next start
puts another one in its place. The other way round it would leave a row whose secret nobody has ever seen.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import structlog

from api.store import audit, keys
from api.store.database import Database
from api.web.auth import Role, key_id_of, new_key, opens
from tools.clock import Clock
from tools.errors import Conflict, TemporaryError

log = structlog.get_logger()

_ADVICE = "keep it elsewhere and delete the file"
_PATIENCE_S = 10.0
_RETRY_S = 0.1
"""Another replica makes it in a moment."""


async def ensure(database: Database, file: Path, clock: Clock) -> None:
    """Have exactly one key that works and that somebody can read, if there was none at all.

    A terminal shows it to whoever sits there; anything else may keep what it is told, so there it stays in the file. Raises
    TemporaryError when the database does not answer.
    """
    limit = time.monotonic() + _PATIENCE_S
    while True:
        try:
            # Two replicas may even share a home: the file of the one must not be the key of the other.
            async with database.hold("first key"):
                return await _ensure(database, file, clock)
        except TemporaryError as error:
            if time.monotonic() > limit:
                raise
            await asyncio.sleep(min(error.retry_after.total_seconds(), _RETRY_S))


async def _ensure(database: Database, file: Path, clock: Clock) -> None:
    async with database.read() as session:
        first = not await keys.all_keys(session)
    if first:
        await _make(database, file, clock)
    if (key := _read(file)) is None:
        return
    async with database.read() as session:
        record = await keys.get(session, key_id_of(key))
    if opens(key, record, clock.now()):
        _tell(file, key, first=first)
    else:
        _drop(file)
        log.warning("key.stale", file=str(file), advice="it opened nothing, and was deleted")


async def _make(database: Database, file: Path, clock: Clock) -> None:
    now = clock.now()
    record, key = new_key("admin", Role.ADMIN, now)
    _keep(file, f"{key}\n")
    told = {"key": record.id, "name": record.name, "role": record.role}
    try:
        async with database.begin() as transaction:
            await keys.add(transaction, record)
            audit.append(transaction, at=now, actor="first start", action="key.created", subject=f"key:{record.id}", data=told)
    except Conflict:
        _drop(file)  # somebody has made a key of that name by a command meanwhile, and has it


def _tell(file: Path, key: str, *, first: bool) -> None:
    if first and sys.stderr.isatty():
        sys.stderr.write(f"\nThe first API key, role admin, shown this once:\n\n  {key}\n\n")
        sys.stderr.flush()
        _drop(file)
    else:
        log.info("key.created" if first else "key.left", role="admin", file=str(file), advice=_ADVICE)


def _read(file: Path) -> str | None:
    return file.read_text().strip() if file.exists() else None


def _drop(file: Path) -> None:
    file.unlink(missing_ok=True)


def _keep(path: Path, secret: str) -> None:
    """Whole or not at all, on the disk, and for its owner's eyes alone from its first moment on."""
    new = path.with_name(f".{path.name}.new")
    # What a process that was killed has left there might be anybody's to read.
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
