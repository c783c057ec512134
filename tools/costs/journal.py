"""Which bookings are under way, so that what a crash left of one is never counted, and is cleared away. Runs where the engine
is.

A booking is begun, its lines are written, then its usages, in one insert: that is when it counts. 'done' is said for the sake
of speed only: what is begun and not done is looked up among the usages.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

_ABANDONED = timedelta(minutes=15)
"""A booking takes a few statements, each of which is given up after half a minute. What is begun for so long has nobody left
who could end it."""


def begin(client: Any, booking: str, start: datetime, end: datetime) -> None:
    """`start`, `end`: within which its lines start."""
    _note(client, booking, "begun", start, end)


def finish(client: Any, booking: str, start: datetime, end: datetime) -> None:
    _note(client, booking, "done", start, end)


def unfinished(client: Any) -> list[str]:
    """Bookings of which lines may be there, and which do not count."""
    return [booking for booking, _, _, _ in _unfinished(client)]


def clear(client: Any) -> None:
    """Take the lines of abandoned bookings away; nothing that was ever counted."""
    now = datetime.now(UTC)
    for booking, begun, start, end in _unfinished(client):
        if now - begun > _ABANDONED:
            client.command(
                """DELETE FROM cost_lines WHERE start >= {first:DateTime64(6, 'UTC')} AND start <= {last:DateTime64(6, 'UTC')}
                AND booking = {booking:String}""",
                parameters={"first": start, "last": end, "booking": booking},
            )
            finish(client, booking, start, end)


def _unfinished(client: Any) -> list[tuple[str, datetime, datetime, datetime]]:
    """(booking, when it was begun, from when to when its lines start)"""
    query = """
    SELECT booking, any(at), any(start), any(end) FROM cost_bookings GROUP BY booking
    HAVING countIf(state = 'done') = 0
    """
    begun = [(each[0], *(_utc(moment) for moment in each[1:])) for each in client.query(query).result_rows]
    if not begun:
        return []
    # The crash came between the usages and the word 'done'.
    query = "SELECT DISTINCT booking FROM cost_usages WHERE booking IN {bookings:Array(String)}"
    found = client.query(query, parameters={"bookings": [each[0] for each in begun]}).result_rows
    counted = {booking for (booking,) in found}
    return [each for each in begun if each[0] not in counted]


def _note(client: Any, booking: str, state: str, start: datetime, end: datetime) -> None:
    row = (booking, state, datetime.now(UTC), start, end)
    client.insert("cost_bookings", [row], column_names=["booking", "state", "at", "start", "end"])


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
