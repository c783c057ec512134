"""What a demo, a drill or a benchmark measured, held against its limits: the one JSON object that ends its output."""

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    name: str
    value: float | str | bool | None
    limit: float | str | bool
    unit: str
    ok: bool


@dataclass
class Checks:
    entries: list[Check] = field(default_factory=list)

    def at_most(self, name: str, value: float, limit: float, unit: str) -> None:
        self.entries.append(Check(name, value, limit, unit, value <= limit))

    def at_least(self, name: str, value: float, limit: float, unit: str) -> None:
        self.entries.append(Check(name, value, limit, unit, value >= limit))

    def equal(self, name: str, value: float | str | bool | None, wanted: float | str | bool) -> None:
        self.entries.append(Check(name, value, wanted, "", value == wanted))

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.entries)

    def as_json(self, details: dict[str, Any]) -> str:
        return json.dumps({"ok": self.ok, "checks": [vars(check) for check in self.entries], **details}, default=str)
