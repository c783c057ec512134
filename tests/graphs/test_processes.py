"""Whole replicas as processes: killed while they act, stopped while they investigate, and what the next one makes of it."""

import json
import signal
from asyncio.subprocess import Process
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from api.store.actions import of_incident
from api.store.database import Database
from tests.graphs.replica_process import found, keep
from tests.graphs.runs import Case, opened
from tests.processes import child

pytestmark = pytest.mark.slow

LIMIT_S = 60.0


@pytest.fixture
def database_url(threads_url: str, tmp_path: Path) -> str:
    """PostgreSQL: the same database for everything, as in an installation."""
    return f"sqlite:///{tmp_path}/oppen.db" if threads_url.startswith("sqlite") else threads_url


@pytest.fixture
async def case(database: Database, database_url: str, threads_url: str, tmp_path: Path) -> Case:
    await database.migrate()
    case = await opened(database)
    urls = {"database": database_url, "threads": threads_url, "engine": threads_url.replace("checkpoints.db", "engine.db")}
    (tmp_path / "urls.json").write_text(json.dumps(urls))
    keep(case.platform, tmp_path)
    return case


def replica(folder: Path, name: str, how: str) -> AbstractAsyncContextManager[Process]:
    return child("tests.graphs.replica_process", str(folder), name, how, limit_s=LIMIT_S)


async def settle(folder: Path, name: str) -> str:
    """Let a replica move everything there is to be moved; what it logs."""
    async with replica(folder, name, "settled") as process:
        out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"stopped\n"), err.decode()
        return err.decode()


async def die(folder: Path, name: str, how: str) -> None:
    async with replica(folder, name, how) as process:
        _, err = await process.communicate()
        assert process.returncode == -signal.SIGKILL, err.decode()


@pytest.mark.postgres
@pytest.mark.parametrize("threads_url", ["postgresql"], indirect=True)
async def test_a_run_whose_movers_die_while_they_act_and_never_come_back_is_carried_out_once(
    case: Case, tmp_path: Path
) -> None:
    await settle(tmp_path, "one")
    await case.decide()
    await die(tmp_path, "one", "after the route")
    assert (await case.run()).status == "running"
    await die(tmp_path, "two", "after the alias")
    assert (await case.run()).status == "running"
    await settle(tmp_path, "three")
    run, world = await case.run(), found(tmp_path, case.database)
    assert (run.status, run.error) == ("waiting", None)
    assert (await world.weights(), await world.champion()) == ({"1": 100}, "1")
    assert (await world.serving.route("flights")).generation == 3
    assert [each.key for each in await world.registry.history("flights") if each.actor == "alice"] == [f"{run.id}/1/alias"]
    async with case.database.read() as session:
        assert [action.state for action in await of_incident(session, case.incident_id)] == ["done"]
    told = await case.told()
    once = ("run.started", "approval.requested", "approval.decided", "action.intended", "action.done", "verification.begun")
    assert {name: told[name] for name in once} == dict.fromkeys(once, 1)


async def test_an_investigation_that_a_shutdown_breaks_off_ends_cleanly_and_is_taken_up_by_the_next_start(
    case: Case, tmp_path: Path
) -> None:
    async with replica(tmp_path, "one", "gathering") as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"gathering\n"
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
    assert (process.returncode, out) == (0, b"stopped\n")
    assert "run.failed" not in err.decode()
    assert "run.stuck" not in err.decode()
    assert "Traceback" not in err.decode()
    assert (await case.run()).status == "running"
    await settle(tmp_path, "one")
    run = await case.run()
    assert (run.status, run.event, run.error) == ("waiting", "start", None)
    assert [each.status for each in await case.asked()] == ["pending"]
    assert (await case.told())["run.started"] == 1
