"""Events as lines of JSON in a file that several processes append to. A line is there as a whole or it is not."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.errors import PermanentError


@contextlib.contextmanager
def refused_by_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PermanentError(f"lineage cannot be kept in {path}: {error.strerror or error}") from error


def append(path: Path, event: Mapping[str, Any]) -> None:
    """On disk when this returns. Raises PermanentError."""
    line = json.dumps(event, sort_keys=True).encode() + b"\n"
    with refused_by_disk(path):
        # No deeper: a path with a slip of the pen in it makes no tree of folders.
        path.parent.mkdir(exist_ok=True)
        descriptor = _locked(path)
        try:
            size = os.lseek(descriptor, 0, os.SEEK_END)
            # A line that was cut off by a crash is closed, so that it does not take this one with it.
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            written = 0
            while written < len(line):
                written += os.write(descriptor, line[written:])
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _locked(path: Path) -> int:
    """The file of that name, for this process alone until it is closed."""
    while True:
        # Names of data and of people's files are nobody else's business.
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Somebody has moved it away meanwhile: what is written to it now would be seen by nobody.
        os.close(descriptor)


def events(path: Path, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Each event that is there as a whole, with the offset after it. What a crash cut off is passed over; none where there is
    no file. Raises PermanentError when it cannot be read."""
    with refused_by_disk(path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    # Somebody is at it, or was: whoever comes next closes it.
                    return
                offset += len(line)
                try:
                    event = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield event, offset
