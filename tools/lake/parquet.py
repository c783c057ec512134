"""A lake of Parquet files: a folder per table, in it a folder per batch.

    TABLE/batch=DIGEST/part-00000.parquet        the rows; `batch=*/part-*.parquet` is the table
    TABLE/batch=DIGEST/_quarantine.parquet       what did not fit
    TABLE/batch=DIGEST/_statistics.json          what was measured of it
    TABLE/batch=DIGEST/_receipt.json             key, source, mark, counts
    TABLE/_refused/DIGEST.json                   refusals
    TABLE/_staged/RANDOM/                        on the way; renamed as a whole, or taken away by the next writer

A rename within a file system is all or nothing, and onto a folder that is there it fails: that is the whole of atomicity and
of "once". Readers such as pyarrow's skip what begins with `_`.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tools.errors import PermanentError
from tools.lake.port import QUARANTINE, InUse, LakeReader, LakeTable, Receipt, checked_name

_RECEIPT = "_receipt.json"
_PART = "part-00000.parquet"
_QUARANTINE = "_quarantine.parquet"
_STATISTICS = "_statistics.json"
_LOCK = "_lock"
_TRIES = 10
"""To lock a folder that others take away; each means that one of them just ended."""
_READ_ROWS = 65_536


class ParquetLake:
    """`Lake`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def open(self, table: str) -> Iterator[LakeTable]:
        folder = self._folder / checked_name(table)
        with _locked(folder):
            shutil.rmtree(folder / "_staged", ignore_errors=True)
            try:
                yield ParquetTable(folder)
            finally:
                _leave(folder)

    def read(self, table: str) -> LakeReader:
        return ParquetReader(self._folder / checked_name(table))

    def tables(self) -> tuple[str, ...]:
        found = {path.parents[1].name for each in ("batch=*", "_refused") for path in self._folder.glob(f"*/{each}/*.json")}
        return tuple(sorted(found))

    def close(self) -> None:
        """Nothing is held between tables."""


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The folder is made. The kernel lets go of the lock however its holder ends."""
    path = folder / _LOCK
    in_use = InUse(f"{folder}: another process is writing to this table; wait for it, then run this again")
    for _ in range(_TRIES):
        with _refused_by_disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock = path.open("w")
            except FileNotFoundError:
                continue  # who had it took the folder away just now
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise in_use from error
            if _is_at(lock.fileno(), path):
                yield
                return
    raise in_use


def _is_at(descriptor: int, path: Path) -> bool:
    """Of a file that was taken away meanwhile a lock keeps nobody out."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _leave(folder: Path) -> None:
    """A table of which nothing came to be is none. Under the lock."""
    with contextlib.suppress(OSError):
        (folder / "_staged").rmdir()
    with contextlib.suppress(OSError):
        if [each.name for each in folder.iterdir()] == [_LOCK]:
            (folder / _LOCK).unlink()
            folder.rmdir()


