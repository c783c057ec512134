"""LangGraph's threads, where the rest of the platform's memory is. The runner reads and writes them, and nobody else."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy.engine import make_url

_CONNECTIONS = 8
"""To PostgreSQL, for the runs that move at once; each needs one between its steps, for a moment."""


@contextlib.asynccontextmanager
async def open_checkpoints(url: str) -> AsyncIterator[Any]:
    """LangGraph's saver on `sqlite:///PATH` or `postgresql://...`, its tables made; closed when the block is left."""
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

    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver


@contextlib.asynccontextmanager
async def _postgresql(url: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    pool: Any = AsyncConnectionPool(
        url.replace("+psycopg", "", 1),
        min_size=1,
        max_size=_CONNECTIONS,
        open=False,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )
    async with pool:
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver
