"""Database errors become one of two words at the door (`tools/errors.py`); nothing of SQLAlchemy or a driver gets past it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tools.errors import Conflict, PermanentError, TemporaryError

# SQLite has one class for everything, so words tell these apart: a busy file is waited for, a missing table is not.
_SQLITE_PASSING = (
    "database is locked",
    "database is busy",
    "database table is locked",
    "disk i/o error",
    "disk is full",
    "unable to open database",
)

_POSTGRESQL_PASSING = ("08", "25P0", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE: connection, time-out of a transaction, deadlock and serialisation, resources, locks, shutdowns, disk."""
_POSTGRESQL_LASTING = frozenset({"25P01", "25P02", "57P04"})
"""No transaction, a transaction that has failed, and a database that was dropped."""
# libpq hands on no SQLSTATE of a connection that was refused, only the server's words; in another language than this they are
# waited for, which is the safer mistake.
_POSTGRESQL_REFUSALS = (
    "password authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "permission denied for database",
)


@contextmanager
def translated() -> Iterator[None]:
    """TemporaryError: lost connection, lock, deadlock, exhausted pool. Conflict: a constraint. PermanentError: the rest."""
    try:
        yield
    except PoolTimeout as error:
        raise TemporaryError("every connection to the database is in use") from error
    except IntegrityError as error:
        raise Conflict(f"the database holds something that forbids this: {_words(error)}") from error
    except DBAPIError as error:
        if _passes(error):
            raise TemporaryError(f"the database is not available: {_words(error)}", retry_after=timedelta(seconds=1)) from error
        raise PermanentError(f"the database refused: {_words(error)}") from error


def _passes(error: DBAPIError) -> bool:
    return error.connection_invalidated or (error.orig is not None and passes(error.orig))


def passes(error: BaseException) -> bool:
    """Whether what a driver (sqlite3, psycopg) raises may be different in a moment, without anybody's doing."""
    if type(error).__module__.startswith("sqlite3"):
        return any(words in str(error).lower() for words in _SQLITE_PASSING)
    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        return state.startswith(_POSTGRESQL_PASSING) and state not in _POSTGRESQL_LASTING
    # A connection that was lost or never made: the server's reason has come in words alone.
    away = any(kind.__name__ in ("OperationalError", "InterfaceError") for kind in type(error).__mro__)
    return away and not any(words in str(error) for words in _POSTGRESQL_REFUSALS)


def _words(error: DBAPIError) -> str:
    return words(error.orig) if error.orig is not None else type(error).__name__


def words(error: BaseException) -> str:
    """The driver's first line, without the statement and its parameters, which may hold what nobody should read in a log."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
