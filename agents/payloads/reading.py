"""Reading bodies of unknown senders: each field checked where it is used, every fault noted with its path, none of them fatal
to the rest, so that a sender learns all that is wrong from one answer.

What is accepted is data. Characters that no database or terminal takes (NUL, other control characters but line breaks and tabs,
lone surrogates) become U+FFFD: an alert is worth more than one of its characters. Sizes are bounded: what is longer is refused
where it identifies something, and cut where it only describes.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

MAX_ALERTS = 10_000
MAX_LABELS = 200
MAX_KEY = 300
MAX_LABEL = 4_000
MAX_ANNOTATION = 20_000
MAX_LINK = 4_000

_UNSTORABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_FIRST_YEAR, _LAST_YEAR = 1970, 9998
_NAMES = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}


class PayloadError(Exception):
    """A body that cannot be taken. `errors` has (field path, what to do) for everything that is wrong with it."""

    def __init__(self, errors: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"{field}: {what}" for field, what in errors))
        self.errors = errors


class Faults:
    """Collects what is wrong; `settle` raises it all at once."""

    _MAX = 50

    def __init__(self) -> None:
        self._errors: list[tuple[str, str]] = []

    def note(self, path: str, what: str) -> None:
        if len(self._errors) < self._MAX:
            self._errors.append((path, what))

    def settle(self) -> None:
        if self._errors:
            raise PayloadError(tuple(self._errors))


class Fields:
    """The fields of one JSON object at `path` of the body. Null is the same as absent."""

    def __init__(self, value: object, path: str, faults: Faults) -> None:
        self.path = path
        self.faults = faults
        if not isinstance(value, dict):
            faults.note(path or "(body)", f"must be an object, not {name_of(value)}")
            value = {}
        self._values: dict[object, object] = value

    def at(self, key: str) -> str:
        return f"{self.path}.{clean(key)}" if self.path else clean(key)

    def raw(self, key: str) -> object:
        return self._values.get(key)

    def text(self, key: str, limit: int, *, required: bool = False, cut: bool = False) -> str:
        value = self._values.get(key)
        if value is None:
            if required:
                self.faults.note(self.at(key), "is missing")
            return ""
        if not isinstance(value, str):
            self.faults.note(self.at(key), f"must be text, not {name_of(value)}")
            return ""
        if required and not value.strip():
            self.faults.note(self.at(key), "must not be empty")
        if len(value) > limit and not cut:
            self.faults.note(self.at(key), f"must have at most {limit} characters, not {len(value)}")
            return ""
        return clean(value[:limit])

    def count(self, key: str) -> int:
        value = self._values.get(key)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2**63 - 1:
            self.faults.note(self.at(key), "must be a whole number from 0")
            return 0
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        """One of `allowed`, in any case; `default` where it is absent, and without one it must be there."""
        value = self._values.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value.lower() not in allowed:
            self.faults.note(self.at(key), f"must be one of {', '.join(allowed)}")
            return default or allowed[0]
        return value.lower()

    def link(self, key: str) -> str:
        """An http(s) address; anything else is dropped, because a console would offer it to be clicked."""
        value = self._values.get(key)
        return web_address(value) if isinstance(value, str) else ""

    def texts(self, key: str, limit: int, *, cut: bool = False) -> dict[str, str]:
        """A map from text to text."""
        value = self._values.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.faults.note(self.at(key), f"must be an object, not {name_of(value)}")
            return {}
        if len(value) > MAX_LABELS:
            self.faults.note(self.at(key), f"must have at most {MAX_LABELS} entries, not {len(value)}")
            return {}
        inner = Fields(value, self.at(key), self.faults)
        return {clean(name): inner.text(name, limit, cut=cut) for name in map(str, value) if inner.fits(name)}

    def fits(self, name: str) -> bool:
        if 0 < len(name) <= MAX_KEY:
            return True
        self.faults.note(self.path, f"names must have 1 to {MAX_KEY} characters, not {len(name)}")
        return False

    def moment(self, key: str, *, required: bool = False) -> datetime | None:
        """An RFC 3339 time in UTC. Year 1 is how Go writes "no time", and is None."""
        value = self._values.get(key)
        if value is None or value == "":
            if required:
                self.faults.note(self.at(key), "is missing: an RFC 3339 time such as 2026-01-31T12:00:00Z")
            return None
        if isinstance(value, str) and value.startswith("0001-01-01"):
            if required:
                self.faults.note(self.at(key), "must be a real time: year 1 means none")
            return None
        at = instant(value)
        if at is None:
            self.faults.note(self.at(key), "must be an RFC 3339 time with a zone, such as 2026-01-31T12:00:00Z")
        return at

    def each(self, key: str) -> "Iterator[Fields]":
        """The objects of a list."""
        value = self._values.get(key)
        if not isinstance(value, list):
            self.faults.note(self.at(key), "is missing" if value is None else f"must be a list, not {name_of(value)}")
            return
        if len(value) > MAX_ALERTS:
            self.faults.note(self.at(key), f"must have at most {MAX_ALERTS} entries, not {len(value)}")
            return
        for place, entry in enumerate(value):
            yield Fields(entry, f"{self.at(key)}[{place}]", self.faults)


def clean(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def web_address(text: str) -> str:
    text = clean(text.strip())
    if len(text) > MAX_LINK:
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in ("http", "https") and parts.netloc else ""


def instant(value: object) -> datetime | None:
    """None for what is no RFC 3339 time with a zone. Digits beyond microseconds are dropped."""
    if not isinstance(value, str) or len(value) > 64 or not _RFC_3339.fullmatch(value):
        return None
    try:
        at = datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if _FIRST_YEAR <= at.year <= _LAST_YEAR else None


def name_of(value: object) -> str:
    return "null" if value is None else _NAMES.get(type(value), "something else")
