"""The few statements that the two databases spell differently, and tables as Core sees them."""

from typing import TypeVar, cast

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite

from api.store.records import Base
from api.store.sessions import Transaction

Insert = postgresql.Insert | sqlite.Insert
_Record = TypeVar("_Record", bound=Base)


def table(record: type[_Record]) -> Table:
    """Statements on the table, not on the class, pass the unit of work by: many rows are one call of the driver."""
    return cast("Table", record.__table__)


def insert(transaction: Transaction, record: type[_Record]) -> Insert:
    """An INSERT that knows ON CONFLICT, which both databases have in the same words."""
    return sqlite.insert(table(record)) if transaction.on_sqlite else postgresql.insert(table(record))
