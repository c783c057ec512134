from collections.abc import AsyncIterator

import pytest

from api.store.database import Database
from tests.e2e.running import Platform, running
from tests.twins.clock import SteppedClock


@pytest.fixture
def database_url(sqlite_database_url: str) -> str:
    """What the two databases do differently is tested in the store and at work; here it is the same for most."""
    return sqlite_database_url


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
async def platform(database: Database, clock: SteppedClock) -> AsyncIterator[Platform]:
    async with running(database, clock) as up:
        yield up
