"""A source by its URL, and what else has to be said about it."""

from dataclasses import dataclass, field
from pathlib import Path

from tools.errors import PermanentError
from tools.sources.port import Source


@dataclass(frozen=True)
class Paging:
    """How an API says where its items are, and what comes next. Paths are names joined by dots (`data.items`)."""

    items: str = ""
    """Path of the list of items; empty: the answer is the list, or JSON lines."""
    next: str = ""
    """Path of the next page's URL, or `link` for the header of that name."""
    cursor: str = ""
    """Path of the next page's cursor."""
    cursor_parameter: str = "cursor"
    number_parameter: str = ""
    """Pages are numbered from what the URL says, or 1, until one is empty."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every request; they are shown to nobody."""
    private_hosts: bool = False
    """Whether hosts may be asked that are not public."""


@dataclass(frozen=True)
class Reading:
    batch_rows: int = 65_536
    """At most in memory at a time; a batch of a table or a stream has about as many."""
    table: str | None = None
    """Of a database."""
    watermark: str | None = None
    """Column of a database's table that never falls from one row to a newer one."""
    key: str | None = None
    """Of everything that is read now, as one batch."""
    follow: bool = False
    """Of a stream: wait for more."""
    paging: Paging = field(default_factory=Paging)


def open_source(url: str, reading: Reading) -> Source:
    """Raises PermanentError for what is no source, or does not go together."""
    scheme, found, _ = url.partition("://")
    kind = scheme if found else ""
    if reading.watermark and (kind in ("", "file", "s3", "http", "https", "simulated") or url == "-"):
        raise PermanentError("a watermark is for a table of a database; files are told apart by what they hold, pages by place")
    match kind:
        case "" | "file" if reading.follow or url == "-":
            from tools.sources.stream import Lines

            return Lines(url.removeprefix("file://"), reading)
        case "" | "file":
            return _local(url.removeprefix("file://"), reading)
        case "s3":
            from tools.sources.objects import objects

            return objects(url, reading)
        case "http" | "https":
            from tools.sources.http import Pages

            return Pages(url, reading)
        case "simulated":
            from tools.sources.simulated import Simulated

            return Simulated(url, reading)
        case _:
            from tools.sources.sql import Database

            return Database(url, reading)


def _local(path: str, reading: Reading) -> Source:
    import pyarrow.fs

    from tools.sources.files import Files

    return Files(pyarrow.fs.LocalFileSystem(), str(Path(path).expanduser().absolute()), path, reading.batch_rows, reading.key)
