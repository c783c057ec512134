"""A notifier that keeps what it was told, and the memory that real ones are given."""

from collections.abc import Sequence

from tools.errors import PermanentError, TemporaryError
from tools.notify.port import Message


class SentMessages:
    def __init__(self) -> None:
        self.messages: dict[str, tuple[str, Message]] = {}

    async def already(self, key: str) -> bool:
        return key in self.messages

    async def record(self, key: str, channel: str, message: Message) -> None:
        self.messages.setdefault(key, (channel, message))


class RememberingNotifier:
    """Takes the channels it is given; `sent` holds (channel, message, key) in order."""

    def __init__(self, channels: Sequence[str] = ("ops",)) -> None:
        self._channels = tuple(channels)
        self.sent: list[tuple[str, Message, str]] = []
        self._down = False

    def go_down(self) -> None:
        self._down = True

    async def ping(self) -> None:
        return None

    async def send(self, channel: str, message: Message, *, key: str) -> None:
        if channel not in self._channels:
            raise PermanentError(f"there is no channel {channel!r}")
        if self._down:
            raise TemporaryError("the channel does not answer")
        if all(known != key for _, _, known in self.sent):
            self.sent.append((channel, message, key))
