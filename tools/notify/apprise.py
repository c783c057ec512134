"""Messages to people's own tools, through Apprise: mail, chat, pagers, webhooks, by URL."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tools.errors import PermanentError, TemporaryError
from tools.notify.port import Message
from tools.notify.sent import Sent

_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}


class AppriseNotifier:
    """`Notifier`. `urls`: channel -> Apprise URLs, which hold secrets and are never shown.

    At least once: a process that dies between the hand-over and its record tells people again.
    """

    def __init__(self, urls: Mapping[str, Sequence[str]], sent: Sent) -> None:
        self._urls = {channel: tuple(given) for channel, given in urls.items()}
        self._sent = sent
        self._targets: dict[str, Any] = {}
        self._turn = asyncio.Lock()

    async def ping(self) -> None:
        """Whether every URL is one that Apprise understands; nobody is told anything."""
        for channel in self._urls:
            await asyncio.to_thread(self._target, channel)

    async def channels(self) -> tuple[str, ...]:
        return tuple(self._urls)

    async def send(self, channel: str, message: Message, *, key: str) -> None:
        if channel not in self._urls:
            known = ", ".join(sorted(self._urls)) or "none"
            raise PermanentError(f"there is no channel {channel!r}; OPPEN_CHANNELS has {known}")
        async with self._turn:
            if await self._sent.already(key):
                return
            if not await asyncio.to_thread(self._deliver, channel, message):
                raise TemporaryError(f"channel {channel} did not take the message")
            await self._sent.record(key, channel, message)

    def _deliver(self, channel: str, message: Message) -> bool:
        body = f"{message.body}\n\n{message.link}" if message.link else message.body
        return bool(self._target(channel).notify(title=message.title, body=body, notify_type=_KINDS[message.severity]))

    def _target(self, channel: str) -> Any:
        import apprise

        if channel not in self._targets:
            target = apprise.Apprise()
            for number, url in enumerate(self._urls[channel], start=1):
                if not target.add(url):
                    raise PermanentError(f"URL {number} of channel {channel} is none that Apprise understands")
            self._targets[channel] = target
        return self._targets[channel]
