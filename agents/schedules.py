"""Cron expressions, in UTC."""

from datetime import UTC, datetime

from croniter import croniter

_FIELDS = 5


def known(expression: str) -> bool:
    return len(expression.split()) == _FIELDS and bool(croniter.is_valid(expression))


def latest(expression: str, now: datetime) -> datetime:
    """The last moment of the schedule that is not after `now`."""
    at = now.astimezone(UTC).replace(second=0, microsecond=0)
    if croniter.match(expression, at):
        return at
    found: datetime = croniter(expression, at).get_prev(datetime)
    return found
