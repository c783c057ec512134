"""What a local job prints: kept as far back as there is room, and listened to for progress. Standard library alone."""

import os
from pathlib import Path
from typing import Any, BinaryIO

from tools.jobs import progress

LIMIT_BYTES = 16 * 1024 * 1024
"""Kept of one attempt: between half and all of it."""
_LINE_BYTES = 64 * 1024


class Output:
    def __init__(self, path: Path, older: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.progress: dict[str, Any] | None = None
        self._path, self._older, self._half = path, older, limit_bytes // 2
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._begun = b""

    def take(self, piece: bytes) -> None:
        head, newline, rest = piece.rpartition(b"\n")
        if newline:
            self._file.write(head + newline)
            self._listen(self._begun + head)
            self._begun = b""
            if os.fstat(self._file.fileno()).st_size > self._half:
                self._turn_over()
        self._begun = (self._begun + rest)[-_LINE_BYTES:]
        if rest:
            self._file.write(rest)
            if os.fstat(self._file.fileno()).st_size > 2 * self._half:  # one line without an end
                self._turn_over()

    def close(self) -> None:
        if self._begun:
            self._listen(self._begun)
        self._file.close()

    def _listen(self, lines: bytes) -> None:
        for line in reversed(lines.splitlines()):
            if said := progress.parse(line.decode(errors="replace")):
                self.progress = said
                return

    def _turn_over(self) -> None:
        self._file.close()
        self._path.replace(self._older)
        self._file = self._path.open("ab", buffering=0)
