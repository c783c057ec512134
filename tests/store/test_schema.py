"""The migrations make what the models say, from an empty database, on both."""

import asyncio
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from api.store import schema
from api.store.database import Database
from api.store.migrations.target import METADATA
from tools.errors import PermanentError


def _differences(connection: Connection) -> list[object]:
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))  # type: ignore[arg-type]


def _synchronous(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


async def test_the_migrated_schema_is_what_the_models_say(database: Database, database_url: str) -> None:
    engine = create_engine(_synchronous(database_url))
    with engine.connect() as connection:
        differences = _differences(connection)
    engine.dispose()
    assert differences == []


def test_the_newest_revision_is_the_one_that_a_start_looks_for() -> None:
    script = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    assert script.get_current_head() == schema.HEAD


async def test_a_start_with_nothing_to_do_imports_no_migration_library(sqlite_database_url: str) -> None:
    program = (
        "import asyncio, sys\n"
        "from api.store.database import Database\n"
        "async def start():\n"
        f"    database = Database({sqlite_database_url!r})\n"
        "    assert await database.migrate() is False\n"
        "    await database.close()\n"
        "asyncio.run(start())\n"
        "assert 'alembic' not in sys.modules\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    assert await process.wait() == 0


@pytest.mark.postgres
async def test_replicas_that_start_at_once_migrate_once(postgres_url: str) -> None:
    replicas = [Database(postgres_url) for _ in range(3)]
    assert sorted(await asyncio.gather(*(replica.migrate() for replica in replicas))) == [False, False, True]
    for replica in replicas:
        await replica.close()


async def test_processes_that_start_at_once_on_one_file_migrate_once(tmp_path: Path) -> None:
    processes = [Database(f"sqlite:///{tmp_path}/new/oppen.db") for _ in range(3)]
    assert sorted(await asyncio.gather(*(process.migrate() for process in processes))) == [False, False, True]
    for process in processes:
        await process.close()


async def test_a_database_of_a_newer_build_is_refused(sqlite_database_url: str) -> None:
    database = Database(sqlite_database_url)
    async with database.begin() as transaction:
        await transaction.execute(text("UPDATE alembic_version SET version_num = 'future'"))
    with pytest.raises(PermanentError, match="does not know"):
        await database.migrate()
    await database.close()


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/oppen.db")
    async with database.begin() as transaction:
        await transaction.execute(text("CREATE TABLE votes (somebody_elses INTEGER)"))
    with pytest.raises(PermanentError):
        await database.migrate()
    async with database.read() as session:
        tables = list(await session.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")))
    await database.close()
    assert tables == ["votes"]
