"""What a notifier has to remember: which messages it handed over."""

from typing import Protocol

from tools.notify.port import Message


class Sent(Protocol):
    async def already(self, key: str) -> bool: ...

    async def record(self, key: str, channel: str, message: Message) -> None:
        """Repeating a `key` keeps the first."""
        ...
