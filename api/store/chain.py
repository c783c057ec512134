"""The hash chain of the audit log, as pure functions: change one line and every hash after it is wrong."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

GENESIS = "0" * 64
"""What the first line follows."""


def canonical(value: dict[str, Any]) -> str:
    """One text for one value: sorted keys, no spaces, ASCII, so that it comes back from any database as it went in.

    Raises ValueError for what JSON has no word for (NaN, infinities), TypeError for what is no JSON at all.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


@dataclass(frozen=True)
class Line:
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    key: str | None
    data: str
    """Canonical JSON, as it is stored."""

    def hash_after(self, previous: str) -> str:
        head = canonical(
            {
                "seq": self.seq,
                "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
                "actor": self.actor,
                "action": self.action,
                "subject": self.subject,
                "key": self.key,
                "previous": previous,
            }
        )
        return hashlib.sha256(f"{head}\n{self.data}".encode()).hexdigest()
