"""A source by its URL."""

from pathlib import Path
from typing import TYPE_CHECKING

from tools.clock import Clock, SystemClock
from tools.errors import Misused, PermanentError
from tools.sources.port import Source
from tools.sources.reading import Reading

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["KINDS", "Reading", "open_source"]

KINDS = (
    "a file, a folder or a glob of .parquet, .csv, .jsonl or .ndjson; s3://BUCKET/PREFIX of such; a database by its SQLAlchemy "
    "URL (sqlite:///FILE, postgresql://...); http:// or https://; simulated://NAME"
)
_COMMIT_ROWS = 1_000_000
_COMMIT_ITEMS = 10_000
"""An API is asked again for what was not committed."""


def open_source(url: str, reading: Reading, clock: Clock | None = None, *, without: Path | None = None) -> Source:
    """`without`: the folder of the lake that it goes to, whose files are none of the source's.

    Raises PermanentError for what is no source."""
    scheme, found, path = url.partition("://")
    scheme = scheme.lower() if found else "file"
    now = clock or SystemClock()
    commit_rows = reading.commit_rows or (_COMMIT_ITEMS if scheme in ("http", "https") else _COMMIT_ROWS)
    match scheme:
        case "file":
            _only(reading, scheme, "key")
            return _local(path if found else url, reading, without)
        case "s3":
            _only(reading, scheme, "key", "s3")
            return _objects(url, reading)
        case "http" | "https":
            _only(reading, scheme, "http", "commit_rows")
            from tools.sources.apis import Api

            return Api(url, reading.http, batch_rows=reading.batch_rows, commit_rows=commit_rows)
        case "simulated":
            _only(reading, scheme, "commit_rows")
            from tools.sources.simulated import Simulation

            return Simulation(url, now, batch_rows=reading.batch_rows, commit_rows=commit_rows)
        case _:
            _only(reading, scheme, "sql", "commit_rows")
            from tools.sources.databases import Database

            return Database(_database(url), reading.sql, now, batch_rows=reading.batch_rows, commit_rows=commit_rows)


def _database(url: str) -> "sa.URL":
    """Raises PermanentError, without what is in it, for what is no URL of a database."""
    import sqlalchemy as sa
    from sqlalchemy import exc

    scheme = url.partition("://")[0]
    try:
        parsed = sa.make_url(url)
        parsed.get_dialect()
    except exc.NoSuchModuleError:
        raise Misused(f"{scheme}:// is no source; these are: {KINDS}") from None
    except ModuleNotFoundError as error:
        raise PermanentError(f"{scheme}://: the driver {error.name!r} is not installed") from None
    except (exc.ArgumentError, ValueError):
        raise Misused(f"{scheme}:// and so on is no URL of a database: in an account, @ is written %40") from None
    return parsed


def _local(path: str, reading: Reading, without: Path | None) -> Source:
    import pyarrow.fs

    from tools.sources.files import Files

    place = str(Path(path).expanduser().absolute())
    return Files(pyarrow.fs.LocalFileSystem(), place, path, reading.batch_rows, reading.key, without=without)


def _objects(url: str, reading: Reading) -> Source:
    from tools.sources.files import Files
    from tools.sources.objects import filesystem, place

    path = place(url)
    return Files(filesystem(reading.s3), path, f"s3://{path}", reading.batch_rows, reading.key, scheme="s3://")


_SAID = {
    "key": "a key",
    "commit_rows": "a number of rows to commit",
    "sql": "what is said of a database (--from, --query, ...)",
}
_SAID |= {
    "http": "what is said of an API (--items, --paging, --header, ...)",
    "s3": "what is said of object storage (--endpoint, ...)",
}


def _only(reading: Reading, scheme: str, *meant: str) -> None:
    """What was said and has no meaning here would be missed later."""
    for name, said in _SAID.items():
        if name not in meant and getattr(reading, name) != getattr(Reading(), name):
            raise Misused(f"{said} does not go with a source of {scheme}://")
