"""`oppen serve`: one process, one worker (the embedded engines are opened by one process at a time), until SIGTERM."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import structlog
import uvicorn
import uvloop

from agents.policies import PolicyError
from api import addresses, logs, policy_file, price_file, settings
from api.container import DatabaseUnavailable, Decorate, open_services
from api.home import HomeInUse, HomeUnusable
from api.settings import Settings, WrongSettings
from api.web.app import create_app
from api.web.services import Services
from tools.errors import PermanentError

log = structlog.get_logger()

_DRAIN_S = 10
"""What is being answered when the process is told to end gets so long."""


class _Server(uvicorn.Server):
    """Signals are taken by `_serve`: uvicorn would raise them again after an orderly end, and the exit code would be theirs."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._told = started

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._told()

    def end(self, sig: signal.Signals) -> None:
        """Whoever asks a second time by Ctrl-C does not want to wait for what is being answered."""
        # Else an open stream would hold the process for the whole drain.
        self._stopping.set()
        self.handle_exit(sig, None)


def run(decorate: Decorate = lambda adapters: adapters, listening: Callable[[str], None] = lambda _: None) -> int:
    """The exit code: 0 when it was told to end and did, 1 when it could not start, 2 when a setting is wrong, which is said
    with its name. `listening` is told the URL once requests are answered."""
    logs.to_stderr()
    try:
        found = settings.read()
        policies = policy_file.load(found.policies)
        price_file.load(found.prices)
        if found.channels and policies.notify_channel not in found.channels:
            reason = f"has no channel {policies.notify_channel!r}, which the policies' notify_channel names"
            raise WrongSettings((("OPPEN_CHANNELS", reason),))
    except WrongSettings as error:
        for variable, what in error.faults:
            log.error("settings.invalid", setting=variable, reason=what)
        return 2
    except PolicyError as error:
        log.error("policies.invalid", setting="OPPEN_POLICIES", reason=str(error))
        return 2
    except PermanentError as error:
        log.error("prices.invalid", setting="OPPEN_PRICES", reason=str(error))
        return 2
    for name in settings.unknown():
        log.warning("settings.unknown", setting=name)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_serve(found, decorate, listening))
    except addresses.Unusable as error:
        log.error("address.unusable", setting=error.setting, reason=str(error))
    except HomeInUse as error:
        log.error("home.in_use", setting="OPPEN_HOME", reason=str(error))
    except HomeUnusable as error:
        log.error("home.unusable", setting="OPPEN_HOME", reason=str(error))
    except DatabaseUnavailable as error:
        log.error("database.unavailable", setting="OPPEN_DATABASE_URL", reason=str(error))
    return 1


async def _serve(found: Settings, decorate: Decorate, listening: Callable[[str], None]) -> int:
    """The services are opened here, and not by the application: why they could not be is said in words, without a traceback."""
    opened: list[Services] = []
    app = create_app(lambda: contextlib.nullcontext(opened[0]), (found.max_body_bytes, found.intake_in_flight))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http="httptools",
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=_DRAIN_S,
        server_header=False,
    )
    stopping: asyncio.Event = app.state.local.stopping
    server = _Server(config, stopping, lambda: listening(addresses.url(found.host, found.port)))
    # Told to end while they are opened or closed, it still closes what is open.
    for sig in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sig, server.end, sig)
    with addresses.bound(found.host, found.port) as sockets:
        async with open_services(found, decorate) as services:
            opened.append(services)
            await server.serve(sockets)
    return 0 if server.started or stopping.is_set() else 1
