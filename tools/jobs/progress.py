"""Progress as a job prints it: a line that is a JSON object with `progress`. Standard library alone: a job may import it."""

import json
import math
import time
from collections.abc import Callable
from typing import Any

_LONGEST = 2000
_LEAST = 0.02
"""Of the way, before the pace says anything about the rest."""


class Pace:
    """Lines of progress with the time left, as the pace of this attempt so far has it: what an attempt before it had done
    (checkpoints) took it no time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, float] | None = None

    def line(self, fraction: float, text: str = "") -> str:
        return line(fraction, text, self._left(fraction))

    def _left(self, fraction: float) -> float | None:
        now = self._clock()
        if self._first is None or fraction < self._first[1]:
            self._first = now, fraction
        began, at = self._first
        if fraction - at < _LEAST:
            return None
        return round((now - began) / (fraction - at) * max(1 - fraction, 0.0), 1)


def parse(line: str) -> dict[str, Any] | None:
    """`fraction`, `text`, `eta_seconds` of a line that tells progress; None for any other. A job's output is data: what
    does not fit is no progress, and no error."""
    if len(line) > _LONGEST or not line.lstrip().startswith("{"):
        return None
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fraction = _number(said.get("progress")) if isinstance(said, dict) else None
    if fraction is None:
        return None
    eta = _number(said.get("eta_seconds"))
    text = said.get("text")
    return {
        "fraction": min(max(fraction, 0.0), 1.0),
        "text": text[:300] if isinstance(text, str) else "",
        "eta_seconds": eta if eta is not None and eta >= 0 else None,
    }


def line(fraction: float, text: str = "", eta_seconds: float | None = None) -> str:
    """What a job prints, flushed."""
    said = {"progress": round(fraction, 4), "text": text, "eta_seconds": eta_seconds}
    return json.dumps({name: value for name, value in said.items() if value not in (None, "")})


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
