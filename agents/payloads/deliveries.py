"""What all formats are turned into."""

import hashlib
import json
from collections.abc import Mapping

from agents.alerts import Alert, Severity
from tools.values import Frozen

_SEVERITIES: dict[str, Severity] = {
    **dict.fromkeys(("critical", "crit", "page", "fatal", "emergency", "alert", "disaster", "p1", "sev1"), "critical"),
    **dict.fromkeys(("info", "informational", "information", "notice", "debug", "none", "low", "p4", "p5"), "info"),
}


class Delivery(Frozen):
    """The alerts of one request, and what its envelope says about them."""

    alerts: tuple[Alert, ...]
    truncated: int = 0
    """How many more the sender left out."""
    receiver: str = ""


def severity_of(text: str) -> Severity:
    """Senders name severities as they like; what is unknown is a warning: neither urgent at night nor ignored."""
    return _SEVERITIES.get(text.strip().lower(), "warning")


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """Prometheus' own fingerprint of a label set, for senders that give none: 64-bit FNV-1a over the sorted names and values.

    Being the same function, a sender that starts to give fingerprints keeps its alerts' identities.
    """
    state = 0xCBF29CE484222325
    for name, value in sorted(labels.items()):
        for octet in name.encode() + b"\xff" + value.encode() + b"\xff":
            state = ((state ^ octet) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{state:016x}"


def digest(*parts: str) -> str:
    """An identity made of `parts`, for events that have no labels to speak of."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
