"""A table of a database by SQLAlchemy URL, read through the server's cursor: in memory is one batch of it."""

import datetime
import decimal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tools.errors import PermanentError, TemporaryError

_BATCH_ROWS = 20_000
_DRIVERS = {"postgresql": "postgresql+psycopg"}
_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    decimal.Decimal: pa.float64(),
    str: pa.string(),
    datetime.datetime: pa.timestamp("us"),
    datetime.date: pa.date32(),
}


class SqlTable:
    def __init__(self, url: str, table: str) -> None:
        """Raises PermanentError when there is no such table, or no way to it; TemporaryError when its database is away."""
        from sqlalchemy import MetaData, NullPool, Table, create_engine, exc, make_url

        try:
            parsed = make_url(url)
            self._name = f"{parsed.render_as_string(hide_password=True)}#{table}"
            if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
                raise PermanentError(f"{self._name}: there is no such file")
            driver = _DRIVERS.get(parsed.drivername, parsed.drivername)
            engine = create_engine(parsed.set(drivername=driver), poolclass=NullPool)
        except (exc.NoSuchModuleError, ModuleNotFoundError) as error:
            raise PermanentError(f"{self._name}: its driver is not installed ({error})") from error
        except exc.ArgumentError as error:
            raise PermanentError("this is no URL of a database: write driver://user:password@host/database#TABLE") from error
        schema, _, name = table.rpartition(".")
        self._engine = engine
        try:
            with warnings.catch_warnings():
                # Of kinds that SQLAlchemy does not know, which are not compared.
                warnings.simplefilter("ignore", exc.SAWarning)
                self._table = Table(name, MetaData(), schema=schema or None, autoload_with=engine)
        except exc.NoSuchTableError as error:
            raise PermanentError(f"{self._name}: there is no such table") from error
        except exc.SQLAlchemyError as error:
            raise self._translated(error) from error
        types = {column.name: _arrow(column.type) for column in self._table.columns}
        self.schema = pa.schema([pa.field(name, type_ or pa.binary()) for name, type_ in types.items()])
        self._read = [column for column in self._table.columns if types[column.name] is not None]
        """The others are of kinds that are not compared."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        from sqlalchemy import exc, select

        if not self._read:
            return
        schema = pa.schema([self.schema.field(column.name) for column in self._read])
        try:
            with self._engine.connect() as connection:
                streaming = connection.execution_options(stream_results=True, yield_per=_BATCH_ROWS)
                for rows in streaming.execute(select(*self._read)).partitions():
                    columns = zip(*rows, strict=True)
                    yield pa.RecordBatch.from_arrays(
                        [self._column(field, values) for field, values in zip(schema, columns, strict=True)], schema=schema
                    )
        except exc.SQLAlchemyError as error:
            raise self._translated(error) from error

    def _column(self, field: pa.Field, values: tuple[Any, ...]) -> pa.Array:
        try:
            if field.type == pa.float64():
                return pa.array([None if value is None else float(value) for value in values], pa.float64())
            return pa.array(values, field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError, TypeError) as error:
            raise PermanentError(f"{self._name}: {field.name} holds what is no {field.type}: {str(error)[:200]}") from error

    def _translated(self, error: Exception) -> PermanentError | TemporaryError:
        """Nothing of the driver's words that could hold the URL is shown but its first line."""
        from sqlalchemy import exc

        cause = getattr(error, "orig", None) or error
        told = f"{self._name}: {next(iter(str(cause).strip().splitlines()), type(cause).__name__)[:300]}"
        passing = isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError)
        return TemporaryError(told) if passing else PermanentError(told)


def _arrow(type_: Any) -> pa.DataType | None:
    try:
        python = type_.python_type
    except NotImplementedError:
        return None
    if python is datetime.datetime and getattr(type_, "timezone", False):
        return pa.timestamp("us", "UTC")
    return _TYPES.get(python)
