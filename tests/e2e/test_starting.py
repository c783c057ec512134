"""A start: one service to a home on SQLite, and one first key that works and can be read, whenever it was killed before."""

import asyncio
import signal
from asyncio.subprocess import Process
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api import first_key, home, keyring
from api.home import HomeInUse, HomeUnusable
from api.settings import Settings
from api.store import keys
from api.store.database import Database
from api.web.auth import Role, key_id_of, new_key, opens
from tests.processes import child
from tests.twins.clock import SteppedClock
from tools.clock import clock_from

LIMIT_S = 30.0
AT_ONCE = timedelta(0)


@pytest.fixture
def found(database_url: str, tmp_path: Path) -> Settings:
    """A home whose database is migrated and empty."""
    return Settings(home=tmp_path, database_url=database_url)


def starting(found: Settings, where: str) -> AbstractAsyncContextManager[Process]:
    environment = {"OPPEN_HOME": str(found.home), "OPPEN_DATABASE_URL": found.database_url}
    return child("tests.e2e.starting_process", where, limit_s=LIMIT_S, environment=environment)


async def ready(process: Process) -> None:
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"


async def _first_key(found: Settings, database: Database) -> str:
    """The one there is; it works, and its owner alone can read it."""
    async with database.read() as session:
        (record,) = await keys.all_keys(session)
    assert (record.name, record.role) == ("admin", "admin")
    assert found.first_key.stat().st_mode & 0o777 == 0o600
    key = found.first_key.read_text().strip()
    assert opens(key, record, clock_from("system").now())
    return key


class TestOnBoth:
    """Databases: SQLite and PostgreSQL."""

    @pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
    def database_url(self, request: pytest.FixtureRequest) -> str:
        name = "sqlite_database_url" if request.param == "sqlite" else "postgres_database_url"
        url: str = request.getfixturevalue(name)
        return url

    @pytest.mark.parametrize("where", ["write", "rename", "commit", "end"])
    async def test_a_start_that_is_killed_leaves_one_key_to_the_next(
        self, found: Settings, database: Database, where: str
    ) -> None:
        async with starting(found, where) as killed:
            assert await killed.wait() == -signal.SIGKILL
        async with starting(found, "never") as process:
            await ready(process)
        first = await _first_key(found, database)
        async with starting(found, "never") as process:
            await ready(process)
        assert await _first_key(found, database) == first
        assert [path.name for path in found.home.iterdir() if "key" in path.name] == ["first-admin-key"]

    async def test_a_file_that_opens_nothing_is_taken_away_once_there_are_keys(
        self, found: Settings, database: Database
    ) -> None:
        async with starting(found, "commit") as killed:
            await killed.wait()
        left = found.first_key.read_text()
        record, _ = new_key("alice", Role.ADMIN, SteppedClock().now())
        async with database.begin() as transaction:
            await keys.add(transaction, record)
        with capture_logs() as logs:
            await first_key.ensure(database, found.first_key, SteppedClock())
        assert [each["event"] for each in logs] == ["key.stale"]
        assert key_id_of(left.strip())
        assert not found.first_key.exists()


@pytest.mark.postgres
async def test_replicas_that_start_at_once_in_one_home_make_one_key(postgres_database_url: str, tmp_path: Path) -> None:
    found = Settings(home=tmp_path, database_url=postgres_database_url)
    replicas = [Database(postgres_database_url) for _ in range(3)]
    with capture_logs():
        await asyncio.gather(*(first_key.ensure(each, found.first_key, clock_from("system")) for each in replicas))
    await _first_key(found, replicas[0])
    for each in replicas:
        await each.close()


async def test_a_home_has_one_service_until_that_is_dead(found: Settings) -> None:
    async with starting(found, "never") as first:
        await ready(first)
        with pytest.raises(HomeInUse, match="another service is at work"):
            async with home.service(found, patience=AT_ONCE):
                pytest.fail("two of them")
        first.kill()
        await first.wait()
        async with home.service(found, patience=AT_ONCE):
            pass


async def test_two_homes_on_one_database_have_one_service(found: Settings, tmp_path: Path) -> None:
    other = Settings(home=tmp_path / "other", database_url=found.database_url)
    async with home.service(found):
        with pytest.raises(HomeInUse):
            async with home.service(other, patience=AT_ONCE):
                pytest.fail("two of them")


async def test_a_service_waits_for_a_command_that_is_at_the_schema(tmp_path: Path) -> None:
    found = Settings(home=tmp_path / "new", database_url=f"sqlite:///{tmp_path}/new/oppen.db")
    command = asyncio.create_task(keyring.create(found, "alice", "viewer"))
    async with home.service(found):
        database = Database(found.database)
        await database.migrate()
        await command
        async with database.read() as session:
            assert [key.name for key in await keys.all_keys(session)] == ["alice"]
        await database.close()


async def test_beside_a_service_a_command_makes_keys_and_leaves_the_schema(found: Settings, tmp_path: Path) -> None:
    async with starting(found, "never") as process:
        await ready(process)
        await keyring.create(found, "alice", "viewer")
        assert [key["name"] for key in await keyring.listing(found)] == ["admin", "alice"]
        async with home.opened(found) as (_, changed):
            assert not changed
    old = Settings(home=tmp_path / "old", database_url=f"sqlite:///{tmp_path}/old/oppen.db")
    async with home.service(old):
        with pytest.raises(HomeInUse, match="stop it first"):
            async with home.opened(old, patience=AT_ONCE):
                pytest.fail("a schema was changed under a service")
    async with home.opened(old) as (_, changed):
        assert changed


async def test_a_home_that_cannot_be_made_is_said_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HomeUnusable, match="set OPPEN_HOME"):
        async with home.service(Settings(home=tmp_path / "file" / "home")):
            pytest.fail("there is no such folder")