class ParquetReader:
    """`LakeReader`. A batch comes in one rename, and none is ever taken away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def schema(self) -> pa.Schema | None:
        part = next(self._folder.glob(f"batch=*/{_PART}"), None)
        if part is None:
            return None
        return pa.schema([field.remove_metadata() for field in pq.read_schema(part)])

    def receipts(self) -> tuple[Receipt, ...]:
        refused = [each for path in (self._folder / "_refused").glob("*.json") if (each := _read(path)) is not None]
        standing = [each for each in refused if self.find(each.key) is None]
        return tuple(sorted([*self._committed(), *standing], key=_age))

    def rows(self, keys: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        wanted = None if keys is None else frozenset(keys)
        for receipt in self._committed():
            part = self._folder / _batch(receipt.key) / _PART
            if (wanted is None or receipt.key in wanted) and part.exists():
                with pq.ParquetFile(part) as file:
                    yield from file.iter_batches(batch_size=_READ_ROWS)

    def quarantined(self) -> Iterator[pa.RecordBatch]:
        for receipt in self._committed():
            path = self._folder / _batch(receipt.key) / _QUARANTINE
            if path.exists():
                with pq.ParquetFile(path) as file:
                    for rows in file.iter_batches(batch_size=_READ_ROWS):
                        keys = pa.repeat(pa.scalar(receipt.key), rows.num_rows)
                        yield pa.RecordBatch.from_arrays([*rows.columns, keys], [*rows.schema.names, "_batch"])

    def statistics(self) -> Iterator[tuple[Receipt, str]]:
        for receipt in self._committed():
            path = self._folder / _batch(receipt.key) / _STATISTICS
            if path.exists():
                yield receipt, path.read_text(encoding="utf-8")

    def find(self, key: str) -> Receipt | None:
        return _read(self._folder / _batch(key) / _RECEIPT)

    def _committed(self) -> list[Receipt]:
        found = (_read(path) for path in self._folder.glob(f"batch=*/{_RECEIPT}"))
        return sorted((each for each in found if each is not None), key=_age)


class ParquetTable(ParquetReader):
    """`LakeTable`."""

    def last(self, source: str) -> Receipt | None:
        marked = (each for each in self._committed() if each.source == source and each.mark is not None)
        return max(marked, key=lambda each: each.sequence, default=None)

    def stage(self) -> "StagedFiles":
        folder = self._folder / "_staged" / os.urandom(8).hex()
        with _refused_by_disk(folder):
            folder.mkdir(parents=True)
        return StagedFiles(self._folder, folder)

    def refuse(self, receipt: Receipt) -> None:
        path = self._folder / "_refused" / f"{_digest(receipt.key)}.json"
        with _refused_by_disk(path):
            path.parent.mkdir(exist_ok=True)
            fresh = path.with_suffix(".new")
            _write(fresh, receipt)
            fresh.replace(path)
            _sync(path.parent)


class StagedFiles:
    """`Staged`."""

    def __init__(self, table: Path, folder: Path) -> None:
        self._table = table
        self._folder = folder
        self._writers: dict[str, pq.ParquetWriter] = {}

    def write(self, rows: pa.Table) -> None:
        self._append(_PART, rows, rows.schema)

    def quarantine(self, rows: pa.Table) -> None:
        self._append(_QUARANTINE, rows, QUARANTINE)

    def describe(self, statistics: str) -> None:
        with _refused_by_disk(self._folder):
            (self._folder / _STATISTICS).write_text(statistics, encoding="utf-8")

    def commit(self, receipt: Receipt) -> bool:
        with _refused_by_disk(self._folder):
            self._close()
            _write(self._folder / _RECEIPT, receipt)
            for file in self._folder.iterdir():
                _sync(file)
            _sync(self._folder)
            target = self._table / _batch(receipt.key)
            try:
                self._folder.rename(target)
            except OSError:
                if (target / _RECEIPT).exists():
                    self.discard()
                    return False
                raise
            _sync(self._table)
        (self._table / "_refused" / f"{_digest(receipt.key)}.json").unlink(missing_ok=True)
        return True

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            self._close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _append(self, name: str, rows: pa.Table, schema: pa.Schema) -> None:
        if not rows.num_rows:
            return
        with _refused_by_disk(self._folder):
            if name not in self._writers:
                self._writers[name] = pq.ParquetWriter(self._folder / name, schema, compression="zstd")
            self._writers[name].write_table(rows)

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()


@contextlib.contextmanager
def _refused_by_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PermanentError(f"{path} cannot be written: {error.strerror or error}") from error


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _batch(key: str) -> str:
    return f"batch={_digest(key)}"


def _age(receipt: Receipt) -> tuple[datetime, str]:
    return receipt.at, receipt.key


def _read(path: Path) -> Receipt | None:
    try:
        return Receipt.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PermanentError(f"{path} is no receipt: {error}") from error


def _write(path: Path, receipt: Receipt) -> None:
    path.write_text(receipt.model_dump_json())
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
