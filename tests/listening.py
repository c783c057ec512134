"""An ASGI application on a port of loopback, in the test's own loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def listening(app: Any, *, port: int = 0, http: Any = "httptools") -> AsyncIterator[str]:
    """Its address. On the way out what is in flight is given up.

    Not by `serve`, which looks ten times a second whether it is to end, and takes pytest's signals.
    """
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http=http, ws="none", lifespan="off", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    state = server.server_state
    try:
        host, found = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{found}"
    finally:
        for listener in server.servers:
            listener.close()
        for connection in list(state.connections):
            connection.transport.abort()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
