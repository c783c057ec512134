"""The prediction store's way to ClickHouse."""

from contextlib import AbstractContextManager
from datetime import timedelta

from tools.clickhouse import connection

_NAME = "the prediction store"
_LIMIT = timedelta(seconds=30)
"""A query that takes longer is given up: an investigation goes on without it."""


class Connection(connection.Connection):
    """`url`: as for `open_store`."""

    def __init__(self, url: str) -> None:
        super().__init__(url, _NAME, _LIMIT)


def translated() -> AbstractContextManager[None]:
    return connection.translated(_NAME)
