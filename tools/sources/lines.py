"""JSON lines in chunks. A line that is no object of the types that are wanted is told apart; the others go on.

pyarrow parses a block at a time and refuses all of it for one line, so a block that it refuses is halved until the line is
found. Few bad lines cost little.
"""

import io
import re
from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.json

from tools.sources import moments
from tools.sources.port import Chunk, Misread

_BLOCK_BYTES = 4 << 20
_SAMPLE_BYTES = 16 << 20
_NOT_JSON = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)
_WHERE = re.compile(r" in row \d+$")
"""Of the block that pyarrow saw."""


def schema(file: IO[bytes]) -> pa.Schema:
    """Types as they look in the head of the file. Raises ArrowInvalid when there is no line that is JSON."""
    head = file.read(_SAMPLE_BYTES)
    return schema_of(
        [*head.splitlines(keepends=True), file.readline()] if len(head) == _SAMPLE_BYTES else head.splitlines(True)
    )


def schema_of(lines: list[bytes]) -> pa.Schema:
    """Of as many lines as agree with each other: all, or half, or a quarter..., from the first one that is an object."""
    lines = [line for line in lines if line.strip()]
    start, count = 0, len(lines)
    while start < len(lines):
        try:
            return _timed(_parsed(lines[start : start + count], None), lines[start : start + count])
        except _NOT_JSON as error:
            failed = error
        count //= 2
        if not count:
            start, count = start + 1, 1
    raise failed if lines else pa.ArrowInvalid("there is no line in it")


def _timed(rows: pa.Table, lines: list[bytes]) -> pa.Schema:
    """pyarrow sees no zone in a time, and in one with a fraction no time: their text says more."""
    in_words = [field.with_type(_said(field.type)) for field in rows.schema]
    if in_words != list(rows.schema):
        rows = _parsed(lines, pa.schema(in_words))
    columns = (pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type) for column in rows.columns)
    return pa.schema([field.with_type(_type_of(column)) for field, column in zip(rows.schema, columns, strict=True)])


def _type_of(values: pa.Array) -> pa.DataType:
    kind = values.type
    if pa.types.is_string(kind):
        return moments.type_of(values) or kind
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_type_of(part)) for field, part in zip(kind, values.flatten(), strict=True)])
    return pa.list_(_type_of(values.flatten())) if pa.types.is_list(kind) else kind


def chunks(lines: Iterable[bytes], wanted: pa.Schema, batch_rows: int) -> Iterator[Chunk]:
    """Lines are numbered from 1, blank ones too."""
    block: list[bytes] = []
    first, size = 1, 0
    for line in lines:
        block.append(line)
        size += len(line)
        if len(block) >= batch_rows or size >= _BLOCK_BYTES:
            yield chunk(block, wanted, first)
            first, size = first + len(block), 0
            block = []
    if block:
        yield chunk(block, wanted, first)


def chunk(lines: list[bytes], wanted: pa.Schema, first: int) -> Chunk:
    """`first`: the number of the first line. Columns of `wanted` that no line has are null."""
    numbered = [(first + place, line) for place, line in enumerate(lines) if not line.isspace()]
    tables: list[pa.Table] = []
    numbers: list[int] = []
    misread: list[Misread] = []
    explicit = pa.schema([pa.field(field.name, _said(field.type)) for field in wanted if not pa.types.is_decimal(field.type)])
    _halve(numbered, explicit, tables, numbers, misread)
    rows = pa.concat_tables(tables, promote_options="permissive") if tables else wanted.empty_table()
    return Chunk(rows, np.array(numbers, dtype=np.int64), misread=tuple(misread))


def _said(kind: pa.DataType) -> pa.DataType:
    """As JSON can say it: what is a string there is read where the table's types are."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_said(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_said(kind.value_type))
    in_words = pa.types.is_temporal(kind) or pa.types.is_binary(kind)
    return pa.string() if in_words else kind


def _halve(
    lines: list[tuple[int, bytes]], wanted: pa.Schema, tables: list[pa.Table], numbers: list[int], misread: list[Misread]
) -> None:
    if not lines:
        return
    try:
        rows = _parsed([line for _, line in lines], wanted)
        if rows.num_rows != len(lines):
            raise pa.ArrowInvalid("more than one value in the line")
    except _NOT_JSON as error:
        if len(lines) == 1:
            ((number, line),) = lines
            reason = _WHERE.sub("", str(error).strip().splitlines()[0])
            misread.append(Misread(number, reason, line.decode("utf-8", "backslashreplace").strip()))
            return
        half = len(lines) // 2
        _halve(lines[:half], wanted, tables, numbers, misread)
        _halve(lines[half:], wanted, tables, numbers, misread)
    else:
        tables.append(rows)
        numbers.extend(number for number, _ in lines)


def _parsed(lines: list[bytes], wanted: pa.Schema | None) -> pa.Table:
    content = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines)
    parsing: Any = pyarrow.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="infer")
    # One block: its bounds must not decide what types are seen.
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(content) + 1)
    return pyarrow.json.read_json(io.BytesIO(content), read_options=reading, parse_options=parsing)
