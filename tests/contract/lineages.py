"""The backends of lineage: a file, and our own service over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.store.database import Database
from api.web.auth import Role
from tests.e2e.running import give_key, listening, services_on
from tests.twins.clock import SteppedClock
from tools.lineage.file import FileLineage
from tools.lineage.http import HttpLineage
from tools.lineage.port import Lineage


@pytest.fixture(params=["file", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def lineage_database(request: pytest.FixtureRequest) -> str | None:
    """Of the service; None: a file without one."""
    if request.param == "file":
        return None
    url: str = request.getfixturevalue(f"{request.param}_database_url")
    return url


@pytest.fixture
async def lineage(lineage_database: str | None, tmp_path: Path) -> AsyncIterator[Lineage]:
    if lineage_database is None:
        yield FileLineage(tmp_path / "lineage.jsonl")
        return
    database = Database(lineage_database)
    services = services_on(database, SteppedClock())
    async with listening(services) as (url, _):
        key = await give_key(services, "a-job", Role.OPERATOR)
        endpoint = HttpLineage(url, key, tmp_path / "spool.jsonl")
        yield endpoint
        endpoint.close()
    await database.close()
