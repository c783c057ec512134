"""One comparison of two measurements: how large, beyond chance or not, and on how much."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from agents.evidence import Evidence
from tools.predictions.port import VersionWindow
from tools.values import Window


@dataclass(frozen=True)
class Shift:
    """`size` is how much worse (or how far away) it is, in the unit of `limit`, the size from which it matters."""

    evidence: Evidence
    size: float
    limit: float
    significant: bool
    """Chance does not explain it."""
    enough: bool
    """There are enough samples on both sides to say anything."""
    same_period: bool = False
    """Both sides met the same inputs and the same hours, so nothing but what is compared differs."""

    @property
    def real(self) -> bool:
        return self.enough and self.significant and self.size >= self.limit

    @property
    def held(self) -> bool:
        """Looked at on enough samples, and no worse than what matters."""
        return self.enough and self.size < self.limit

    @property
    def strength(self) -> float:
        """From 0 to 1: half at the limit, and every further limit halves what is left of the doubt. 0 unless it is real."""
        return 1 - math.pow(2, -self.size / self.limit) if self.real else 0.0


def asked(call: str, model: str | None, window: Window, **arguments: str) -> str:
    """The query that made a value, so that it can be made again."""
    extra = "".join(f", {name}={value}" for name, value in arguments.items())
    return f"{call}(model={model}{extra}, window={window.start.isoformat()}/{window.end.isoformat()})"


def labelled(versions: Iterable[VersionWindow]) -> int:
    return sum(each.labelled for each in versions)


def tally(maps: Iterable[dict[str, int]]) -> dict[str, int]:
    """Counts by class, over all of them."""
    total: dict[str, int] = {}
    for each in maps:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
