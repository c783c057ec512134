"""What has to be said about a source besides its URL."""

from dataclasses import dataclass, field
from datetime import timedelta

Lookback = timedelta | int
"""Of a watermark: of a time, or of a number."""


@dataclass(frozen=True)
class SqlReading:
    table: str = ""
    """`name` or `schema.name`; or:"""
    query: str = ""
    """A SELECT."""
    watermark: str = ""
    """A column that rises with every row or change."""
    lookback: Lookback = 0
    """So far below the highest watermark read, rows that came late are looked for."""
    lag: timedelta = timedelta(0)
    """Rows younger than that are left for a later reading: their transactions may not all be committed."""


@dataclass(frozen=True)
class HttpReading:
    items: str = ""
    """Dotted path to the list in the body; empty: the body is the list."""
    paging: str = ""
    headers: tuple[str, ...] = ()
    """`Name: value`; references to secrets are resolved."""
    silence: timedelta = timedelta(seconds=30)
    """How long the server may say nothing."""


@dataclass(frozen=True)
class S3Reading:
    endpoint: str = ""
    """URL of a server other than Amazon's."""
    region: str = ""
    anonymous: bool = False
    """Without credentials, for what is public."""


@dataclass(frozen=True)
class Reading:
    batch_rows: int = 65_536
    """At most in memory at a time."""
    key: str | None = None
    """Of the one file that there is, in place of what it is called and holds."""
    commit_rows: int | None = None
    """Of a batch of what has no files, about: what is stored as a whole."""
    sql: SqlReading = field(default_factory=SqlReading)
    http: HttpReading = field(default_factory=HttpReading)
    s3: S3Reading = field(default_factory=S3Reading)
