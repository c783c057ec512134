"""What Feast and the stores below it raise, in our two words. What they say may hold an address, never its password."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator

from tools.errors import PermanentError, TemporaryError
from tools.features import library

_PASSWORD = re.compile(r"(?<=://)[^/\s@]*@|password=[^,\s]*")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """For what has imported Feast: it imports it too, to know its errors."""
    library.load()
    from feast.errors import FeastError
    from redis.exceptions import BusyLoadingError, RedisError
    from redis.exceptions import ConnectionError as RedisAway
    from redis.exceptions import TimeoutError as RedisLate
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except (PermanentError, TemporaryError):
        raise
    except (RedisAway, RedisLate, BusyLoadingError) as error:
        raise TemporaryError(f"the online store does not answer: {_said(error)}") from error
    except RedisError as error:
        raise PermanentError(f"the online store refused: {_said(error)}") from error
    except sqlite3.OperationalError as error:
        raise TemporaryError(f"the online store cannot be used just now: {_said(error)}") from error
    except DBAPIError as error:
        raise TemporaryError(f"the registry does not answer: {_said(error)}") from error
    except (FeastError, SQLAlchemyError, sqlite3.Error) as error:
        raise PermanentError(f"the feature store refused: {_said(error)}") from error
    except OSError as error:
        raise TemporaryError(f"the feature store cannot be read or written: {_said(error)}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise PermanentError(f"the feature store refused: {_said(error)}") from error


def _said(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return _PASSWORD.sub("", text)[:300]
