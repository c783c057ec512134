"""A file in object storage: fetched as a whole once it is known to be wanted, and checked to be the one that was named."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tools.errors import PermanentError, TemporaryError
from tools.sources.formats import FileBatch, kind_of, told
from tools.sources.port import Chunk

_COPY_BYTES = 1 << 20


class ObjectBatch:
    """`Batch`."""

    mark = None

    def __init__(self, filesystem: Any, path: str, name: str, key: str | None, to: Path, batch_rows: int) -> None:
        kind_of(path)
        self._filesystem = filesystem
        self._path = path
        self._to = to
        self._batch_rows = batch_rows
        self._fetched: FileBatch | None = None
        self.name = name
        with told(name):
            self._version = self._now()
        self.key: str | None = key or f"object:{path}:{self._version}"

    def schema(self) -> pa.Schema:
        return self._file().schema()

    def chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        return self._file().chunks(schema)

    def _file(self) -> FileBatch:
        if self._fetched is None:
            digest = hashlib.sha256()
            with told(self.name):
                with self._filesystem.open_input_stream(self._path, compression=None) as source, self._to.open("wb") as target:
                    while block := source.read(_COPY_BYTES):
                        digest.update(block)
                        target.write(block)
                # It is read in pieces, between which it may be replaced.
                changed = self._now() != self._version
            if changed:
                raise TemporaryError(f"{self.name} was changed while it was read")
            self._fetched = FileBatch(self._to, self.name, self.key or "", digest.hexdigest(), self._batch_rows)
        return self._fetched

    def _now(self) -> str:
        """Size and ETag."""
        with self._filesystem.open_input_stream(self._path, compression=None) as opened:
            about = opened.metadata() or {}
        if b"ETag" not in about and "ETag" not in about:
            raise PermanentError(f"{self.name}: this object storage tells no ETag")
        told_of = {str(name): value.decode() if isinstance(value, bytes) else str(value) for name, value in about.items()}
        return f"{told_of.get('Content-Length', '')}:{told_of['ETag'].strip(chr(34))}"
