"""Moments as people type them: a day is its first moment, in UTC."""

from datetime import UTC, date, datetime, time

from api.terminal import WrongUse


def moment(text: str, option: str) -> str | None:
    """RFC 3339; None for nothing. Raises WrongUse, naming the option."""
    if not text:
        return None
    try:
        if len(text) == len("2026-11-01"):
            return datetime.combine(date.fromisoformat(text), time(), UTC).isoformat()
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"{option}: write a day, 2026-11-01, or a moment with its zone, 2026-11-01T06:00:00Z") from None
    if found.tzinfo is None:
        raise WrongUse(f"{option}: say the zone as well, such as {text}Z for UTC")
    return found.isoformat()
