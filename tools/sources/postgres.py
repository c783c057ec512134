"""A connection to PostgreSQL that hands over what Python has no word for, such as `infinity`, as its text: one such value must
not end the reading of all rows."""

from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.types import datetime as times


class _Date(times.DateLoader):
    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Timestamp(times.TimestampLoader):
    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


class _Timestamptz(times.TimestamptzLoader):
    def load(self, data: Buffer) -> Any:
        try:
            return super().load(data)
        except psycopg.DataError:
            return bytes(data).decode()


def prepare(connection: "psycopg.Connection[Any]", _record: Any) -> None:
    """For SQLAlchemy's `connect`."""
    # A row must look the same whatever zone the server prefers.
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()
    for name, loader in (("date", _Date), ("timestamp", _Timestamp), ("timestamptz", _Timestamptz)):
        connection.adapters.register_loader(name, loader)
