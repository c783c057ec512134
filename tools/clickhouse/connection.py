"""The way to ClickHouse: the embedded engine or a server by URL, one client for both, and its errors in our two words."""

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from tools.errors import PermanentError, TemporaryError

EMBEDDED = "chdb://"
SERVERS = frozenset({"clickhouse", "clickhouses", "http", "https"})

_PASSING = frozenset({3, 159, 160, 164, 202, 203, 209, 210, 241, 242, 243, 252, 279, 319, 394, 439, 999})
"""Codes of ClickHouse that may be gone at the next try: time, memory, connections, parts, disk, replicas, cancelled queries."""
_UNKNOWN_TABLE = 60
_SHOWN_CHARACTERS = 300


class NoTable(PermanentError):
    """Nothing has been stored yet."""


class Occupied(TemporaryError):
    """Another process has the folder of the embedded engine open."""


class Connection:
    """Clients for all threads that ask.

    `url`: `chdb:///absolute/folder`, or `clickhouse://user:password@host:port/database` (also `http://`, `https://`,
    `clickhouses://`). `name`: what it is to those who read an error. `limit`: a statement that takes longer is given up.
    """

    def __init__(self, url: str, name: str, limit: timedelta) -> None:
        # What the client logs it also raises; without a handler of its own it would go to stderr among a program's JSON.
        logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
        self._url = url
        self._name = name
        self._limit_s = round(limit.total_seconds())
        # Over HTTP threads share a client; of the embedded engine each has its own, because one does one thing at a time.
        self._own = threading.local() if url.startswith(EMBEDDED) else SimpleNamespace()
        self.shared = not url.startswith(EMBEDDED)
        """Whether other processes write to the same store."""
        self._opened: list[Any] = []
        self._opening = threading.Lock()
        self.client()

    def client(self) -> Any:
        """The calling thread's."""
        with self._opening:
            if (client := getattr(self._own, "client", None)) is None:
                with translated(self._name):
                    client = self._own.client = self._connect()
                self._opened.append(client)
            return client

    def close(self) -> None:
        for client in self._opened:
            client.close()

    def _connect(self) -> Any:
        import clickhouse_connect

        if self._url.startswith(EMBEDDED):
            return self._embedded(Path(self._url.removeprefix(EMBEDDED)))
        parts = urlsplit(self._url)
        secure = parts.scheme in ("https", "clickhouses")
        return clickhouse_connect.get_client(
            interface="https" if secure else "http",
            host=parts.hostname or "localhost",
            port=parts.port or (8443 if secure else 8123),
            username=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=unquote(parts.path.strip("/")) or "default",
            connect_timeout=5,
            send_receive_timeout=self._limit_s + 5,
            settings={"max_execution_time": self._limit_s},
            # Queries of several threads at once: a session would let in one at a time.
            autogenerate_session_id=False,
        )

    def _embedded(self, folder: Path) -> Any:
        import clickhouse_connect
        from clickhouse_connect.driver.exceptions import ProgrammingError

        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PermanentError(f"{folder} cannot be made: {error.strerror or error}") from error
        try:
            return clickhouse_connect.get_client(
                interface="chdb", path=str(folder), settings={"max_execution_time": str(self._limit_s)}
            )
        except ProgrammingError as error:
            # One process at a time may open a folder; the one before us may be about to end.
            raise Occupied(f"{self._name} cannot be opened: {_first_line(error)}") from error


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """`name`: what is not available, or refused."""
    from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError

    try:
        yield
    except DatabaseError as error:
        if error.code == _UNKNOWN_TABLE:
            raise NoTable(f"{name} has no such table: {_first_line(error)}") from error
        # Without a code it is no word of ClickHouse's, but of whatever stands before it.
        elsewhere = type(error) is DatabaseError and error.code is None
        if elsewhere or error.code in _PASSING or isinstance(error, OperationalError):
            raise _passing(name, error) from error
        raise PermanentError(f"{name} refused: {_first_line(error)}") from error
    except (Error, OSError) as error:
        raise _passing(name, error) from error


def with_password(url: str, password: str | None) -> str:
    """Unless the URL has one."""
    parts = urlsplit(url)
    if password is None or parts.password is not None:
        return url
    user = parts.username or "default"
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{parts.netloc.rpartition('@')[2]}").geturl()


def without_password(url: str) -> str:
    """To be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return parts._replace(netloc=f"{parts.username or ''}@{parts.netloc.rpartition('@')[2]}").geturl()


def _passing(name: str, error: Exception) -> TemporaryError:
    said = _unanswered(error) or _first_line(error)
    return TemporaryError(f"{name} is not available: {said}", retry_after=timedelta(seconds=1))


def _unanswered(error: BaseException | None) -> str | None:
    """Which server does not answer; None where it did, or is none."""
    from urllib3.exceptions import MaxRetryError

    while error is not None and not isinstance(error, MaxRetryError):
        error = error.__cause__
    if error is None:
        return None
    why = str(error.reason or error).rpartition(": ")[2]
    host, port = getattr(error.pool, "host", "the server"), getattr(error.pool, "port", None)
    return f"{host}:{port} does not answer ({why}): is it running, and are host and port right?"


def _first_line(error: Exception) -> str:
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[:_SHOWN_CHARACTERS].rpartition(' ')[0]} …"
