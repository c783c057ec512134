"""Fixtures that tests of several parts share."""

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
