"""A program that does not end when asked to: `python -m tests.unit.stubborn`. Says who it is, and when it was asked."""

import os
import signal
import sys


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # Waited for, not handled: a handler would stay undone when the signal came right before a pause.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    say(str(os.getpid()))
    while True:
        signal.sigwait({signal.SIGTERM})
        say("asked")
