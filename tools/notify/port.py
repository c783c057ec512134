"""Telling people. A message that was accepted here was handed to every target of its channel."""

from typing import Literal, Protocol, runtime_checkable

from tools.values import Frozen


class Message(Frozen):
    title: str
    body: str
    severity: Literal["info", "warning", "critical"] = "info"
    link: str = ""


@runtime_checkable
class Notifier(Protocol):
    async def ping(self) -> None: ...

    async def send(self, channel: str, message: Message, *, key: str) -> None:
        """Repeating a `key` within this installation sends nothing again. Raises PermanentError for an unknown channel."""
        ...
