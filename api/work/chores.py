"""What the service does in the background for as long as it runs, and cannot do without.

A chore that fails is tried again, less and less often, whatever it failed of: one bad row must not end the waking of runs for
the life of the process. What nobody foresaw is not hidden by that: it is logged with its traceback, counted by kind for
/metrics, and shown by /readyz until the chore succeeds.

A chore that is cancelled ends between two pieces of work: a statement that is broken off on its way costs a connection.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, Literal, TypeVar

import structlog

from tools.errors import TemporaryError

log = structlog.get_logger()

Kind = Literal["temporary", "unexpected"]
KINDS: tuple[Kind, ...] = ("temporary", "unexpected")
State = Literal["ok", "delayed", "broken"]

_STATES: dict[Kind, State] = {"temporary": "delayed", "unexpected": "broken"}
_LONGEST_PAUSE = timedelta(seconds=30)
"""Between two tries at a chore that keeps failing."""
_GRACE = timedelta(seconds=2)
"""What is being done when the chore is cancelled gets so long. The longest of the pieces, a load, takes a part of a
second; what waits for a server that does not answer is broken off."""

_Done = TypeVar("_Done")


class Chore(Generic[_Done]):
    """`failures` counts the tries that did not succeed; `state` is that of the last try."""

    def __init__(self, name: str, work: Callable[[], Awaitable[_Done]], every: timedelta, *, grace: timedelta = _GRACE) -> None:
        self.name = name
        self.failures: Counter[Kind] = Counter()
        self.state: State = "ok"
        self._work = work
        self._every = every
        self._grace = grace

    async def forever(self) -> None:
        """Do it every so often until cancelled."""
        while True:
            await self.until_done()
            await asyncio.sleep(self._every.total_seconds())

    async def until_done(self) -> _Done:
        """Do it once: the result of the first try that succeeds."""
        pause = self._every
        while True:
            pause = min(pause * 2, _LONGEST_PAUSE)
            told = {"chore": self.name, "pause_s": pause.total_seconds()}
            try:
                done = await self._piece()
            except TemporaryError as error:
                self._note("temporary")
                log.warning("chore.delayed", reason=str(error), **told)
            except Exception:
                # There is nobody above to hand it to: whoever watches the service is told, and the chore goes on.
                self._note("unexpected")
                log.exception("chore.broken", **told)
            else:
                self.state = "ok"
                return done
            await asyncio.sleep(pause.total_seconds())

    async def _piece(self) -> _Done:
        piece = asyncio.ensure_future(self._work())
        try:
            return await asyncio.shield(piece)
        except asyncio.CancelledError:
            try:
                await asyncio.wait((piece,), timeout=self._grace.total_seconds())
            finally:
                if not piece.done():
                    log.warning("chore.broken_off", chore=self.name, after_s=self._grace.total_seconds())
                    piece.cancel()
            (outcome,) = await asyncio.gather(piece, return_exceptions=True)
            if isinstance(outcome, Exception):
                log.warning("chore.failed_at_its_end", chore=self.name, reason=f"{type(outcome).__name__}: {outcome}")
            raise

    def _note(self, kind: Kind) -> None:
        self.failures[kind] += 1
        self.state = _STATES[kind]
