"""Lineage by its destination: a file, or the address of an endpoint."""

from pathlib import Path

from tools.errors import PermanentError
from tools.lineage.file import FileLineage
from tools.lineage.http import HttpLineage
from tools.lineage.secrets import stripped

SPOOL = "lineage-spool.jsonl"


def is_address(destination: str) -> bool:
    return destination.startswith(("http://", "https://"))


def open_lineage(destination: str, *, home: Path, key: str = "") -> FileLineage | HttpLineage:
    """`home`: the folder in which what an endpoint did not take waits. Raises PermanentError for what is neither."""
    if is_address(destination):
        return HttpLineage(destination, key, home / SPOOL)
    scheme, found, path = destination.partition("://")
    if found and scheme != "file":
        raise PermanentError(f"{stripped(destination)!r} is no place for lineage: name a file, or http(s)://...")
    return FileLineage(Path(path if found else destination).expanduser())
