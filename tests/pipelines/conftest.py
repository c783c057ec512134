import pytest

from pipelines.flights import Flights, load
from tests.contract.lakes import name
from tests.contract.predictions import clickhouse_url

__all__ = ["clickhouse_url", "name"]


@pytest.fixture(scope="session")
def year() -> Flights:
    return load()
