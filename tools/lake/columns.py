"""Arrow's types as ClickHouse keeps them, and back without a loss. What has no way back is refused.

Columns are numbered: their names come from outside, and belong to the view (quoted) and to the schema that is stored.
"""

import base64
from collections.abc import Sequence

import pyarrow as pa

from tools.errors import PermanentError

_SIMPLE = {
    pa.bool_(): "Bool",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.float32(): "Float32",
    pa.float64(): "Float64",
    pa.string(): "String",
    pa.large_string(): "String",
    pa.binary(): "String",
    pa.large_binary(): "String",
    pa.date32(): "Date32",
}
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}


def column(place: int) -> str:
    return f"c{place}"


def column_types(schema: pa.Schema) -> list[str]:
    """Raises PermanentError, naming it, for a column that cannot be kept as it is."""
    found = []
    for field in schema:
        kind = _kind(field.type)
        if kind is None:
            raise PermanentError(
                f"column {field.name!r}: {field.type} cannot be kept in ClickHouse; make columns of plain values of it, or take"
                " a lake of Parquet"
            )
        found.append(kind)
    return found


def quoted(name: str) -> str:
    """As an identifier in SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def stored(rows: pa.Table) -> list[pa.ChunkedArray]:
    """Columns as they are inserted. Raises PermanentError for a list that is null: an Array is never."""
    return [_stored(field, rows.column(place)) for place, field in enumerate(rows.schema)]


def restored(columns: Sequence[pa.ChunkedArray], schema: pa.Schema) -> pa.Table:
    found = [_restored(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(found, schema=schema)


def bare(schema: pa.Schema) -> pa.Schema:
    """Without metadata."""
    return pa.schema([field.remove_metadata() for field in schema])


def written(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def read(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def _kind(kind: pa.DataType) -> str | None:
    if _is_list(kind):
        value = _SIMPLE.get(kind.value_type)
        # A date in a list would need what is done to a column, value by value.
        return f"Array(Nullable({value}))" if value is not None and not pa.types.is_binary(kind.value_type) else None
    scalar = _scalar(kind)
    return f"Nullable({scalar})" if scalar is not None else None


def _scalar(kind: pa.DataType) -> str | None:
    if pa.types.is_timestamp(kind):
        # The instant, or, without a zone, the wall's time as if it were UTC; the schema knows the zone.
        return f"DateTime64({_DIGITS[kind.unit]}, 'UTC')"
    if pa.types.is_decimal128(kind) or pa.types.is_decimal256(kind):
        return f"Decimal({kind.precision}, {kind.scale})" if 0 <= kind.scale <= kind.precision else None
    if pa.types.is_time32(kind):
        return "Int32"
    if pa.types.is_time64(kind) or pa.types.is_duration(kind):
        return "Int64"
    return _SIMPLE.get(kind)


def _stored(field: pa.Field, values: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = field.type
    if _is_list(kind) and values.null_count:
        raise PermanentError(f"column {field.name!r}: ClickHouse cannot tell a list that is null from an empty one")
    if pa.types.is_timestamp(kind):
        return values.cast(pa.int64()).cast(pa.timestamp(kind.unit, "UTC"))
    if pa.types.is_time32(kind):
        return values.cast(pa.int32())
    if pa.types.is_time64(kind) or pa.types.is_duration(kind):
        return values.cast(pa.int64())
    return values


def _restored(values: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_timestamp(kind):
        return values.cast(pa.int64()).cast(kind)
    return values.cast(kind)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
