"""What was seen in 48 hours, from outside: what the platform says over its API, and what its clients have seen themselves."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self


@dataclass(frozen=True)
class Record:
    seed: int
    start: str
    """RFC 3339; hours are counted from it."""
    answered: dict[str, dict[str, int]]
    """Rows by hour (0 to 47) and version."""
    right: dict[str, dict[str, int]]
    """Of these, whose outcome was as predicted."""
    failed: int = 0
    incidents: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    rollouts: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    """What the operator was asked, and said."""
    drift: list[dict[str, Any]] = field(default_factory=list)
    """Once an hour: the distance of each feature from what it was before the shift."""
    monitors: list[dict[str, Any]] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    """At the end."""
    costs: list[dict[str, Any]] = field(default_factory=list)
    """By hour: `hour`, `cost` and, of it, `training`; empty where nothing is metered."""
    optimizations: list[dict[str, Any]] = field(default_factory=list)
    audit: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    load: float = 0.0
    """Of the machine at the end: the average of the last minute."""

    def hour(self, at: str) -> float:
        return (datetime.fromisoformat(at) - datetime.fromisoformat(self.start)) / timedelta(hours=1)

    def accuracy(self, hours: Sequence[int], version: str | None = None) -> float | None:
        """None where nothing was asked."""
        asked = sum(self._count(self.answered, hour, version) for hour in hours)
        return sum(self._count(self.right, hour, version) for hour in hours) / asked if asked else None

    def share(self, hour: int, version: str) -> float | None:
        asked = self._count(self.answered, hour, None)
        return self._count(self.answered, hour, version) / asked if asked else None

    @property
    def versions(self) -> list[str]:
        return sorted({version for by in self.answered.values() for version in by}, key=int)

    @staticmethod
    def _count(counts: dict[str, dict[str, int]], hour: int, version: str | None) -> int:
        by = counts.get(str(hour), {})
        return by.get(version, 0) if version is not None else sum(by.values())

    def as_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def read(cls, text: str) -> Self:
        return cls(**json.loads(text))
