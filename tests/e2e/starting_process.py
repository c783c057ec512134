"""The first steps of a service, as a process of its own: `python -m tests.e2e.starting_process WHERE`, settings as for `oppen`.

`WHERE`: the instant at which the process kills itself, just before the step of that name; `never`: it says `ready` and stays.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from api import first_key, home, logs, settings
from api.store.database import Database
from tools.clock import clock_from


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(where: str) -> None:
    def watch_files(what: str, arguments: tuple[Any, ...]) -> None:
        if what == "open" and str(arguments[0]).endswith("first-admin-key.new") and where == "write":
            _die()
        if what == "os.rename" and str(arguments[1]).endswith("first-admin-key") and where == "rename":
            _die()

    sys.addaudithook(watch_files)

    @event.listens_for(Engine, "commit")
    def _before_commit(_connection: Connection) -> None:
        if where == "commit":
            _die()


async def main(where: str) -> None:
    found = settings.read()
    async with home.service(found):
        database = Database(found.database)
        await database.migrate()
        _arm(where)
        await first_key.ensure(database, found.first_key, clock_from(found.clock))
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        if where == "end":
            _die()
        await asyncio.Event().wait()


if __name__ == "__main__":
    logs.to_stderr()
    asyncio.run(main(sys.argv[1]))
