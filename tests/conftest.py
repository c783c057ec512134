"""Fixtures that tests of several parts share, and which tests run in one process because they share what is dear."""

import pytest
from hypothesis import settings

from tests.databases import (
    database,
    database_url,
    postgres_database_url,
    postgres_migrated,
    second,
    sqlite_database_url,
    sqlite_template,
)
from tests.mlflow import mlflow_process, mlflow_server, mlflow_template, mlflow_uri
from tests.postgres import postgres_server, postgres_url
from tests.torchserve import real_torchserve, torchserve, twin_torchserve

__all__ = [
    "database",
    "database_url",
    "mlflow_process",
    "mlflow_server",
    "mlflow_template",
    "mlflow_uri",
    "postgres_database_url",
    "postgres_migrated",
    "postgres_server",
    "postgres_url",
    "real_torchserve",
    "second",
    "sqlite_database_url",
    "sqlite_template",
    "torchserve",
    "twin_torchserve",
]

# How long an example takes says how busy the machine is, and nothing about the law that it is an example of.
settings.register_profile("oppen", deadline=None)
settings.load_profile("oppen")

DEAR = {
    # Seconds of a processor to make. Tests that share one run in one process, or each process would make it; where a fixture
    # is asked for by its name only in the test, the module is marked.
    "trained": "trained",
    "drilled": "drilled",
    "evidently": "evidently",
    "mlflow_process": "mlflow",
    "model_root": "models",
}
"""Fixture -> group of `--dist loadgroup`; the first that a test asks for, directly or not, counts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        asked = getattr(item, "fixturenames", ())
        group = next((name for fixture, name in DEAR.items() if fixture in asked), None)
        if group is not None and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group))
