"""Engine, runner and threads together as the service has them, all on SQLite or all on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from api.store.database import Database
from api.work.checkpoints import open_checkpoints
from api.work.dispatching import Dispatcher, Sweep
from api.work.engine import Engine
from api.work.progress import Progress
from api.work.runner import Runner
from graphs.supervisor import build
from tests.graphs.platform import FAST_RETRY, HOUR
from tests.graphs.runs import Case, opened

LIMIT_S = 30.0


@dataclass(frozen=True)
class Service:
    case: Case
    sweep: Sweep
    dispatcher: Dispatcher

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Sweep as the service does, until a state has come."""
        async with asyncio.timeout(LIMIT_S):
            while not await holds():
                for part in self.sweep.parts.values():
                    await part()
                await asyncio.sleep(0.01)

    async def stands(self, status: str, event: str) -> bool:
        run = await self.case.run()
        assert run.error is None
        return run.status == status and run.event.startswith(event)


@pytest.fixture
def database_url(threads_url: str, tmp_path: Path) -> str:
    """PostgreSQL: the same database for everything, as in an installation."""
    return f"sqlite:///{tmp_path}/oppen.db" if threads_url.startswith("sqlite") else threads_url


@pytest.fixture
async def service(database: Database, threads_url: str) -> AsyncIterator[Service]:
    await database.migrate()
    case = await opened(database)
    platform = case.platform
    async with AsyncExitStack() as stack:
        graph = build(await stack.enter_async_context(open_checkpoints(threads_url)), retry=FAST_RETRY)
        progress = Progress(database, case.approvals, platform.clock)
        runner = Runner(graph, progress, platform.context_with, platform.clock)
        engine = Engine(threads_url.replace("checkpoints.db", "engine.db"), runner.advance)
        await engine.start()
        stack.push_async_callback(engine.stop)
        yield Service(case, Sweep(database, engine, case.approvals, platform.clock), Dispatcher(database, engine))


async def test_a_run_goes_from_its_row_to_its_report(service: Service) -> None:
    case = service.case
    await service.until(lambda: service.stands("waiting", "start"))
    await case.decide()
    await asyncio.gather(*(service.dispatcher.dispatch(case.run_id) for _ in range(3)))
    await service.until(lambda: service.stands("waiting", "decision:"))
    case.platform.traffic("1", 3 * HOUR)
    await service.until(lambda: service.stands("completed", "wake:"))
    assert (await case.incident()).status == "resolved"
    assert case.platform.serving.calls == {f"{case.run_id}/1/route": 1}
    assert case.platform.registry.calls == {f"{case.run_id}/1/alias": 1}
    told = await case.told()
    once = ("run.started", "approval.requested", "approval.decided", "action.done", "run.completed")
    assert {name: told[name] for name in once} == dict.fromkeys(once, 1)
