"""Places for bodies that have to be read before it is known who sends them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.problems import Overloaded

_PLACES = 32
"""At most this many bodies of strangers are in memory at once."""


class Strangers:
    """Bounds what those who have shown no credentials yet can hold, in number and in time.

    When every place is taken, the one that has been sending longest gives way: an honest sender is done in milliseconds, so
    slow connections cannot shut it out however many there are.
    """

    def __init__(self, places: int = _PLACES) -> None:
        self._places = places
        self._sending: list[asyncio.Timeout] = []

    @asynccontextmanager
    async def place(self, limit_s: float) -> AsyncIterator[None]:
        """Raises Overloaded when the body does not come within `limit_s` seconds, or had to give way."""
        try:
            async with asyncio.timeout(limit_s) as mine:
                if len(self._sending) >= self._places:
                    self._sending.pop(0).reschedule(asyncio.get_running_loop().time())
                self._sending.append(mine)
                try:
                    yield
                finally:
                    if mine in self._sending:
                        self._sending.remove(mine)
        except TimeoutError as error:
            raise Overloaded("the body came too slowly", retry_after_s=2) from error

    def __len__(self) -> int:
        return len(self._sending)
