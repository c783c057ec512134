"""The embedded notifier: messages as lines of JSON in a file that the operator reads. Nothing leaves the machine."""

import asyncio
import json
import os
from datetime import datetime
from pathlib import Path

from tools.clock import Clock
from tools.errors import TemporaryError
from tools.notify.port import Message
from tools.notify.sent import Sent

_TAIL = 256 * 1024
"""A repetition comes soon after what it repeats: so far back the file is searched for its key."""


class OutboxNotifier:
    """One per file. It takes any channel: every message is in the same place."""

    def __init__(self, path: Path, sent: Sent, clock: Clock) -> None:
        self._path = path
        self._sent = sent
        self._clock = clock
        self._lock = asyncio.Lock()

    async def ping(self) -> None:
        """Raises TemporaryError when the file cannot be written."""
        await asyncio.to_thread(self._open_and_close)

    async def send(self, channel: str, message: Message, *, key: str) -> None:
        async with self._lock:
            if await self._sent.already(key):
                return
            await asyncio.to_thread(self._append, channel, message, key, self._clock.now())
            await self._sent.record(key, channel, message)

    def _open_and_close(self) -> None:
        os.close(self._open())

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # What is told to operators is nobody else's business.
            return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise TemporaryError(f"the outbox {self._path} cannot be written: {error.strerror}") from error

    def _append(self, channel: str, message: Message, key: str, at: datetime) -> None:
        """Once, also when the process died after the last time it was written and before that was recorded."""
        line = json.dumps({"at": at.isoformat(), "key": key, "channel": channel, **message.model_dump(mode="json")})
        descriptor = self._open()
        try:
            tail = _tail(descriptor)
            if key in _keys(tail):
                return
            # A line that was cut off by a crash is closed, so that it does not take this one with it.
            start = "" if not tail or tail.endswith(b"\n") else "\n"
            os.write(descriptor, f"{start}{line}\n".encode())
            os.fsync(descriptor)
        except OSError as error:
            raise TemporaryError(f"the outbox {self._path} cannot be written: {error.strerror}") from error
        finally:
            os.close(descriptor)


def _tail(descriptor: int) -> bytes:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, _TAIL, max(0, size - _TAIL))


def _keys(tail: bytes) -> set[str]:
    keys = set()
    for line in tail.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # cut off, by a crash or by where the tail begins
            continue
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            keys.add(entry["key"])
    return keys
