"""The embedded default: every message is a line of a file that the operator can read and follow."""

import asyncio
import json
from pathlib import Path

from tools.clock import Clock
from tools.errors import TemporaryError
from tools.notify.port import Message
from tools.notify.sent import Sent


class OutboxNotifier:
    """`Notifier`. Takes any channel: the line says which."""

    def __init__(self, file: Path, sent: Sent, clock: Clock) -> None:
        self._file = file
        self._sent = sent
        self._clock = clock
        self._turn = asyncio.Lock()

    async def ping(self) -> None:
        await asyncio.to_thread(self._append, "")

    async def channels(self) -> tuple[str, ...]:
        return ()

    async def send(self, channel: str, message: Message, *, key: str) -> None:
        async with self._turn:
            if await self._sent.already(key):
                return
            line = {"at": self._clock.now().isoformat(), "channel": channel, "key": key, **message.model_dump()}
            await asyncio.to_thread(self._append, json.dumps(line, ensure_ascii=False) + "\n")
            await self._sent.record(key, channel, message)

    def _append(self, text: str) -> None:
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise TemporaryError(f"the outbox cannot be written: {error}") from error
