"""Rows as a database driver hands them over become columns of Arrow; a value that is not of its column's type is told apart.

Nothing is changed on the way: SQLite keeps a word in a column of numbers, and pyarrow by itself would make 1 of 1.5.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from tools.sources.port import Chunk, Misread

_SHOWN_CHARACTERS = 60
UNBOUNDED = pa.decimal128(38, 18)
"""Of a NUMERIC that says no precision: 20 digits before the point, 18 after it."""
_MOST_DIGITS = 38
_NOTHING = type(None)


def declared(kind: "sa.types.TypeEngine[Any]") -> pa.DataType | None:
    """What a column of a table is in Arrow; None where the database does not say."""
    match kind:
        case sa.types.NullType():
            return None
        case sa.Boolean():
            return pa.bool_()
        case sa.Integer():
            return pa.int64()
        case sa.Float():
            return pa.float64()
        case sa.Numeric():
            return _decimal(kind.precision, kind.scale)
        case sa.DateTime():
            return pa.timestamp("us", "UTC" if kind.timezone else None)
        case sa.Date():
            return pa.date32()
        case sa.Time():
            return pa.string() if kind.timezone else pa.time64("us")
        case sa.LargeBinary():
            return pa.binary()
        case sa.ARRAY():
            item = declared(kind.item_type)
            return pa.list_(item) if item is not None else pa.string()
        case _:
            # Also what has no word in Arrow (UUID, JSON, intervals, ranges): as its text.
            return pa.string()


def inferred(values: Sequence[Any]) -> pa.DataType:
    """The type that all of them have, or text."""
    found = {type(value) for value in values} - {_NOTHING}
    if found == {bool}:
        return pa.bool_()
    if found == {int}:
        return (
            pa.int64()
            if all(value is None or -(2**63) <= value < 2**63 for value in values)
            else pa.decimal128(_MOST_DIGITS, 0)
        )
    if found and found <= {int, float}:
        return pa.float64()
    if found and found <= {int, Decimal}:
        return UNBOUNDED
    if found == {datetime}:
        zoned = any(value is not None and value.tzinfo is not None for value in values)
        return pa.timestamp("us", "UTC" if zoned else None)
    if found == {date}:
        return pa.date32()
    if found == {time} and all(value is None or value.tzinfo is None for value in values):
        return pa.time64("us")
    if found and found <= {bytes, memoryview, bytearray}:
        return pa.binary()
    return pa.string()


def chunk(schema: pa.Schema, rows: Sequence[Sequence[Any]], first: int) -> Chunk:
    """`first`: the number of the first row in its batch."""
    columns: list[pa.Array] = []
    odd: dict[int, str] = {}
    for place, field in enumerate(schema):
        values = [row[place] for row in rows]
        columns.append(_array(field, values, odd))
    table = pa.Table.from_arrays(columns, schema=schema)
    numbers = np.arange(first, first + len(rows), dtype=np.int64)
    if not odd:
        return Chunk(table, numbers)
    misread = tuple(Misread(first + place, odd[place], _record(schema.names, rows[place])) for place in sorted(odd))
    kept = np.ones(len(rows), dtype=bool)
    kept[list(odd)] = False
    return Chunk(table.filter(pa.array(kept)), numbers[kept], misread=misread)


def _array(field: pa.Field, values: list[Any], odd: dict[int, str]) -> pa.Array:
    native, convert = _reading(field.type)
    if not set(map(type, values)) <= native:
        for place, value in enumerate(values):
            if value is not None and type(value) not in native:
                try:
                    values[place] = convert(value)
                except (ValueError, TypeError, ArithmeticError):
                    values[place] = None
                    _leave_out(field, value, place, odd)
    try:
        return pa.array(values, field.type)
    except (ValueError, TypeError, ArithmeticError):
        for place, value in enumerate(values):
            try:
                pa.array([value], field.type)
            except (ValueError, TypeError, ArithmeticError):
                values[place] = None
                _leave_out(field, value, place, odd)
        return pa.array(values, field.type)


def _leave_out(field: pa.Field, value: Any, place: int, odd: dict[int, str]) -> None:
    said = f"{field.name}: {repr(value)[:_SHOWN_CHARACTERS]} is not of type {field.type}"
    odd[place] = f"{odd[place]}; {said}" if place in odd else said


def _reading(kind: pa.DataType) -> tuple[set[type], Callable[[Any], Any]]:
    """The types of Python that are taken as they are, and what becomes of others. It raises for what is not exactly that."""
    if pa.types.is_boolean(kind):
        return {bool, _NOTHING}, _as_bool
    if pa.types.is_integer(kind):
        return {int, _NOTHING}, _as_int
    if pa.types.is_floating(kind):
        return {int, float, _NOTHING}, _as_float
    if pa.types.is_decimal(kind):
        return {int, Decimal, _NOTHING}, _as_decimal
    if pa.types.is_timestamp(kind):
        # Arrow makes UTC of what has a zone, and takes what has none for UTC.
        return {datetime, _NOTHING}, _as_moment if kind.tz is not None else _as_wall_time
    if pa.types.is_date(kind):
        return {date, _NOTHING}, lambda value: date.fromisoformat(_text(value))
    if pa.types.is_time(kind):
        return {time, _NOTHING}, lambda value: time.fromisoformat(_text(value))
    if pa.types.is_binary(kind):
        return {bytes, _NOTHING}, _as_bytes
    if pa.types.is_list(kind):
        return {list, _NOTHING}, _refuse
    return {str, _NOTHING}, _as_text


def _decimal(precision: int | None, scale: int | None) -> pa.DataType:
    if precision is None:
        return UNBOUNDED
    if precision > _MOST_DIGITS or (scale or 0) < 0:
        return pa.decimal256(min(precision, 76), max(scale or 0, 0))
    return pa.decimal128(precision, scale or 0)


def _refuse(value: Any) -> Any:
    raise ValueError(value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _refuse(value)


def _as_bool(value: Any) -> bool:
    return bool(value) if value in (0, 1) else _refuse(value)


def _as_int(value: Any) -> int:
    whole = int(value) if isinstance(value, (float, Decimal, bool)) else _refuse(value)
    return whole if whole == value else _refuse(value)


def _as_float(value: Any) -> float:
    return float(value) if isinstance(value, Decimal) else _refuse(value)


def _as_decimal(value: Any) -> Decimal:
    # SQLite keeps a decimal as the float that is nearest to it, whose shortest writing is the decimal again.
    return Decimal(repr(value)) if isinstance(value, float) else _refuse(value)


def _as_moment(value: Any) -> datetime:
    """Without a zone it is UTC."""
    moment = datetime.fromisoformat(_text(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _as_wall_time(value: Any) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _as_bytes(value: Any) -> bytes:
    return bytes(value) if isinstance(value, (memoryview, bytearray)) else _refuse(value)


def _as_text(value: Any) -> str:
    match value:
        case dict() | list() | bool():
            return json.dumps(value, ensure_ascii=False, default=str)
        case bytes() | memoryview():
            return bytes(value).decode()
        case _:
            return str(value)


def _record(names: list[str], row: Sequence[Any]) -> str:
    return json.dumps(dict(zip(names, row, strict=False)), ensure_ascii=False, default=str)
