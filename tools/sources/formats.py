"""One file, whatever its format: Parquet, CSV or JSON lines, the last two also packed."""

import contextlib
import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tools.errors import PermanentError, TemporaryError
from tools.sources import lines, text
from tools.sources.port import Chunk

KINDS = (".parquet", ".csv", ".jsonl", ".ndjson")
_COPY_BYTES = 1 << 20
_DAMAGE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, pa.ArrowKeyError, EOFError, OSError)


class FileBatch:
    """`Batch`."""

    mark = None

    def __init__(self, path: Path, name: str, key: str, digest: str, batch_rows: int) -> None:
        self._path = path
        self._digest = digest
        self._batch_rows = batch_rows
        self.name = name
        self.key = key

    def schema(self) -> pa.Schema:
        with told(self.name):
            match kind_of(self.name):
                case ".parquet":
                    with pq.ParquetFile(self._path) as file:
                        return file.schema_arrow
                case ".csv":
                    return text.schema(self._path)
                case _:
                    with _unpacked(self._path) as opened:
                        return lines.schema(opened)

    def chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        read = 0
        try:
            for chunk in self._chunks(schema):
                read += len(chunk.numbers) + len(chunk.misread)
                yield chunk
        except _DAMAGE as error:
            raise PermanentError(f"{self.name}: after row {read}: {_first_line(error)}") from error
        with told(self.name):
            changed = hashed(self._path) != self._digest
        if changed:
            raise TemporaryError(f"{self.name} was changed while it was read")

    def _chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        match kind_of(self.name):
            case ".parquet":
                yield from self._parquet()
            case ".csv":
                yield from text.chunks(self._path, self._batch_rows)
            case _:
                with _unpacked(self._path) as opened:
                    yield from lines.chunks(opened, schema, self._batch_rows)

    def _parquet(self) -> Iterator[Chunk]:
        after = 0
        # Without a buffer, a column of a row group is in memory as a whole.
        with pq.ParquetFile(self._path, buffer_size=_COPY_BYTES, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=self._batch_rows, use_threads=False):
                numbers = np.arange(after + 1, after + 1 + batch.num_rows, dtype=np.int64)
                yield Chunk(pa.Table.from_batches([batch]), numbers)
                after += batch.num_rows


def kind_of(path: str) -> str:
    for kind in KINDS:
        if path.removesuffix(".gz").endswith(kind):
            return kind
    raise PermanentError(f"{path}: not one of {', '.join(KINDS)}")


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
        yield opened  # type: ignore[misc]


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def told(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise translated(name, error) from error


def translated(name: str, error: Exception) -> PermanentError | TemporaryError:
    said = f"{name}: {_first_line(error)}"
    # Object storage says so in words only.
    away = any(word in said for word in ("curlCode", "NETWORK_CONNECTION", "timed out", "SLOW_DOWN", "Could not connect"))
    return TemporaryError(said) if away else PermanentError(said)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
