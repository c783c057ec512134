"""Messages to chat, mail and pagers through Apprise, one URL per target.

A target that has taken a message does not get it again when another one has not: each is remembered by itself. A process that
dies between a target's answer and that being written down sends this one message twice; no chat system offers better.
URLs carry secrets, so nothing here shows or logs one.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tools.errors import PermanentError, TemporaryError
from tools.notify.port import Message
from tools.notify.sent import Sent

_TIMEOUT_S = 30
_RETRY_AFTER = timedelta(seconds=30)
_TYPES = {"info": "info", "warning": "warning", "critical": "failure"}


@dataclass(frozen=True)
class _Target:
    id: str
    """Digest of the URL: stays the same as long as the target does, and tells nothing."""
    url: str
    name: str


class AppriseNotifier:
    def __init__(self, channels: Mapping[str, Sequence[str]], sent: Sent) -> None:
        """`channels`: name -> Apprise URLs. A URL that Apprise does not understand is found by `ping` and by `send`."""
        self._channels = {
            channel: tuple(
                _Target(hashlib.sha256(url.encode()).hexdigest()[:16], url, f"target {place} of channel {channel}")
                for place, url in enumerate(urls, 1)
            )
            for channel, urls in channels.items()
        }
        self._sent = sent

    async def ping(self) -> None:
        """Every URL is understood. Nobody is sent anything to find that out. Raises PermanentError."""
        await asyncio.to_thread(lambda: [_service(target) for targets in self._channels.values() for target in targets])

    async def send(self, channel: str, message: Message, *, key: str) -> None:
        """Raises TemporaryError when a target did not take it; trying again goes to those alone."""
        targets = self._channels.get(channel)
        if not targets:
            raise PermanentError(f"there is no channel {channel!r}, or it has no target")
        if await self._sent.already(key):
            return
        failed = [target.name for target in targets if not await self._deliver(target, channel, message, key)]
        if failed:
            raise TemporaryError(f"not taken by {', '.join(failed)}", retry_after=_RETRY_AFTER)
        await self._sent.record(key, channel, message)

    async def _deliver(self, target: _Target, channel: str, message: Message, key: str) -> bool:
        own_key = f"{key}#{target.id}"
        if await self._sent.already(own_key):
            return True
        if not await asyncio.to_thread(_notify, target, message):
            return False
        await self._sent.record(own_key, channel, message)
        return True


def _notify(target: _Target, message: Message) -> bool:
    from apprise import Apprise, NotifyFormat, NotifyType

    body = f"{message.body}\n\n{message.link}" if message.link else message.body
    apprise = Apprise()
    apprise.add(_service(target))
    return bool(
        apprise.notify(
            body=body,
            title=message.title,
            notify_type=NotifyType(_TYPES[message.severity]),
            body_format=NotifyFormat.MARKDOWN,
            timeout=_TIMEOUT_S,
        )
    )


def _service(target: _Target) -> Any:
    from apprise import Apprise

    service = Apprise.instantiate(target.url, suppress_exceptions=True)
    if service is None:
        raise PermanentError(f"the URL of {target.name} is not one that Apprise understands")
    return service
