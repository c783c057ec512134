"""What the tests of the child process have done in it."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tools.errors import Conflict


class Counter:
    def __init__(self, start: int = 0, *, mark: Path | None = None) -> None:
        self.value = start
        self._mark = mark

    def add(self, more: int, *, twice: bool = False) -> int:
        self.value += 2 * more if twice else more
        return self.value

    def close(self) -> None:
        if self._mark is not None:
            self._mark.write_text(str(self.value))


def marked(mark: Path) -> Counter:
    return Counter(mark=mark)


class Fussy(Exception):
    """Cannot be rebuilt from its arguments, as many vendors' exceptions cannot."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def pid(_: Counter) -> int:
    return os.getpid()


def die(_: Counter) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt(_: Counter) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    return "still here"


def refuse(_: Counter) -> None:
    raise Conflict("it has moved on")


def fail(_: Counter) -> None:
    raise Fussy("this", "that")


def unpicklable(_: Counter) -> object:
    return threading.Lock()


def wait_for(_: Counter, path: Path) -> str:
    """Busy until the file is there."""
    while not path.exists():
        time.sleep(0.005)
    return path.read_text()


def touch_and_wait(_: Counter, mark: Path, path: Path) -> None:
    mark.touch()
    wait_for(_, path)


def said(_: Counter) -> None:
    print("a library talks")  # noqa: T201 - what it tests


def echo(_: Counter, content: bytes) -> bytes:
    return content


def broken_until(path: Path) -> Counter:
    if not path.exists():
        raise RuntimeError("not yet")
    return Counter()


def known_here_only() -> Callable[[Counter], None]:
    """As a function is of a program that was started as `__main__`."""

    def late(_: Counter) -> None: ...

    late.__qualname__ = late.__name__
    globals()["late"] = late
    return late
