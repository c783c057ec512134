"""A source by its URL, and what else has to be said about it."""

from dataclasses import dataclass
from pathlib import Path

from tools.errors import PermanentError
from tools.sources.port import Source


@dataclass(frozen=True)
class Reading:
    batch_rows: int = 65_536
    """At most in memory at a time."""
    key: str | None = None
    """Of the one file that there is, in place of what it is called and holds."""


def open_source(url: str, reading: Reading) -> Source:
    """Raises PermanentError for what is no source."""
    scheme, found, path = url.partition("://")
    if found and scheme != "file":
        raise PermanentError(f"{scheme}:// is no source: name a file, folder or glob of .parquet, .csv, .jsonl or .ndjson")
    return _local(path if found else url, reading)


def _local(path: str, reading: Reading) -> Source:
    import pyarrow.fs

    from tools.sources.files import Files

    return Files(pyarrow.fs.LocalFileSystem(), str(Path(path).expanduser().absolute()), path, reading.batch_rows, reading.key)
