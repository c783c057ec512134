"""A process that moves an alias and is killed on the way: SIGKILL, at the instant that its arguments say.

The registry is a file, so that what was written before the end is there afterwards, with every write on record.
"""

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tests.twins.clock import SteppedClock
from tools.errors import Conflict
from tools.offload import ChildProcess
from tools.registry.history import Entry, SqlHistory
from tools.registry.mlflow import MlflowAliases
from tools.registry.moves import Moves
from tools.registry.port import Alias, AliasChange
from tools.registry.tracking import Tracking

MODEL = "flights"
BOUNDARIES = ("before intend", "after intend", "before put", "after put", "before done", "after done")


class FileAliases:
    """`champion` is on the version that the last line of the file names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def writes(self) -> list[str]:
        return self._path.read_text().splitlines() if self._path.exists() else []

    async def carried(self, model: str) -> Mapping[Alias, str]:
        return {Alias.CHAMPION: self.writes()[-1]} if model == MODEL and self.writes() else {}

    async def put(self, model: str, alias: Alias, version: str, *, expected: str | None) -> str | None:
        current = (await self.carried(model)).get(alias)
        if current != expected:
            raise Conflict(f"it is on {current}")
        with self._path.open("a") as file:
            file.write(f"{version}\n")
        return version


class DyingAliases(FileAliases):
    def __init__(self, path: Path, end: str) -> None:
        super().__init__(path)
        self._end = end

    async def put(self, model: str, alias: Alias, version: str, *, expected: str | None) -> str | None:
        die_at("before put", self._end)
        found = await super().put(model, alias, version, expected=expected)
        die_at("after put", self._end)
        return found


class DyingHistory(SqlHistory):
    def __init__(self, url: str, end: str) -> None:
        super().__init__(url)
        self._end = end

    async def add(self, entry: Entry) -> None:
        die_at("before intend", self._end)
        await super().add(entry)
        die_at("after intend", self._end)

    async def settle(self, key: str, state: Literal["done", "void"]) -> None:
        die_at("before done", self._end)
        await super().settle(key, state)
        die_at("after done", self._end)


def die_at(boundary: str, end: str) -> None:
    if boundary == end:
        os.kill(os.getpid(), signal.SIGKILL)


async def move(moves: Moves, version: str, *, expected: str | None, key: str) -> AliasChange:
    return await moves.move(MODEL, Alias.CHAMPION, version, expected=expected, key=key, actor="ann", reason="it is better")


def move_and_die(url: str, registry: Path, end: str) -> None:
    async def run() -> None:
        moves = Moves(DyingAliases(registry, end), DyingHistory(url, end), SteppedClock())
        await move(moves, "1", expected=None, key="k")

    asyncio.run(run())


def move_on_mlflow_and_die(uri: str, url: str, model: str, end: str) -> None:
    async def run() -> None:
        aliases = MlflowAliases(ChildProcess("registry", Tracking, uri))
        moves = Moves(aliases, DyingHistory(url, end), SteppedClock())
        await moves.move(model, Alias.CHAMPION, "1", expected=None, key=model, actor="ann", reason="it is better")

    asyncio.run(run())
