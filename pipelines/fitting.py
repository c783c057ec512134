"""Rows as they come become rows as their table has them; what cannot is told apart, row by row, with the reason.

Nothing is changed on the way: a number is stored exactly or not at all.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tools.errors import PermanentError
from tools.lake.port import QUARANTINE, RESERVED
from tools.sources.moments import moments
from tools.sources.port import Chunk
from tools.sources.text import ABSENT

_SHOWN_CHARACTERS = 60
_SHOWN_COLUMNS = 5
"""Of a row that does not fit."""

_NOT_FINITE = pa.array(["NaN", "nan", "-nan", "-NaN"], pa.string())
"""In a column of numbers it is one that is not finite, as it is in Parquet."""

_NOT_EXACT = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)


@dataclass(frozen=True)
class Fitted:
    accepted: pa.Table
    numbers: "np.ndarray[Any, np.dtype[np.int64]]"
    """Of the accepted rows, in their batch."""
    quarantined: pa.Table
    """As QUARANTINE."""
    misfits: "tuple[Misfit, ...]" = ()
    """Why, by column and rule: a row may have several reasons."""


@dataclass(frozen=True)
class Misfit:
    """How many rows did not fit for one reason."""

    column: str
    """Empty: the row could not be read at all."""
    rule: Literal["type", "finite", "readable"]
    rows: int
    example: str


def plain(schema: pa.Schema) -> pa.Schema:
    """The types that a table is made with: without encodings, metadata and units that the next file would not share.

    Raises PermanentError for columns that no table can have.
    """
    names = schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PermanentError(f"column {twice[0]!r} is there twice")
    if taken := [name for name in names if RESERVED.fullmatch(name)]:
        raise PermanentError(f"column {taken[0]!r}: this name is the store's own")
    if not all(names):
        raise PermanentError(f"column {names.index('') + 1} has no name")
    if not names:
        raise PermanentError("there are no columns")
    return pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])


def same_columns(found: pa.Schema, wanted: pa.Schema, optional: frozenset[str] = frozenset()) -> None:
    """Raises PermanentError, naming them, when columns are missing, too many or there twice. `optional`: may be missing."""
    if twice := sorted({name for name in found.names if found.names.count(name) > 1}):
        raise PermanentError(f"column {twice[0]!r} is there twice")
    missing = [name for name in wanted.names if name not in found.names and name not in optional]
    more = [name for name in found.names if name not in wanted.names]
    if missing or more:
        said = [f"column {name!r} is missing" for name in missing[:_SHOWN_COLUMNS]]
        said += [f"column {name!r} is not in the table" for name in more[:_SHOWN_COLUMNS]]
        raise PermanentError(f"{'; '.join(said)} (the table has {', '.join(wanted.names[:20])})")


def fit(chunk: Chunk, schema: pa.Schema, *, finite: bool, optional: frozenset[str] = frozenset()) -> Fitted:
    """`finite`: a NaN or an infinity does not fit. `optional`: columns that are nulls where the chunk lacks them."""
    same_columns(chunk.rows.schema, schema, optional)
    columns: list[pa.Array] = []
    reasons: dict[int, list[str]] = defaultdict(list)
    found = [Misfit("", "readable", len(chunk.misread), chunk.misread[0].reason)] if chunk.misread else []
    for field in schema:
        if field.name not in chunk.rows.schema.names:
            columns.append(pa.nulls(chunk.rows.num_rows, field.type))
            continue
        values = _flat(chunk.rows[field.name])
        fitting = _converted(values, field.type, chunk.text)
        if fitting is None:
            odd = list(_odd(values, field.type, chunk.text, 0))
            for place in odd:
                reasons[place].append(f"{field.name}: {_shown(values[place])} is not {_named(field.type)}")
            found += [Misfit(field.name, "type", len(odd), reasons[odd[0]][-1])] if odd else []
            fitting = _converted(_without(values, odd), field.type, chunk.text)
            assert fitting is not None
        if finite and pa.types.is_floating(field.type):
            endless = pc.indices_nonzero(pc.invert(pc.fill_null(pc.is_finite(fitting), True))).to_pylist()
            for place in endless:
                reasons[place].append(f"{field.name}: {fitting[place].as_py()} is not finite")
            found += [Misfit(field.name, "finite", len(endless), reasons[endless[0]][-1])] if endless else []
        columns.append(fitting)
    rows = pa.Table.from_arrays(columns, schema=schema)
    misread = [(each.row, each.reason, each.record) for each in chunk.misread]
    if not reasons:
        return Fitted(rows, chunk.numbers, quarantine(misread), tuple(found))
    places = sorted(reasons)
    records = chunk.rows.take(pa.array(places)).to_pylist()
    misfits = [
        (int(chunk.numbers[place]), "; ".join(reasons[place][:_SHOWN_COLUMNS]), as_record(record))
        for place, record in zip(places, records, strict=True)
    ]
    kept = pc.invert(pc.is_in(pa.array(range(rows.num_rows), pa.int64()), pa.array(places, pa.int64())))
    numbers = np.delete(chunk.numbers, places)
    return Fitted(rows.filter(kept), numbers, quarantine(sorted([*misread, *misfits])), tuple(found))


def quarantine(rows: Iterable[tuple[int | None, str, str]]) -> pa.Table:
    """Of number, reason and record."""
    numbers, reasons, records = list(zip(*rows, strict=True)) or ((), (), ())
    return pa.Table.from_arrays(
        [pa.array(numbers, pa.int64()), pa.array(reasons, pa.string()), pa.array(records, pa.string())], schema=QUARANTINE
    )


def as_record(row: dict[str, Any]) -> str:
    """JSON, also of what JSON has no word for."""
    return json.dumps({name: _jsonable(value) for name, value in row.items()}, ensure_ascii=False, default=str)


def _jsonable(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case dict():
            return {str(name): _jsonable(each) for name, each in value.items()}
        case list():
            return [_jsonable(each) for each in value]
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case _:
            return value


def _plain(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_timestamp(kind) and kind.unit in ("s", "ms"):
        return pa.timestamp("us", kind.tz)
    if pa.types.is_date64(kind):
        return pa.date32()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _plain(field.type)) for field in kind])
    return kind


def _flat(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _converted(values: pa.Array, kind: pa.DataType, text: bool) -> pa.Array | None:
    """None where a value is not exactly one of that type."""
    try:
        if pa.types.is_binary(values.type) and not pa.types.is_binary(kind):
            values = values.cast(pa.string())  # raises where it is not UTF-8
        if pa.types.is_string(values.type) and not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
            values = pc.utf8_trim_whitespace(values)
            if text:
                absent = pc.is_in(values, ABSENT)
                if not _is_number(kind):
                    absent = pc.or_(absent, pc.is_in(values, _NOT_FINITE))
                values = pc.if_else(absent, pa.scalar(None, pa.string()), values)
        if pa.types.is_string(values.type) and pa.types.is_timestamp(kind) and kind.tz is not None:
            return moments(values, kind)
        return values.cast(kind)
    except _NOT_EXACT:
        return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind))


def _odd(values: pa.Array, kind: pa.DataType, text: bool, offset: int) -> Iterator[int]:
    """Places of the values that are not of that type: halves are tried, so that few of them cost little."""
    if _converted(values, kind, text) is not None:
        return
    if len(values) == 1:
        yield offset
        return
    half = len(values) // 2
    yield from _odd(values[:half], kind, text, offset)
    yield from _odd(values[half:], kind, text, offset + half)


def _without(values: pa.Array, places: list[int]) -> pa.Array:
    odd = pc.is_in(pa.array(range(len(values)), pa.int64()), pa.array(places, pa.int64()))
    return pc.if_else(odd, pa.scalar(None, values.type), values)


def _shown(value: pa.Scalar) -> str:
    found = value.as_py()
    if isinstance(found, bytes):
        found = found.decode("utf-8", "backslashreplace")
    return repr(found)[:_SHOWN_CHARACTERS]


def _named(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return f"a whole number ({kind})"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return f"a number ({kind})"
    return f"of type {kind}"
