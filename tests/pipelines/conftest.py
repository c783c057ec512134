import pytest

from pipelines.flights import Flights, load


@pytest.fixture(scope="session")
def year() -> Flights:
    return load()
