"""Cursor paging: the cursor is the key of the last row shown, so that rows that come in meanwhile shift nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from api.problems import FieldError, Invalid
from api.store import ids
from api.store.records import Base
from api.store.sessions import ReadSession

MAX_LIMIT = 500

_Record = TypeVar("_Record", bound=Base)


@dataclass(frozen=True)
class Page(Generic[_Record]):
    items: list[_Record]
    next_cursor: str | None
    """Hand it in as `cursor` for what follows; None at the end."""


async def newest_first(
    session: ReadSession,
    statement: Select[_Record],
    key: InstrumentedAttribute[str],
    *,
    limit: int,
    cursor: str | None,
    well_formed: Callable[[str], bool] = ids.well_formed,
) -> Page[_Record]:
    """By id, which is by time. Raises Invalid for a cursor that was never handed out."""
    if cursor is not None:
        if not well_formed(cursor):
            raise _bad_cursor()
        statement = statement.where(key < cursor)
    return await _page(session, statement.order_by(key.desc()), key.key, limit)


async def by_seq(
    session: ReadSession,
    statement: Select[_Record],
    key: InstrumentedAttribute[int],
    *,
    limit: int,
    cursor: str | None,
    newest_first: bool = False,
) -> Page[_Record]:
    """By sequence number, oldest first unless told. Raises Invalid for a cursor that was never handed out."""
    if cursor is not None:
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 18):
            raise _bad_cursor()
        statement = statement.where(key < int(cursor) if newest_first else key > int(cursor))
    return await _page(session, statement.order_by(key.desc() if newest_first else key), key.key, limit)


async def _page(session: ReadSession, statement: Select[Any], key: str, limit: int) -> Page[Any]:
    limit = max(1, min(limit, MAX_LIMIT))
    # One more than asked for tells whether there is a next page.
    rows = list(await session.scalars(statement.limit(limit + 1)))
    return Page(rows[:limit], str(getattr(rows[limit - 1], key)) if len(rows) > limit else None)


def _bad_cursor() -> Invalid:
    return Invalid(
        "the cursor is none that was handed out", errors=(FieldError(field="cursor", detail="leave it out to start"),)
    )
