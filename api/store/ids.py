"""Ids: `{prefix}_{uuid7 hex}`. They sort by time, which is what makes paging by id stable under inserts."""

import os
import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FORM = re.compile(r"[a-z]{3}_[0-9a-f]{32}")


def new(prefix: str, now: datetime) -> str:
    """A fresh id with the time in its first 60 bits, to a quarter of a microsecond (RFC 9562, method 3); the rest is random."""
    milliseconds, rest = divmod((now - _EPOCH) // timedelta(microseconds=1), 1000)
    fraction = rest * 4096 // 1000
    random = int.from_bytes(os.urandom(8)) >> 2
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random
    return f"{prefix}_{value:032x}"


def well_formed(text: str) -> bool:
    """Whether it could be an id of ours; what could not is not worth asking the database for."""
    return _FORM.fullmatch(text) is not None
