"""What may be a watermark: values that rise; how they are written in a mark, told to a database, and taken from each other."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa

from tools.errors import PermanentError
from tools.sources.reading import Lookback

Kind = Literal["time", "wall time", "date", "integer", "float", "decimal", "written time", "text"]
"""`wall time` has no zone, and is UTC; `written time` is SQLite's, in words."""

_WRITTEN = "%Y-%m-%d %H:%M:%S.%f"


def kind_of(value: Any, *, written: bool) -> Kind:
    """`written`: times are text in this database."""
    match value:
        case datetime():
            return "time" if value.tzinfo is not None else "wall time"
        case date():
            return "date"
        case bool():
            pass
        case int():
            return "integer"
        case float():
            return "float"
        case Decimal():
            return "decimal"
        case str():
            return "written time" if written and _is_time(value) else "text"
        case _:
            pass
    raise PermanentError(f"a watermark is a time, a number or a text that rises, and this one is {value!r:.60}")


def encode(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def decode(kind: Kind, text: str) -> Any:
    match kind:
        case "time" | "wall time":
            return datetime.fromisoformat(text)
        case "date":
            return date.fromisoformat(text)
        case "integer":
            return int(text)
        case "float":
            return float(text)
        case "decimal":
            return Decimal(text)
        case "written time" | "text":
            return text


def sql_type(kind: Kind) -> "sa.types.TypeEngine[Any]":
    match kind:
        case "time":
            return sa.DateTime(timezone=True)
        case "wall time":
            return sa.DateTime()
        case "date":
            return sa.Date()
        case "integer":
            return sa.BigInteger()
        case "float":
            return sa.Double()
        case "decimal":
            return sa.Numeric()
        case "written time" | "text":
            return sa.String()


def lowest(kind: Kind) -> Any:
    """Below it there is nothing that Python can name: -infinity, years before Christ."""
    match kind:
        case "time":
            return datetime.min.replace(tzinfo=UTC)
        case "wall time":
            return datetime.min  # noqa: DTZ901 - of a column without zones
        case "date":
            return date.min
        case _:
            return None


def moment(kind: Kind, now: datetime) -> Any:
    """`now` as a value of that kind; None for what is no time."""
    match kind:
        case "time":
            return now
        case "wall time":
            return now.astimezone(UTC).replace(tzinfo=None)
        case "date":
            return now.astimezone(UTC).date()
        case "written time":
            return _written(now.astimezone(UTC))
        case _:
            return None


def below(kind: Kind, value: Any, lookback: Lookback) -> Any:
    """Raises PermanentError when the one cannot be taken from the other."""
    if not lookback:
        return value
    timed = kind in ("time", "wall time", "date", "written time")
    if kind == "text" or timed != isinstance(lookback, timedelta):
        unit = {True: "a time, such as 10m"}.get(timed, "a number, such as 1000" if kind != "text" else "none")
        raise PermanentError(f"the watermark is of kind {kind!r}, and a lookback for it is {unit}")
    if kind == "written time":
        return _written(datetime.strptime(value, _WRITTEN).replace(tzinfo=UTC) - lookback)  # type: ignore[operator]
    try:
        return value - lookback
    except OverflowError:
        return lowest(kind)


def is_above(value: Any, other: Any) -> bool:
    """Raises PermanentError for values of several kinds, which SQLite takes."""
    try:
        return bool(value > other)
    except TypeError as error:
        raise PermanentError(f"the watermark has values of several kinds: {value!r:.60} and {other!r:.60}") from error


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return len(text) > len("20260101") and text[4:5] == "-"


def _written(value: datetime) -> str:
    """As `strftime('%Y-%m-%d %H:%M:%f')` of SQLite writes it: to the millisecond."""
    return value.strftime(_WRITTEN)[:-3]
