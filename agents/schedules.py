"""Cron expressions, in UTC."""

from datetime import UTC, datetime

from croniter import CroniterError, croniter

_FIELDS = 5
_ANY = datetime(2026, 1, 1, tzinfo=UTC)


def known(expression: str) -> bool:
    """Whether it says moments, and not only could: 30 February is none."""
    if len(expression.split()) != _FIELDS or not croniter.is_valid(expression):
        return False
    try:
        latest(expression, _ANY)
    except CroniterError:
        return False
    return True


def latest(expression: str, now: datetime) -> datetime:
    """The last moment of the schedule that is not after `now`."""
    at = now.astimezone(UTC).replace(second=0, microsecond=0)
    if croniter.match(expression, at):
        return at
    found: datetime = croniter(expression, at).get_prev(datetime)
    return found
