"""`python -m gateway`: serve until SIGTERM, then drain and exit with 0. Logs go to stderr as JSON."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

import structlog
import uvloop
from pydantic import ValidationError
from pydantic_settings import SettingsError

from gateway import settings
from gateway.assembly import HomeInUse, assembled
from gateway.server import DrainingServer
from tools.registry.mlflow import open_reader
from tools.registry.port import RegistryReader

OpenRegistry = Callable[[str], AbstractAsyncContextManager[RegistryReader]]
"""From a tracking URI."""


def main(arguments: Sequence[str], open_registry: OpenRegistry) -> int:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    log = structlog.get_logger()
    try:
        chosen = settings.read(arguments)
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            log.error("settings.invalid", field=".".join(map(str, problem["loc"])), reason=problem["msg"])
        return 2
    except SettingsError as error:
        log.error("settings.invalid", reason=f"{error}: it is written as JSON")
        return 2
    try:
        uvloop.run(_serve(chosen, open_registry))
    except HomeInUse as error:
        log.error("gateway.not_started", reason=str(error))
        return 1
    return 0


async def _serve(chosen: settings.Settings, open_registry: OpenRegistry) -> None:
    async with open_registry(chosen.tracking_uri) as registry, assembled(chosen, registry) as app:
        await DrainingServer(app, chosen.host, chosen.port, chosen.drain_s).serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], open_reader))
