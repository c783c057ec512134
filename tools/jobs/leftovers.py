"""What the folders of ended local jobs still hold: checkpoints that nobody goes on from, and logs.

What is discarded is renamed within the folder of its job, and goes for good after `KEPT`, or with the job.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from tools.errors import Conflict, PermanentError
from tools.jobs.folder import Folder
from tools.jobs.port import Phase
from tools.leftovers import KEPT, Discarded, Leftover

_ASIDE: dict[str, str] = {"checkpoints": ".discarded-checkpoints", "logs": ".discarded-logs"}


def leftovers(folder: Folder) -> Iterator[Leftover]:
    """None of a job that has not ended."""
    spec, ended = folder.spec(), _ended_at(folder)
    if spec is None or ended is None:
        return
    kinds: tuple[Literal["checkpoints", "logs"], ...] = ("checkpoints", "logs")
    for kind in kinds:
        if size := sum(_size(path) for path in _paths(folder, kind)):
            yield Leftover(
                kind=kind,
                model=spec["about"]["model"],
                name=folder.path.name,
                size_bytes=size,
                since=_moment(ended),
                seen=_seen(folder),
            )


def discard(folder: Folder, item: Leftover) -> Discarded:
    aside = folder.path / _place(item)
    if _ended_at(folder) is None:
        raise Conflict(f"{item.name} has not ended: it may need its {item.kind}")
    if item.seen != _seen(folder):
        raise Conflict(f"{item.name} is not the job that was listed")
    aside.mkdir(exist_ok=True, mode=0o700)
    moved = False
    for path in _paths(folder, item.kind):
        path.rename(aside / path.name)
        moved = True
    if moved:
        os.utime(aside)  # from now on it is kept
    return Discarded(size_bytes=item.size_bytes, undo_until=_moment(aside.stat().st_mtime) + KEPT)


def restore(folder: Folder, item: Leftover) -> None:
    aside = folder.path / _place(item)
    if not aside.is_dir():
        if any(_paths(folder, item.kind)):
            return
        raise PermanentError(f"{item.name}: its {item.kind} are gone for good")
    for path in aside.iterdir():
        if not (folder.path / path.name).exists():
            path.rename(folder.path / path.name)
    shutil.rmtree(aside)


def empty(folder: Folder) -> None:
    """What was put aside long enough ago."""
    for name in _ASIDE.values():
        with contextlib.suppress(FileNotFoundError):
            if time.time() > (folder.path / name).stat().st_mtime + KEPT.total_seconds():
                shutil.rmtree(folder.path / name, ignore_errors=True)


def _place(item: Leftover) -> str:
    if item.kind not in _ASIDE:
        raise PermanentError(f"kind: a job has checkpoints and logs, and no {item.kind}")
    return _ASIDE[item.kind]


def _paths(folder: Folder, kind: str) -> list[Path]:
    if kind == "checkpoints":
        return [folder.checkpoints] if folder.checkpoints.is_dir() and any(folder.checkpoints.iterdir()) else []
    return [path for path in sorted(folder.path.glob("log*")) if path.is_file() and not path.is_symlink()]


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file() and not each.is_symlink())


def _ended_at(folder: Folder) -> float | None:
    status = folder.status() or {}
    return float(status["ended_at"]) if status.get("phase") in {Phase.SUCCEEDED, Phase.FAILED} else None


def _seen(folder: Folder) -> str:
    return f"{(folder.spec() or {}).get('fingerprint', '')[:16]}:{_ended_at(folder)}"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
