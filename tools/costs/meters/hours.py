"""Usage is metered by full hours of UTC, each with a key of its own: what comes late corrects its hour, and no other."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tools.values import Window

HOUR = timedelta(hours=1)
_LONGEST_KEY = 300
"""Of the ledger's."""


def hour_of(moment: datetime) -> datetime:
    """When it began."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def by_hours(window: Window) -> Iterator[Window]:
    """Its pieces, in order."""
    start = window.start
    while start < window.end:
        end = min(hour_of(start) + HOUR, window.end)
        yield Window(start=start, end=end)
        start = end


def key_of(*parts: str, hour: datetime) -> str:
    """The same for the same usage of the same hour. Names come from outside and may be long: then it is their digest."""
    stamp = hour_of(hour).strftime("%Y-%m-%dT%H")
    # A part that holds a slash must not be taken for two.
    said = "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)
    if len(said) + len(stamp) + 1 > _LONGEST_KEY:
        said = f"{parts[0]}/{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return f"{said}/{stamp}"
