"""`oppen serve`: one process, one worker (the embedded engines are opened by one process at a time), until SIGTERM."""

import asyncio
import logging
import sys

import structlog
import uvicorn
from pydantic import ValidationError

from agents.policies import PolicyError
from api.container import Decorate, open_services, policies_from
from api.settings import Settings
from api.web.app import create_app


def run(decorate: Decorate = lambda adapters: adapters) -> int:
    """The exit code: 2 when a setting is wrong, which is said with its name."""
    _log_to_stderr()
    log = structlog.get_logger()
    try:
        settings = Settings()
        policies_from(settings.policies)
    except ValidationError as error:
        for fault in error.errors(include_input=False):
            log.error("settings.invalid", setting="OPPEN_" + ".".join(map(str, fault["loc"])).upper(), reason=fault["msg"])
        return 2
    except (PolicyError, OSError) as error:
        log.error("policies.invalid", file=str(settings.policies), reason=str(error))
        return 2
    asyncio.run(_welcome(settings))
    app = create_app(lambda: open_services(settings, decorate), (settings.max_body_bytes, settings.intake_in_flight))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        loop="uvloop",
        http="httptools",
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    server = uvicorn.Server(config)
    server.run()
    return 0 if server.started else 1


async def _welcome(settings: Settings) -> None:
    """On an empty database nobody could do anything: the first start makes an admin key, and shows it this once."""
    from api.keyring import create, listing

    if not await listing(settings):
        made = await create(settings, "admin", "admin")
        sys.stderr.write(f"\nThe first API key, role admin, shown this once:\n\n  {made['key']}\n\n")
        sys.stderr.flush()


def _log_to_stderr() -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
