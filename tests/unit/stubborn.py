"""A program that does not end when asked to: `python -m tests.unit.stubborn`. Says who it is, and when it was asked."""

import os
import signal
import sys


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: say("asked"))
    say(str(os.getpid()))
    while True:
        signal.pause()
