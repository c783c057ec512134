"""LangGraph's threads, where the rest of the platform's memory is. The runner reads and writes them, and nobody else."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import make_url

from api.store.failures import passes, words
from tools.errors import PermanentError, TemporaryError

_CONNECTIONS = 8
"""To PostgreSQL, for the runs that move at once; each needs one between its steps, for a moment."""
_CONNECT_S = 5
_AGAIN = timedelta(seconds=1)


@contextlib.asynccontextmanager
async def open_checkpoints(url: str) -> AsyncIterator[Any]:
    """LangGraph's saver on `sqlite:///PATH` or `postgresql://...`, its tables made; closed when the block is left.

    The saver raises TemporaryError and PermanentError, and so does opening it.
    """
    if make_url(url).get_backend_name() == "sqlite":
        async with _sqlite(url.removeprefix("sqlite:///")) as saver:
            yield saver
    else:
        async with _postgresql(url) as saver:
            yield saver


@contextlib.asynccontextmanager
async def _sqlite(path: str) -> AsyncIterator[Any]:
    """A lost last checkpoint is a step that is run again (docs/adr/0002), so SQLite need not wait for the disk here."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with contextlib.AsyncExitStack() as stack:
        with _translated():
            saver = await stack.enter_async_context(_translating(AsyncSqliteSaver).from_conn_string(path))
            await saver.setup()
            await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver


@contextlib.asynccontextmanager
async def _postgresql(url: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg import AsyncConnection
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    plain = url.replace("+psycopg", "", 1)
    with _translated():
        # A pool keeps the reason for which it gets no connection to itself.
        await (await AsyncConnection.connect(plain, connect_timeout=_CONNECT_S)).close()
    pool: Any = AsyncConnectionPool(
        plain,
        min_size=1,
        max_size=_CONNECTIONS,
        open=False,
        # A connection that the server has closed meanwhile is found here, and not by a run.
        check=AsyncConnectionPool.check_connection,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )
    async with pool:
        saver = _translating(AsyncPostgresSaver)(pool)
        with _translated():
            await saver.setup()
        yield saver


def _translating(saver: Any) -> Any:
    """The same, with its store's failures in our word: what is away for a moment must not end a run."""

    class Translating(saver):  # type: ignore[misc]
        async def aget_tuple(self, *given: Any, **options: Any) -> Any:
            with _translated():
                return await super().aget_tuple(*given, **options)

        async def aput(self, *given: Any, **options: Any) -> Any:
            with _translated():
                return await super().aput(*given, **options)

        async def aput_writes(self, *given: Any, **options: Any) -> Any:
            with _translated():
                return await super().aput_writes(*given, **options)

        async def adelete_thread(self, *given: Any, **options: Any) -> Any:
            with _translated():
                return await super().adelete_thread(*given, **options)

    return Translating


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """TemporaryError: what may be back in a moment. PermanentError: the rest of what a driver says."""
    import psycopg
    import psycopg_pool

    try:
        yield
    except psycopg_pool.PoolTimeout as error:
        raise TemporaryError("every connection to the threads' store is in use", retry_after=_AGAIN) from error
    except (sqlite3.Error, psycopg.Error) as error:
        if passes(error):
            raise TemporaryError(f"the threads' store is not available: {words(error)}", retry_after=_AGAIN) from error
        raise PermanentError(f"the threads' store refused: {words(error)}") from error
