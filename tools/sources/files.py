"""Files: one, a folder, a glob; here or in object storage. A file is a batch, and its name, size and SHA-256 are its key.

What is not on this machine is fetched to a temporary file first: it is hashed on the way, read once from where it is, and
cannot change while it is read.
"""

import contextlib
import fnmatch
import gzip
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from tools.errors import PermanentError, TemporaryError
from tools.sources import lines, text
from tools.sources.port import Chunk

_COPY_BYTES = 1 << 20
_KINDS = (".parquet", ".csv", ".jsonl", ".ndjson")
_DAMAGE = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, pa.ArrowKeyError, EOFError, OSError)


class Files:
    """`Source`. Endings: .parquet, .csv, .jsonl, .ndjson, the last three also with .gz."""

    ordered = False

    def __init__(self, filesystem: Any, path: str, name: str, batch_rows: int, key: str | None = None) -> None:
        """`path`: of a file, a folder or a glob, as the filesystem writes it. `name`: with scheme, for people.
        `key`: of the one file that there is, in place of what it is called and holds."""
        self._filesystem = filesystem
        self._path = path
        self._name = name
        self._batch_rows = batch_rows
        self._key = key
        self.held_back: dict[str, int] = {}

    @property
    def name(self) -> str:
        return f"files:{self._name}"

    @property
    def label(self) -> str:
        parts = [part for part in self._path.split("/") if part and not _is_pattern(part)]
        return parts[-1].partition(".")[0] if parts else ""

    def batches(self, mark: str | None) -> Iterator["FileBatch"]:
        del mark  # files are told apart by what they hold
        found = self._found()
        if self._key is not None and len(found) > 1:
            raise PermanentError(f"{self._name}: a key is for one file, and these are {len(found)}")
        for path, relative in found:
            yield from self._opened(path, relative)

    def close(self) -> None:
        """Nothing is held between batches."""

    def _opened(self, path: str, relative: str) -> Iterator["FileBatch"]:
        with tempfile.TemporaryDirectory(prefix="oppen-source-") as folder:
            if isinstance(self._filesystem, pyarrow.fs.LocalFileSystem):
                here = Path(path)
                with _told(path):
                    digest = _hashed(here)
            else:
                here = Path(folder) / Path(relative).name
                with _told(f"{self._name}: {relative}"):
                    digest = self._fetched(path, here)
            with _told(path):
                size = here.stat().st_size
            yield FileBatch(here, path, self._key or f"file:{relative}:{size}:{digest}", digest, self._batch_rows)

    def _fetched(self, path: str, to: Path) -> str:
        digest = hashlib.sha256()
        with self._filesystem.open_input_stream(path, compression=None) as source, to.open("wb") as target:
            while block := source.read(_COPY_BYTES):
                digest.update(block)
                target.write(block)
        return digest.hexdigest()

    def _found(self) -> list[tuple[str, str]]:
        """Path and name relative to what was asked for, in order."""
        if _is_pattern(self._path):
            parts = self._path.split("/")
            fixed = next(place for place, part in enumerate(parts) if _is_pattern(part))
            base = "/".join(parts[:fixed])
        else:
            base = self._path
        try:
            (there,) = self._filesystem.get_file_info([base or "/"])
            if there.type == pyarrow.fs.FileType.File:
                _kind(there.path)
                return [(there.path, there.base_name)]
            if there.type != pyarrow.fs.FileType.Directory:
                raise PermanentError(f"{self._name}: there is no such file or folder")
            listed = self._filesystem.get_file_info(pyarrow.fs.FileSelector(base or "/", recursive=True))
        except OSError as error:
            raise _translated(self._name, error) from error
        found = []
        for each in listed:
            relative = each.path[len(base.rstrip("/")) + 1 :]
            hidden = any(part.startswith((".", "_")) for part in relative.split("/"))
            matches = _matches(each.path, self._path) if _is_pattern(self._path) else _has_kind(each.path)
            if each.type == pyarrow.fs.FileType.File and matches and not hidden:
                found.append((each.path, relative))
        if not found:
            raise PermanentError(f"{self._name}: there is no file in it that ends in {', '.join(_KINDS)}")
        return sorted(found)


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
        with _told(self.name):
            match _kind(self.name):
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
        with _told(self.name):
            changed = _hashed(self._path) != self._digest
        if changed:
            raise TemporaryError(f"{self.name} was changed while it was read")

    def _chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        match _kind(self.name):
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


def _is_pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _matches(path: str, pattern: str) -> bool:
    """`*` stays within a folder, `**` does not."""
    if "**" in pattern:
        return fnmatch.fnmatchcase(path, pattern)
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def _has_kind(path: str) -> bool:
    return path.removesuffix(".gz").endswith(_KINDS)


def _kind(path: str) -> str:
    for kind in _KINDS:
        if path.removesuffix(".gz").endswith(kind):
            return kind
    raise PermanentError(f"{path}: not one of {', '.join(_KINDS)}")


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
        yield opened  # type: ignore[misc]


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise _translated(name, error) from error


def _translated(name: str, error: Exception) -> PermanentError | TemporaryError:
    said = f"{name}: {_first_line(error)}"
    # Object storage says so in words only.
    away = any(word in said for word in ("curlCode", "NETWORK_CONNECTION", "timed out", "SLOW_DOWN", "Could not connect"))
    return TemporaryError(said) if away else PermanentError(said)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
