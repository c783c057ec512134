"""Programs of the platform as child processes: started, waited for by a state and not by time, and ended again."""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx


class Failed(Exception):
    """A program ended, or did not get ready in time; the message holds the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Program:
    """One child process: what it reports (stderr) in `log`, what it results in (stdout) beside it, in `.out`."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.results = log.with_suffix(".out")
        self._log = log
        self._files = (self.results.open("ab"), log.open("ab"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **environment},
            stdout=self._files[0],
            stderr=self._files[1],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_ready(self, url: str, limit_s: float, headers: Mapping[str, str] | None = None) -> float:
        """Until `url` answers 200; returns the seconds it took."""
        started = time.perf_counter()
        with httpx.Client(timeout=2, headers=dict(headers or {})) as client:
            while time.perf_counter() - started < limit_s:
                if self.process.poll() is not None:
                    raise Failed(f"{self.name} ended with code {self.process.returncode}:\n{self.tail()}")
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(url).status_code == httpx.codes.OK:
                        return time.perf_counter() - started
                time.sleep(0.05)
        raise Failed(f"{self.name} was not ready within {limit_s:.0f} s:\n{self.tail()}")

    def wait_done(self, limit_s: float) -> None:
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.name} did not end within {limit_s:.0f} s:\n{self.tail()}") from error
        if code:
            raise Failed(f"{self.name} ended with code {code}:\n{self.tail()}")

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self, limit_s: float = 15) -> None:
        """Ask to end, and insist after `limit_s`, or when whoever waits here is told to end itself."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(limit_s)
            finally:
                # A second signal raises in the wait above: it is a wish for haste, not for leaving the program behind.
                self.kill()
        for file in self._files:
            file.close()

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])


class Programs:
    """Ends what it started, in reverse order, however the block is left, and at the latest when this process ends."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._before: Any = None

    def start(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Program:
        program = Program(name, arguments, environment, log)
        self._stack.callback(program.stop)
        return program

    def __enter__(self) -> Self:
        # Told to end, Python would end at once and leave them running: this unwinds the block instead.
        self._before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        # A second signal may come while an event loop is giving up: then its coroutines, and this block, are never left.
        atexit.register(self._stack.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()
        atexit.unregister(self._stack.close)
        # None: whoever set it was no Python, which cannot set it again.
        signal.signal(signal.SIGTERM, self._before if self._before is not None else signal.SIG_DFL)
