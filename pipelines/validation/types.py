"""A schema's types and those of Arrow."""

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.fitting import plain
from tools.errors import PermanentError
from tools.quality.schema import ColumnType, TableSchema

_MADE: dict[ColumnType, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
}


def type_of(kind: pa.DataType) -> ColumnType | None:
    """None: a schema has no word for it."""
    if pa.types.is_dictionary(kind):
        return type_of(kind.value_type)
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text"
    if pa.types.is_timestamp(kind):
        return "time"
    return "date" if pa.types.is_date(kind) else None


def newest(times: pa.ChunkedArray) -> datetime | None:
    """The latest of times or dates, in UTC and whole microseconds; None without any, or where a datetime cannot hold it."""
    latest = pc.max(times)
    try:
        # Not safely: digits below a microsecond are no reason to refuse a time.
        found: datetime | None = pc.cast(latest, pa.timestamp("us"), safe=False).as_py()
    except (ValueError, OverflowError):  # beyond the year 9999
        return None
    return found.replace(tzinfo=UTC) if found is not None else None


def wanted(schema: TableSchema, own: pa.Schema, table: pa.Schema | None) -> pa.Schema:
    """What a batch's rows are to become. `own`: what they are by themselves; `table`: what those before became.

    Raises PermanentError, naming the columns, where they cannot.
    """
    own = plain(own)
    missing = [each.name for each in schema.columns if each.required and each.name not in own.names]
    known = {each.name for each in schema.columns}
    more = [name for name in own.names if name not in known]
    said = [f"column {name!r} is missing" for name in missing[:5]]
    if schema.extra_columns == "refuse":
        said += [f"column {name!r} is not in the schema" for name in more[:5]]
    if said:
        raise PermanentError(f"{'; '.join(said)} (the schema has {', '.join([each.name for each in schema.columns][:20])})")
    if table is not None:
        _agree(schema, table)
        return table
    fields = []
    for column in schema.columns:
        there = own.field(column.name).type if column.name in own.names else None
        fits = there is not None and type_of(there) == column.type
        fields.append(pa.field(column.name, there if fits else _MADE[column.type]))
    return pa.schema([*fields, *(own.field(name) for name in more)])


def _agree(schema: TableSchema, table: pa.Schema) -> None:
    """A table keeps the types that its first batch gave it, and a schema of others is one of another table."""
    for column in schema.columns:
        if column.name not in table.names:
            raise PermanentError(f"column {column.name!r} is in the schema and not in the table")
        kind = table.field(column.name).type
        if type_of(kind) != column.type:
            raise PermanentError(f"column {column.name!r} is {column.type} in the schema and {kind} in the table")
    known = {each.name for each in schema.columns}
    if schema.extra_columns == "refuse" and (more := [name for name in table.names if name not in known]):
        raise PermanentError(f"column {more[0]!r} is in the table and not in the schema")
