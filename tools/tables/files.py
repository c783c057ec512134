"""Tables in files, read in batches: Parquet, CSV, JSON lines. A file that is not what it says is a PermanentError."""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from tools.errors import PermanentError

_BLOCK_BYTES = 16 << 20
"""Of text at a time. Column types are inferred from the first block, so it is large."""
_BATCH_ROWS = 32_768
_READ_BYTES = 256 << 10
"""Of a Parquet column at a time. Otherwise whole row groups are read ahead, and a file may be a single one."""


_NO_NUMBER = ["", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "Null", "null", "None", "none"]
"""What stands for no value among numbers, times and truth. Not NaN, which is a number that is not finite, as in the lake."""


class FileTable:
    """A file by its ending: .parquet, .csv (also .csv.gz), .jsonl or .ndjson."""

    def __init__(self, path: Path) -> None:
        """Raises PermanentError when there is no such file, or it is none of these."""
        self.path = path
        if not path.is_file():
            raise PermanentError(f"{path}: there is no such file")
        self._open = _OPENERS.get(next((suffix for suffix in path.suffixes if suffix in _OPENERS), ""))
        if self._open is None:
            raise PermanentError(f"{path}: not one of {', '.join(sorted(_OPENERS))}")
        with self._opened() as (schema, _):
            self.schema: pa.Schema = schema
        if twice := [name for name, times in Counter(self.schema.names).items() if times > 1]:
            raise PermanentError(f"{path}: it has two columns of the name {twice[0][:100]!r}: give one of them another")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Raises PermanentError where the file is damaged, after the batches before it."""
        with self._opened() as (_, batches):
            yield from batches

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        assert self._open is not None
        try:
            with self._open(self.path) as opened:
                yield opened
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, pa.ArrowKeyError, OSError) as error:
            raise PermanentError(f"{self.path}: {str(error).strip().splitlines()[0][:300]}") from error


class FolderTable:
    """All Parquet files in a folder, such as a table of the lake. What begins with `_` or `.` is none of its rows."""

    def __init__(self, folder: Path) -> None:
        """Raises PermanentError when there is none in it."""
        found = [path for path in folder.rglob("*.parquet") if not _hidden(path.relative_to(folder))]
        if not found:
            raise PermanentError(f"{folder}: there is no .parquet file in this folder")
        self._files = [FileTable(path) for path in sorted(found)]
        self.schema: pa.Schema = self._files[0].schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Raises PermanentError where a file is damaged, or has other columns than the first one."""
        for file in self._files:
            for batch in file.batches():
                yield self._alike(batch, file)

    def _alike(self, batch: pa.RecordBatch, file: FileTable) -> pa.RecordBatch:
        if batch.schema.equals(self.schema):
            return batch
        try:
            return batch.select(self.schema.names).cast(self.schema)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError, KeyError, ValueError) as error:
            told = str(error).strip().splitlines()[0][:300]
            raise PermanentError(f"{file.path}: its columns are not those of {self._files[0].path}: {told}") from error


def _hidden(path: Path) -> bool:
    return any(part.startswith(("_", ".")) for part in path.parts)


@contextlib.contextmanager
def _parquet(path: Path) -> Iterator[tuple[pa.Schema, Iterator[Any]]]:
    metadata = pyarrow.parquet.read_metadata(path)
    # Words stay the numbers that they are in the file: they are counted, not read.
    words = [field.name for field in metadata.schema.to_arrow_schema() if pa.types.is_string(field.type)]
    with pyarrow.parquet.ParquetFile(
        path, metadata=metadata, read_dictionary=words, pre_buffer=False, buffer_size=_READ_BYTES
    ) as file:
        yield file.schema_arrow, file.iter_batches(batch_size=_BATCH_ROWS, use_threads=True)


@contextlib.contextmanager
def _csv(path: Path) -> Iterator[tuple[pa.Schema, Iterator[Any]]]:
    with _csv_reader(path, ()) as reader:
        unknown = [field.name for field in reader.schema if pa.types.is_null(field.type)]
    words: list[str] = []
    if unknown:
        # Of a column of nothing but `NA` that would be all that is known; text it is, unless there is nothing at all.
        with _csv_reader(path, unknown) as reader:
            for first in itertools.islice(reader, 1):
                words = [name for name in unknown if pc.any(pc.not_equal(first.column(name), "")).as_py()]
    with _csv_reader(path, words) as reader:
        yield reader.schema, map(_without_empty, reader)


def _csv_reader(path: Path, words: Sequence[str]) -> Any:
    """`words`: columns that are text whatever they look like."""
    types = {name: pa.string() for name in words}
    return pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=types, null_values=_NO_NUMBER, strings_can_be_null=False),
    )


def _without_empty(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Text that is empty is none, and nothing else is: `NA` is Namibia."""
    columns = [
        pc.if_else(pc.equal(column, ""), None, column) if pa.types.is_string(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


@contextlib.contextmanager
def _json(path: Path) -> Iterator[tuple[pa.Schema, Iterator[Any]]]:
    with pyarrow.json.open_json(path, read_options=pyarrow.json.ReadOptions(block_size=_BLOCK_BYTES)) as reader:
        yield reader.schema, iter(reader)


_OPENERS: dict[str, Any] = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json, ".ndjson": _json}
