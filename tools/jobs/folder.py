"""What a local job is on disk. Every file is replaced as a whole, so a reader sees the old or the new one, not half of one.

    spec.json      written once, by whoever submits: from then on there is the job
    status.json    written by its supervisor alone
    cancel.json    the wish that it end
    lock           held by its supervisor as long as that lives
    config/ checkpoints/ work/ log log.1 supervisor.log usage.json

Standard library alone, as the supervisor imports it.
"""

import contextlib
import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

LOCK_PATIENCE_S = 0.5
"""Longer than any glance by `supervised` takes, or than two supervisors need to sort out who stays."""


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config"
        self.checkpoints = path / "checkpoints"
        self.work = path / "work"
        self.log = path / "log"
        self.older_log = path / "log.1"
        self.usage = path / "usage.json"
        self._lock = path / "lock"

    def claim(self, intent: dict[str, Any]) -> bool:
        """The first to write the spec makes the job; whether that was us. It is on disk when this returns."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self._written("spec", intent)
        try:
            os.link(draft, self.path / "spec.json")
        except FileExistsError:
            return False
        finally:
            draft.unlink()
            _settle(self.path)
        return True

    def spec(self) -> dict[str, Any] | None:
        return self._read("spec.json")

    def status(self) -> dict[str, Any] | None:
        return self._read("status.json")

    def save(self, status: dict[str, Any]) -> None:
        self._written("status", status).replace(self.path / "status.json")
        _settle(self.path)

    def saved_at(self) -> float | None:
        """When the status was last told, in seconds since the epoch; each second while the job runs."""
        try:
            return (self.path / "status.json").stat().st_mtime
        except FileNotFoundError:
            return None

    def cancelled(self) -> dict[str, Any] | None:
        return self._read("cancel.json")

    def cancel(self, wish: dict[str, Any]) -> None:
        """The first wish stands."""
        draft = self._written("cancel", wish)
        try:
            with contextlib.suppress(FileExistsError):
                os.link(draft, self.path / "cancel.json")
        finally:
            draft.unlink()

    def lock(self) -> int | None:
        """A descriptor that holds the lock until it is closed everywhere, or None when another supervisor lives."""
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
        limit = time.monotonic() + LOCK_PATIENCE_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > limit:
                    os.close(descriptor)
                    return None
                time.sleep(0.01)
            else:
                return descriptor

    def supervised(self) -> bool:
        """Whether a supervisor lives. The kernel answers: its lock goes with it, and no other process inherits its number."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads((self.path / name).read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _written(self, name: str, content: dict[str, Any]) -> Path:
        draft = self.path / f".{name}.{os.getpid()}.{time.monotonic_ns()}"
        with draft.open("x") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        return draft


def _settle(folder: Path) -> None:
    """A name outlives a loss of power only once its folder is on disk too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
