"""What of an exact list of files may go: never what is younger than policy keeps it, whatever the list says; pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agents.cost.optimization_rules import Optimizations
from agents.wording import span
from tools.leftovers import Leftover


def ident(item: Leftover) -> str:
    """Of one thing as it was listed."""
    return f"{item.kind}:{item.name}:{item.seen}"


def too_young(items: Sequence[Leftover], rules: Optimizations, now: datetime) -> str | None:
    """Why the list may not go; None: all of it is old enough."""
    kept: dict[str, timedelta] = {
        "version": rules.keeping.versions,
        "checkpoints": rules.keeping.checkpoints,
        "logs": rules.keeping.logs,
    }
    for item in items:
        if now - item.since < kept[item.kind]:
            return f"{item.kind} {item.name} is {span(now - item.since)} old, and policy keeps it for {span(kept[item.kind])}"
    return None
