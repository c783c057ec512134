"""`oppen serve`: one process, one worker (the embedded engines are opened by one process at a time), until SIGTERM."""

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import structlog
import uvicorn

from agents.policies import PolicyError
from api import logs, policy_file, settings
from api.container import Decorate, open_services
from api.settings import Settings, WrongSettings
from api.terminal import Refused
from api.web.app import create_app
from tools.errors import PortError

log = structlog.get_logger()

_DRAIN_S = 10
"""What is being answered when the process is told to end gets so long."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Else an open stream would hold the process for the whole drain.
        self._stopping.set()
        super().handle_exit(sig, frame)


def run(decorate: Decorate = lambda adapters: adapters) -> int:
    """The exit code: 1 when it could not start, 2 when a setting is wrong, which is said with its name."""
    logs.to_stderr()
    try:
        found = settings.read()
        policies = policy_file.load(found.policies)
        if found.channels and policies.notify_channel not in found.channels:
            reason = f"has no channel {policies.notify_channel!r}, which the policies' notify_channel names"
            raise WrongSettings((("OPPEN_CHANNELS", reason),))
        asyncio.run(_welcome(found))
    except WrongSettings as error:
        for variable, what in error.faults:
            log.error("settings.invalid", setting=variable, reason=what)
        return 2
    except PolicyError as error:
        log.error("policies.invalid", setting="OPPEN_POLICIES", reason=str(error))
        return 2
    except (PortError, Refused) as error:
        log.error("database.unavailable", setting="OPPEN_DATABASE_URL", reason=str(error))
        return 1
    for name in settings.unknown():
        log.warning("settings.unknown", setting=name)
    app = create_app(lambda: open_services(found, decorate), (found.max_body_bytes, found.intake_in_flight))
    config = uvicorn.Config(
        app,
        host=found.host,
        port=found.port,
        log_config=None,
        access_log=False,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=_DRAIN_S,
        server_header=False,
    )
    server = _Server(config, app.state.local.stopping)
    try:
        with _alone(found):
            server.run()
    except HomeInUse as error:
        log.error("home.in_use", setting="OPPEN_HOME", reason=str(error))
        return 1
    return 0 if server.started else 1


def _keep(path: Path, secret: str) -> None:
    """For its owner's eyes alone, from its first moment on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secret)


class HomeInUse(Exception):
    """Another service is at work there."""


@contextlib.contextmanager
def _alone(found: Settings) -> Iterator[None]:
    """On SQLite a home has one service. The kernel lets go of the lock when the process dies, however it dies."""
    if not found.on_sqlite:
        yield
        return
    with (found.home / "service.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise HomeInUse(f"another service is at work in {found.home}; several need PostgreSQL") from error
        yield


async def _welcome(found: Settings) -> None:
    """On an empty database nobody could do anything: the first start makes an admin key, and shows it this once.

    A terminal shows it to whoever sits there; anything else may keep what it is told, so there the key goes to a file.
    """
    from api.keyring import create, listing

    if await listing(found):
        return
    try:
        made = await create(found, "admin", "admin")
    except Refused:
        if await listing(found):
            return  # another replica was quicker
        raise
    if sys.stderr.isatty():
        sys.stderr.write(f"\nThe first API key, role admin, shown this once:\n\n  {made['key']}\n\n")
        sys.stderr.flush()
        return
    path = found.home / "first-admin-key"
    _keep(path, f"{made['key']}\n")
    log.info("key.created", role="admin", file=str(path.absolute()), advice="keep it elsewhere and delete the file")
