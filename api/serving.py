"""`oppen serve`: one process, one worker (the embedded engines are opened by one process at a time), until SIGTERM."""

import asyncio
import sys
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
        policy_file.load(found.policies)
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
    server.run()
    return 0 if server.started else 1


async def _welcome(found: Settings) -> None:
    """On an empty database nobody could do anything: the first start makes an admin key, and shows it this once."""
    from api.keyring import create, listing

    if not await listing(found):
        made = await create(found, "admin", "admin")
        sys.stderr.write(f"\nThe first API key, role admin, shown this once:\n\n  {made['key']}\n\n")
        sys.stderr.flush()
