from datetime import UTC, datetime

from tools.values import Window


def window(start: str, end: str) -> Window:
    first, after = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (start, end))
    return Window(start=first, end=after)
