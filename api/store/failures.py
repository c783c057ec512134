"""Database errors become one of two words at the door (`tools/errors.py`); nothing of SQLAlchemy or a driver gets past it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
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
    if error.connection_invalidated:
        return True
    if type(error.orig).__module__.startswith("sqlite3"):
        return any(words in str(error.orig).lower() for words in _SQLITE_PASSING)
    # psycopg: lost connections, deadlocks, lock timeouts, serialisation failures and shutdowns are all of these two.
    return isinstance(error, OperationalError | InterfaceError)


def _words(error: DBAPIError) -> str:
    """The driver's first line, without the statement and its parameters, which may hold what nobody should read in a log."""
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
