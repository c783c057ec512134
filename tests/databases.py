"""Migrated databases of both kinds. Migrating takes a third of a second, so it is done once for all tests."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from api.store.database import Database
from api.store.migrations.target import METADATA
from tests.postgres import PostgresServer

TABLES = [name for metadata in METADATA for name in metadata.tables]

BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


async def _migrate(url: str) -> None:
    database = Database(url)
    await database.migrate()
    await database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "oppen.db"
    asyncio.run(_migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def postgres_migrated(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create()
    asyncio.run(_migrate(url))
    yield url
    postgres_server.drop(url)


@pytest.fixture
def sqlite_database_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "oppen.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def postgres_database_url(postgres_migrated: str) -> Iterator[str]:
    """Emptied after each test instead of created for each: that is 20 ms instead of 400."""
    yield postgres_migrated
    with psycopg.connect(postgres_migrated, autocommit=True) as connection:
        # As a replica applies changes: without triggers, which guard the audit log, and without foreign keys.
        connection.execute("SET session_replication_role = replica")
        for table in TABLES:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database of its own, once on each backend."""
    name = "sqlite_database_url" if request.param == "sqlite" else "postgres_database_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[Database]:
    """The same database as another process would open it: another replica, or a command."""
    opened = Database(database_url)
    yield opened
    await opened.close()
