"""Data of a model that is kept, but neither learnt from nor compared with, until it is released.

The rows stay where they are; what is recorded is which stretch of time they are of, why, and by whom it was decided.
"""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from tools.values import Frozen, Instant, LeftOut, Window


class Quarantine(Frozen):
    id: str
    model: str
    window: Window
    features: tuple[str, ...] = ()
    """Only these, and the answers that were made from them; empty: all of it."""
    reason: str
    placed_by: str
    placed_at: Instant
    released_by: str | None = None
    released_at: Instant | None = None
    """None: it is in force."""

    @property
    def left_out(self) -> LeftOut:
        return LeftOut(window=self.window, features=self.features)


@runtime_checkable
class QuarantineReader(Protocol):
    async def in_force(self, model: str, window: Window | None = None) -> tuple[Quarantine, ...]:
        """Those that have not been released, and, with `window`, overlap it; in order of their windows."""
        ...


@runtime_checkable
class Quarantines(QuarantineReader, Protocol):
    async def place(
        self,
        model: str,
        window: Window,
        features: tuple[str, ...],
        *,
        expected: Iterable[str],
        key: str,
        actor: str,
        reason: str,
    ) -> Quarantine:
        """Repeating a `key` is a no-op and returns what it placed, also when that was released since.

        `expected`: ids of those in force that overlap the window. Raises Conflict when they are others, and PermanentError when
        the key stands for another quarantine.
        """
        ...

    async def release(self, quarantine: str, *, key: str, actor: str, reason: str) -> Quarantine:
        """Repeating a `key` is a no-op. Raises Conflict when somebody else has released it, PermanentError where there is
        none."""
        ...


def ids(of: Iterable[Quarantine]) -> tuple[str, ...]:
    """In one order, so that two readings of the same compare."""
    return tuple(sorted(each.id for each in of))
