"""Somebody at a prompt: the command line against a platform of the test's own."""

import asyncio
import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from api.cli import app
from tests.e2e.running import Platform

LIMIT_S = 30.0


class Terminal:
    """Somebody with a key at a prompt."""

    def __init__(self, platform: Platform, role: str) -> None:
        key = platform.people[role].headers["Authorization"].removeprefix("Bearer ")
        self._environment = {"OPPEN_URL": platform.url, "OPPEN_KEY": key, "COLUMNS": "80"}

    async def run(self, *words: str) -> Result:
        """In a thread: the service answers in this one."""
        return await asyncio.wait_for(asyncio.to_thread(CliRunner().invoke, app, words, env=self._environment), LIMIT_S)

    async def json(self, *words: str) -> Any:
        done = await self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        # The service of the test logs to the same stdout.
        return json.loads(done.stdout.splitlines()[-1])
