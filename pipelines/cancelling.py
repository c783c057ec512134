"""Told to stop, a pipeline stops between two pieces of work, or while it waits for its source; never inside a commit."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Cancelled(Exception):
    """Somebody asked for it. What was committed stays; the rest comes with the next run."""


class Cancellation:
    """Of one run. `stop` may be called by a signal handler."""

    def __init__(self) -> None:
        self.asked = False
        self._waiting = False

    def stop(self) -> None:
        self.asked = True
        if self._waiting:
            raise Cancelled

    def check(self) -> None:
        if self.asked:
            raise Cancelled

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """While the source is read, which may take for ever: stop at once."""
        self.check()
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False


@contextlib.contextmanager
def by_signals() -> Iterator[Cancellation]:
    """SIGINT and SIGTERM ask for it. For the main thread of a program."""
    cancellation = Cancellation()

    def stop(_number: int, _frame: FrameType | None) -> None:
        cancellation.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancellation
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
