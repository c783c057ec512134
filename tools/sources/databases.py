"""Tables and queries of SQL databases, by SQLAlchemy URL, streamed.

With a watermark, a reading goes on after the one before: it is cut into batches where the watermark rises, so that a mark never
stands among rows of one value. What is not yet past, or has no watermark, is left where it is and counted. Without one, the
table is one batch, and its content is its key.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from tools.clock import Clock
from tools.errors import Misused, PermanentError, TemporaryError
from tools.sources import columns
from tools.sources.port import Chunk
from tools.sources.reading import SqlReading
from tools.sources.rising import Rising, Whole
from tools.sources.secrets import expand
from tools.sources.selection import Selection, survey
from tools.sources.watermarks import Mark

_FETCH_ROWS = 16_384
"""In memory at a time, as objects of Python, which are some ten times what they are in Arrow."""
_CONNECT_S = 10


class Database:
    """`Source`."""

    def __init__(self, url: sa.URL, reading: SqlReading, clock: Clock, *, batch_rows: int, commit_rows: int) -> None:
        if bool(reading.table) == bool(reading.query):
            raise Misused("say which rows of the database: either a table (--from) or a SELECT (--query)")
        if not reading.watermark and (reading.lookback or reading.lag):
            raise Misused("a lookback or a lag needs a column to apply to: name the watermark")
        self._password = expand(url.password or "")
        self._url = url.set(password=self._password) if url.password else url
        self._reading = reading
        self._clock = clock
        self._fetch_rows = min(batch_rows, _FETCH_ROWS)
        self._commit_rows = commit_rows
        # Neither the account nor options: a mark outlives a change of password, and is found from every folder.
        place = _place(url).render_as_string()
        what = reading.table or f"query-{hashlib.sha256(reading.query.encode()).hexdigest()[:12]}"
        self.name = f"sql:{place}#{what}" + (f"?watermark={reading.watermark}" if reading.watermark else "")
        self.label = reading.table
        self.ordered = bool(reading.watermark)
        self.held_back: dict[str, int] = {}

    def batches(self, mark: str | None) -> Iterator["SqlBatch"]:
        before = Mark.model_validate_json(mark) if mark is not None and self._reading.watermark else None
        with contextlib.ExitStack() as opened:
            opened.enter_context(self._errors())
            rows = Selection(opened.enter_context(self._connected()), self._reading)
            if self._reading.watermark:
                plan = survey(rows, self._reading, before, self._clock)
                self.held_back = plan.held_back if plan else rows.nulls()
                if plan is None:
                    return
                parts = opened.enter_context(contextlib.closing(rows.stream(plan.condition, self._fetch_rows)))
                streamed: Rising | Whole = Rising(
                    parts,
                    plan.kind,
                    before,
                    lookback=self._reading.lookback,
                    commit_rows=self._commit_rows,
                )
            else:
                streamed = Whole(opened.enter_context(contextlib.closing(rows.stream(None, self._fetch_rows))))
            while streamed.more():
                yield SqlBatch(self.name, rows, streamed, self._errors)

    def close(self) -> None:
        """Nothing is held between readings."""

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        engine = _engine(self._url)
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise self._translated(error) from None
        except ModuleNotFoundError as error:
            raise PermanentError(f"{self.name}: the driver {error.name!r} is not installed") from error

    def _translated(self, error: exc.SQLAlchemyError) -> PermanentError | TemporaryError:
        # SQLAlchemy's own text has the statement in it; the driver's may have the URL.
        told = error.orig if isinstance(error, exc.DBAPIError) else error
        lines = [line.strip() for line in str(told).splitlines() if line.strip()] or [type(error).__name__]
        said = f"{self.name}: {' '.join(lines[:2])[:300]}"
        said = said.replace(self._password, "***") if self._password else said
        return TemporaryError(said) if _is_away(error, lines[0]) else PermanentError(said)


class SqlBatch:
    """`Batch`."""

    def __init__(
        self,
        name: str,
        rows: "Selection",
        streamed: Rising | Whole,
        errors: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        self.name = f"{name}{streamed.place()}"
        self._source = name
        self._rows = rows
        self._streamed = streamed
        self._errors = errors
        self.key: str | None = None
        self.mark: str | None = None

    def schema(self) -> pa.Schema:
        return self._rows.schema(self._streamed.ahead())

    def chunks(self, schema: pa.Schema) -> Iterator[Chunk]:
        own = self._rows.schema(self._streamed.ahead(), schema)
        taken = 0
        with self._errors():
            while rows := self._streamed.take(taken):
                yield columns.chunk(own, rows, taken + 1)
                taken += len(rows)
            identity, self.mark = self._streamed.done()
        self.key = "sql:" + hashlib.sha256(f"{self._source}\n{identity}".encode()).hexdigest()


def _place(url: sa.URL) -> sa.URL:
    local = url.get_backend_name() == "sqlite" and url.database
    return sa.URL.create(
        url.get_backend_name(),
        host=url.host,
        port=url.port,
        database=str(Path(url.database).absolute()) if local and url.database else url.database,
        query={name: value for name, value in url.query.items() if name in ("host", "port", "dbname", "service")},
    )


def _engine(url: sa.URL) -> sa.Engine:
    match url.get_backend_name():
        case "sqlite":
            # Connecting would make an empty database of a misspelt name.
            if url.database and url.database != ":memory:" and not Path(url.database.removeprefix("file:")).exists():
                raise PermanentError(f"there is no database {url.database}")
            engine = sa.create_engine(url, poolclass=NullPool)
            sa.event.listen(engine, "connect", _only_read)
        case "postgresql" if url.get_driver_name() == "psycopg":
            from tools.sources.postgres import prepare

            engine = sa.create_engine(
                url,
                poolclass=NullPool,
                connect_args={"connect_timeout": _CONNECT_S},
                # What is counted and what is streamed are of one moment; nothing can be written by a query.
                execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
            )
            sa.event.listen(engine, "connect", prepare)
        case _:
            engine = sa.create_engine(url, poolclass=NullPool)
    if engine.dialect.is_async:
        raise PermanentError(f"{url.drivername} is for asynchronous programs: leave the driver out of the URL")
    return engine


def _only_read(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only = ON")


def _is_away(error: exc.SQLAlchemyError, said: str) -> bool:
    if not isinstance(error, exc.DBAPIError):
        return isinstance(error, exc.TimeoutError)
    if error.connection_invalidated or "database is locked" in said or "database is busy" in said:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        # Connections, resources, interventions of the operator, conflicts between transactions; not wrong passwords.
        return str(state)[:2] in ("08", "53", "57", "40")
    away = ("Connection refused", "timeout", "timed out", "could not translate host name", "failed to resolve", "closed")
    return isinstance(error, (exc.OperationalError, exc.InterfaceError)) and any(word in str(error.orig) for word in away)
