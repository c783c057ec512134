"""Fixtures that tests of several parts share."""

from tests.databases import (
    database,
    database_url,
    postgres_database_url,
    postgres_template,
    second,
    sqlite_database_url,
    sqlite_template,
)
from tests.postgres import postgres_server, postgres_url

__all__ = [
    "database",
    "database_url",
    "postgres_database_url",
    "postgres_server",
    "postgres_template",
    "postgres_url",
    "second",
    "sqlite_database_url",
    "sqlite_template",
]
