"""A throw-away PostgreSQL for the tests: one server for the session, a fresh database for whoever asks.

`OPPEN_TEST_POSTGRES` names a server to use instead (its user must be allowed to create databases). Without either, the tests
that need one are skipped and say so.
"""

from collections.abc import Iterator

import pytest

from simulations.postgres import PostgresServer, throwaway


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Skips the test when there is no PostgreSQL to be had."""
    with throwaway() as server:
        if server is None:
            pytest.skip("no PostgreSQL: install Debian's `postgresql`, or set OPPEN_TEST_POSTGRES to a server's URL")
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh, empty database."""
    url = postgres_server.create()
    yield url
    postgres_server.drop(url)
