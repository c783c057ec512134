"""Which bookings are under way, so that what a crash left of one never counts, and is cleared away. Runs where the engine is.

A booking is begun, its lines are written, then its usages, in one insert: that is when it counts. That it is done is said for
the sake of speed only: what is begun and not done is looked up among the usages.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from tools.costs.schema import in_utc

_ABANDONED = timedelta(minutes=15)
"""A booking takes a few statements, each of which is given up after half a minute. What is begun for so long has nobody left
who could end it."""


def begin(client: Any, booking: str, start: datetime, end: datetime) -> None:
    """`start`, `end`: within which its lines start."""
    _note(client, booking, 1, start, end)


def finish(client: Any, booking: str, start: datetime, end: datetime) -> None:
    _note(client, booking, -1, start, end)


def unfinished(client: Any) -> list[str]:
    """Bookings of which lines may be there, and which do not count."""
    begun = _begun(client)
    counted = _counted(client, begun)
    return [each for each in begun if each not in counted]


def clear(client: Any) -> None:
    """Take the lines of abandoned bookings away; nothing that was ever counted."""
    begun = _begun(client)
    counted = _counted(client, begun)
    now = datetime.now(UTC)
    for booking, (at, start, end) in begun.items():
        if booking in counted:
            finish(client, booking, start, end)
        elif now - at > _ABANDONED:
            client.command(
                """DELETE FROM cost_lines WHERE start >= {first:DateTime64(6, 'UTC')} AND start <= {last:DateTime64(6, 'UTC')}
                AND booking = {booking:String}""",
                parameters={"first": start, "last": end, "booking": booking},
            )
            finish(client, booking, start, end)


def _begun(client: Any) -> dict[str, tuple[datetime, datetime, datetime]]:
    """By booking of which the end is not said: when it was begun, from when to when its lines start."""
    query = "SELECT booking, min(at), min(start), max(end) FROM cost_bookings GROUP BY booking HAVING sum(sign) > 0"
    return {booking: (in_utc(at), in_utc(start), in_utc(end)) for booking, at, start, end in client.query(query).result_rows}


def _counted(client: Any, begun: Collection[str]) -> set[str]:
    """Those whose usages are there: the crash came between them and the word that it is done."""
    if not begun:
        return set()
    query = "SELECT DISTINCT booking FROM cost_usages WHERE booking IN {bookings:Array(String)}"
    return {booking for (booking,) in client.query(query, parameters={"bookings": list(begun)}).result_rows}


def _note(client: Any, booking: str, sign: int, start: datetime, end: datetime) -> None:
    row = (booking, sign, datetime.now(UTC), start, end)
    client.insert("cost_bookings", [row], column_names=["booking", "sign", "at", "start", "end"])
