"""Our own record of who moved an alias when and why; MLflow knows only where an alias is now.

One table in the platform's database. A move is written as `intended` before the registry is touched and `done` after it, so
that a crash between the two leaves a trace to converge from; `void` is an attempt that did not take place. Rows are added and
their state is settled, nothing else is ever changed. Each statement is a transaction of its own: what must not interleave
is kept apart by `tools.registry.locks`. The rules are in `tools.registry.moves`.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    event,
    exc,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tools.errors import Conflict, PermanentError, TemporaryError
from tools.registry.locks import Exclusion, FileExclusion, PostgresExclusion
from tools.registry.port import AliasChange

State = Literal["intended", "done", "void"]

_PATIENCE_S = 10
"""How long a database that is busy, or far away, is waited for."""


class _Utc(TypeDecorator[datetime]):
    """Aware in, aware out; SQLite keeps no zone, so UTC is stored and put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData()
ALIAS_CHANGES = Table(
    "alias_changes",
    METADATA,
    # SQLite counts up only in columns of the type INTEGER.
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("model", String(256), nullable=False),
    Column("alias", String(32), nullable=False),
    Column("before", String(64)),
    Column("after", String(64)),
    Column("at", _Utc(), nullable=False),
    Column("actor", String(200), nullable=False),
    Column("reason", Text, nullable=False),
    Column("key", String(400), nullable=False),
    Column("origin", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Index("alias_changes_model", "model", "seq"),
    # A key stands for one change; attempts that came to nothing may be made again.
    Index(
        "alias_changes_key",
        "key",
        unique=True,
        sqlite_where=text("state <> 'void'"),
        postgresql_where=text("state <> 'void'"),
    ),
)


@dataclass(frozen=True)
class Entry:
    change: AliasChange
    state: State


class History(Protocol):
    """What the rules of moving need of a record."""

    def exclusive(self, model: str) -> contextlib.AbstractAsyncContextManager[None]:
        """Nobody else, in any process, moves aliases of the model by this record meanwhile."""
        ...

    async def entries(self, model: str) -> tuple[Entry, ...]:
        """Intended and done, in the order in which they were written."""
        ...

    async def add(self, entry: Entry) -> None:
        """Raises Conflict when its key has an entry."""
        ...

    async def settle(self, key: str, state: Literal["done", "void"]) -> None:
        """What became of the intention."""
        ...

    async def close(self) -> None: ...


class SqlHistory:
    """`url`: `sqlite:///PATH[?timeout=SECONDS]` or `postgresql://...`, with or without a driver.

    The table must be there (`oppen migrate`).
    """

    def __init__(self, url: str) -> None:
        self._engine, self._exclusion = _opened(url)

    @contextlib.asynccontextmanager
    async def exclusive(self, model: str) -> AsyncIterator[None]:
        async with self._exclusion.over(model):
            yield

    async def entries(self, model: str) -> tuple[Entry, ...]:
        columns = ALIAS_CHANGES.c
        wanted = select(ALIAS_CHANGES).where(columns.model == model, columns.state != "void").order_by(columns.seq)
        async with self._connection() as connection:
            rows = (await connection.execute(wanted)).mappings().all()
        return tuple(_entry(row) for row in rows)

    async def add(self, entry: Entry) -> None:
        values = entry.change.model_dump() | {"alias": entry.change.alias.value, "state": entry.state}
        async with self._connection() as connection:
            await connection.execute(insert(ALIAS_CHANGES).values(values))

    async def settle(self, key: str, state: Literal["done", "void"]) -> None:
        columns = ALIAS_CHANGES.c
        settled = update(ALIAS_CHANGES).where(columns.key == key, columns.state == "intended").values(state=state)
        async with self._connection() as connection:
            await connection.execute(settled)

    async def close(self) -> None:
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        with _translated():
            async with self._engine.connect() as connection:
                yield connection


def _entry(row: Any) -> Entry:
    values = dict(row)
    state = values.pop("state")
    del values["seq"]
    return Entry(AliasChange(**values), state)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The database's own words for three cases: it says no, it lacks the table, it may say yes later."""
    try:
        yield
    except exc.IntegrityError as error:
        raise Conflict(f"the history of aliases has that change already: {error.orig}") from error
    except (exc.ProgrammingError, exc.OperationalError) as error:
        if "no such table" in str(error.orig) or isinstance(error, exc.ProgrammingError):
            raise PermanentError(f"the history of aliases cannot be read; run `oppen migrate`: {error.orig}") from error
        raise TemporaryError(f"the history of aliases does not answer: {error.orig}") from error
    except (exc.TimeoutError, exc.InterfaceError, exc.InternalError, OSError) as error:
        raise TemporaryError(f"the history of aliases does not answer: {error}") from error


def _opened(url: str) -> tuple[AsyncEngine, Exclusion]:
    parsed = make_url(url)
    common: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "pool_size": 4, "max_overflow": 4}
    match parsed.get_backend_name():
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise ValueError("the history of aliases needs a file: sqlite:///PATH")
            patience = {"timeout": float(str(parsed.query.get("timeout", _PATIENCE_S)))}
            engine = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"), connect_args=patience, **common)
            event.listen(engine.sync_engine, "connect", _prepare_sqlite)
            return engine, FileExclusion(Path(parsed.database).absolute())
        case "postgresql":
            engine = create_async_engine(
                parsed.set(drivername="postgresql+psycopg"),
                connect_args={"options": "-c timezone=UTC", "connect_timeout": _PATIENCE_S, "application_name": "oppen"},
                pool_pre_ping=True,
                pool_timeout=_PATIENCE_S,
                **common,
            )
            return engine, PostgresExclusion(engine)
        case other:
            raise ValueError(f"{other} is not supported for the history of aliases: use SQLite or PostgreSQL")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
