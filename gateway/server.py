"""uvicorn with a drain: after SIGTERM the gateway first says that it is not ready, goes on answering while load balancers
and clients notice, and only then stops listening. What was accepted is answered."""

import asyncio
import socket
import sys
from types import FrameType

import structlog
import uvicorn

from gateway.app import App
from gateway.wire import JoiningProtocol

log = structlog.get_logger()

_SWITCH_S = 0.001
"""How long a thread may keep the interpreter from another. Python's 5 ms is what a model being loaded would add to answers."""


class DrainingServer(uvicorn.Server):
    def __init__(self, app: App, host: str, port: int, drain_s: float) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http=JoiningProtocol,
            ws="none",
            lifespan="off",
            proxy_headers=False,
            access_log=False,
            server_header=False,
            log_level="warning",
            timeout_keep_alive=75,
        )
        super().__init__(config)
        self._app = app
        self._drain_s = drain_s
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        sys.setswitchinterval(_SWITCH_S)
        await super().startup(sockets)
        if self.started:
            # The port may have been any free one.
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            log.info("gateway.listening", host=host, port=port)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # Not remembered as uvicorn would, which raises the signal again at the end: a drained gateway exits with 0.
        if self._app.draining or self._loop is None:
            self.should_exit = True
        else:
            self._app.draining = True
            self._loop.call_soon_threadsafe(self._loop.call_later, self._drain_s, self._leave)

    def _leave(self) -> None:
        self.should_exit = True
