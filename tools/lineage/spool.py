"""Events that wait for an endpoint that is away: a file beside which what is being sent stands until all of it was taken.

spool.jsonl            what waits
spool.sending.jsonl    what is being sent; after a crash it is sent again, which the other side knows to be a repetition
spool.refused.jsonl    what the endpoint took for wrong, each with the reason: for people
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.lineage.lines import append, events, refused_by_disk


class Away(Exception):
    """The endpoint does not take anything now."""


class Refused(Exception):
    """It takes this event for wrong, and would again."""


Send = Callable[[Mapping[str, Any]], None]
"""Raises Away, Refused."""


class Spool:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._sending = path.with_suffix(".sending.jsonl")
        self._refused = path.with_suffix(".refused.jsonl")

    @property
    def path(self) -> Path:
        return self._path

    @property
    def empty(self) -> bool:
        return not (self._path.exists() or self._sending.exists())

    def keep(self, event: Mapping[str, Any]) -> None:
        """On disk when this returns. Raises PermanentError."""
        append(self._path, event)

    def refuse(self, event: Mapping[str, Any], reason: str) -> None:
        append(self._refused, {"reason": reason, "event": event})

    def flush(self, send: Send, limit_s: float) -> int:
        """Send what waits, oldest first, until it is empty or the time is up; how many were taken. None where another process
        is at it. Raises Away, PermanentError."""
        sent, limit = 0, time.monotonic() + limit_s
        with refused_by_disk(self._path), self._alone() as alone:
            while alone and time.monotonic() < limit and self._taken():
                waiting = [event for event, _ in events(self._sending)]
                done = 0
                try:
                    for event in waiting:
                        if time.monotonic() >= limit:
                            break
                        try:
                            send(event)
                            sent += 1
                        except Refused as refusal:
                            self.refuse(event, str(refusal))
                        done += 1
                finally:
                    self._keep_sending(waiting[done:])
        return sent

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        if self.empty:
            yield False
            return
        with self._path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _taken(self) -> bool:
        """Whether there is something to send; new events go to a new file from now on."""
        if self._sending.exists():
            return True
        try:
            self._path.rename(self._sending)
        except FileNotFoundError:
            return False
        with self._sending.open("rb") as moved:
            # Whoever had it open before it was moved has written what he had to.
            fcntl.flock(moved, fcntl.LOCK_EX)
        return True

    def _keep_sending(self, rest: list[dict[str, Any]]) -> None:
        if not rest:
            self._sending.unlink()
            return
        fresh = self._sending.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.writelines(json.dumps(event, sort_keys=True) + "\n" for event in rest)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._sending)
