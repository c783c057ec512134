"""A replica as a process of its own, on a world that outlives it: `python -m tests.graphs.replica_process FOLDER NAME HOW`.

`FOLDER` holds `urls.json` (database, threads, engine) and `world`. The replica takes up what it finds and sweeps as the service
does, but takes a run for left after a moment. `HOW` it ends: `after the route` or `after the alias` it kills itself;
`gathering`: its investigation lasts for ever, and it stops in order at SIGTERM; `settled`: it stops in order once no run is to
be moved.
"""

import asyncio
import json
import os
import pickle
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from api import logs
from api.store.actions import ActionLedger
from api.store.database import Database
from api.store.records import RunRecord
from api.work.approvals import Approvals
from api.work.checkpoints import open_checkpoints
from api.work.chores import Chore
from api.work.dispatching import Sweep
from api.work.engine import Engine
from api.work.progress import Progress
from api.work.runner import Runner
from graphs.supervisor import build
from tests.graphs.interference import Disturbances
from tests.graphs.platform import FAST_RETRY, Platform
from tests.twins.predictions import TwinPredictions
from tools.predictions.port import Period
from tools.values import Window

PATIENCE = timedelta(milliseconds=300)
EVERY = timedelta(milliseconds=20)
_CHANGES = 10
"""More of each kind than a run makes."""


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def keep(platform: Platform, folder: Path) -> None:
    """The world as it is now, on the disk, without what is to disturb it."""
    disturbing = platform.registry.disturb, platform.serving.disturb
    platform.registry.disturb, platform.serving.disturb = Disturbances(), Disturbances()
    world = pickle.dumps((platform.clock, platform.predictions, platform.registry, platform.serving))
    platform.registry.disturb, platform.serving.disturb = disturbing
    (folder / "new").write_bytes(world)
    (folder / "new").replace(folder / "world")


def found(folder: Path, database: Database) -> Platform:
    """A second later than it was left."""
    clock, predictions, registry, serving = pickle.loads((folder / "world").read_bytes())
    platform = Platform(clock=clock, predictions=predictions, ledger_on=lambda clock: ActionLedger(database, clock))
    platform.registry, platform.serving = registry, serving
    clock.pass_(timedelta(seconds=1))
    return platform


class EndlessPredictions(TwinPredictions):
    async def periods(self, model: str, windows: Sequence[Window], *, steps: int) -> tuple[Period, ...]:
        say("gathering")
        await asyncio.Event().wait()
        raise AssertionError


def _arm(platform: Platform, folder: Path, how: str) -> None:
    async def kept_then(last: bool) -> None:
        keep(platform, folder)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)

    for _ in range(_CHANGES):
        platform.serving.disturb.after("set_weights", lambda: kept_then(how == "after the route"))
        platform.registry.disturb.after("set_alias", lambda: kept_then(how == "after the alias"))


async def _settled(database: Database) -> bool:
    moving = select(func.count()).select_from(RunRecord).where(RunRecord.status.in_(("queued", "running")))
    async with database.read() as session:
        return await session.scalar(moving) == 0


async def main(folder: Path, name: str, how: str) -> None:
    urls = json.loads((folder / "urls.json").read_text())
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    async with AsyncExitStack() as stack:
        database = Database(urls["database"])
        stack.push_async_callback(database.close)
        platform = found(folder, database)
        keep(platform, folder)
        _arm(platform, folder, how)
        if how == "gathering":
            platform.predictions = EndlessPredictions()
        approvals = Approvals(database, lambda: platform.policies, platform.clock)
        graph = build(await stack.enter_async_context(open_checkpoints(urls["threads"])), retry=FAST_RETRY)
        progress = Progress(database, approvals, platform.clock)
        runner = Runner(graph, progress, platform.context_with, platform.clock)
        engine = Engine(urls["engine"], runner.advance, executor=name)
        await engine.start()
        stack.push_async_callback(engine.stop)
        sweep = Sweep(database, engine, approvals, platform.clock, patience=PATIENCE)
        chores = [asyncio.create_task(Chore(part, work, EVERY).forever()) for part, work in sweep.parts.items()]
        while not stopping.is_set() and not (how == "settled" and await _settled(database)):
            await asyncio.sleep(EVERY.total_seconds())
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
    say("stopped")


if __name__ == "__main__":
    logs.to_stderr()
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
