"""ClickHouse as a program sees it that may wait: statements, rows and Arrow tables, wherever the engine is.

A server's client blocks on the network only and is used here. The embedded engine has a process of its own, which ends with
this one, however this one ends.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyarrow as pa

from tools.clickhouse.connection import EMBEDDED, Connection, translated
from tools.offload import ChildProcess

T = TypeVar("T")
P = ParamSpec("P")

Parameters = Mapping[str, str | int]

_CLOSE_S = 30.0
"""An engine that is being closed ends what it writes at the moment; killed, it would only have more to tidy up when opened."""


class Database(Protocol):
    """May be used by several threads. Nothing is opened before the first call. Raises NoTable, Occupied, TemporaryError or
    PermanentError."""

    @property
    def shared(self) -> bool:
        """Whether other processes may be at it."""
        ...

    def run(self, statement: str, parameters: Parameters | None = None) -> None: ...

    def rows(self, query: str, parameters: Parameters | None = None) -> list[tuple[Any, ...]]: ...

    def arrow(self, query: str) -> pa.Table:
        """Strings as strings; bytes too."""
        ...

    def insert(self, table: str, rows: pa.Table, settings: Mapping[str, str]) -> None: ...

    def close(self) -> None: ...


def open_database(url: str, name: str, limit: timedelta) -> Database:
    """As for `Connection`."""
    return _Offloaded(url, name, limit) if url.startswith(EMBEDDED) else _Here(url, name, limit)


class _Engine:
    """Where the client is."""

    def __init__(self, url: str, name: str, limit: timedelta) -> None:
        self._name = name
        self._connection = Connection(url, name, limit)

    def run(self, statement: str, parameters: Parameters | None) -> None:
        with translated(self._name):
            self._connection.client().command(statement, parameters=parameters)

    def rows(self, query: str, parameters: Parameters | None) -> list[tuple[Any, ...]]:
        with translated(self._name):
            return [tuple(row) for row in self._connection.client().query(query, parameters=parameters).result_rows]

    def arrow(self, query: str) -> pa.Table:
        with translated(self._name):
            return self._connection.client().query_arrow(query, use_strings=True)

    def insert(self, table: str, rows: pa.Table, settings: Mapping[str, str]) -> None:
        with translated(self._name):
            self._connection.client().insert_arrow(table, rows, settings=dict(settings))

    def insert_packed(self, table: str, rows: pa.Buffer, settings: Mapping[str, str]) -> None:
        self.insert(table, pa.ipc.open_stream(rows).read_all(), settings)

    def close(self) -> None:
        self._connection.close()


class _Elsewhere(ABC):
    """`Database`, by way of an engine that somebody else calls."""

    shared: bool

    def run(self, statement: str, parameters: Parameters | None = None) -> None:
        self._call(_Engine.run, statement, parameters)

    def rows(self, query: str, parameters: Parameters | None = None) -> list[tuple[Any, ...]]:
        return self._call(_Engine.rows, query, parameters)

    def arrow(self, query: str) -> pa.Table:
        return self._call(_Engine.arrow, query)

    def insert(self, table: str, rows: pa.Table, settings: Mapping[str, str]) -> None:
        self._call(_Engine.insert, table, rows, settings)

    @abstractmethod
    def _call(self, function: Callable[Concatenate[_Engine, P], T], *arguments: P.args, **options: P.kwargs) -> T: ...


class _Here(_Elsewhere):
    """A server."""

    shared = True

    def __init__(self, url: str, name: str, limit: timedelta) -> None:
        self._recipe = (url, name, limit)
        self._engine: _Engine | None = None
        self._opening = threading.Lock()

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _call(self, function: Callable[Concatenate[_Engine, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        with self._opening:
            if self._engine is None:
                self._engine = _Engine(*self._recipe)
        return function(self._engine, *arguments, **options)


class _Offloaded(_Elsewhere):
    """The embedded engine, driven from a thread that lives as long as it: with that thread the engine's process would end."""

    shared = False

    def __init__(self, url: str, name: str, limit: timedelta) -> None:
        self._child = ChildProcess(name, _Engine, url, name, limit, close_s=_CLOSE_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def close(self) -> None:
        if self._loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(self._child.close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = self._thread = None

    def insert(self, table: str, rows: pa.Table, settings: Mapping[str, str]) -> None:
        # As a stream, because a pickled slice takes all along of which it is one.
        packed = pa.BufferOutputStream()
        with pa.ipc.new_stream(packed, rows.schema) as stream:
            stream.write_table(rows)
        self._call(_Engine.insert_packed, table, packed.getvalue(), settings)

    def _call(self, function: Callable[Concatenate[_Engine, P], T], *arguments: P.args, **options: P.kwargs) -> T:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="clickhouse", daemon=True)
                self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._child.call(function, *arguments, **options), self._loop).result()
