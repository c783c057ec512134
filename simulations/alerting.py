"""Posts alerts as Alertmanager 0.25 does: its body, its headers, and its habit of trying again until it gets a 2xx."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_NEVER = "0001-01-01T00:00:00Z"


def fingerprint(labels: Mapping[str, str]) -> str:
    """16 hex digits, the same for the same labels; Alertmanager's own are of that form."""
    joined = "\xff".join(f"{name}\xff{labels[name]}" for name in sorted(labels))
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()


def alert(
    labels: Mapping[str, str], annotations: Mapping[str, str], starts_at: datetime, ends_at: datetime | None = None
) -> dict[str, Any]:
    return {
        "status": "firing" if ends_at is None else "resolved",
        "labels": dict(labels),
        "annotations": dict(annotations),
        "startsAt": _rfc3339(starts_at),
        "endsAt": _NEVER if ends_at is None else _rfc3339(ends_at),
        "generatorURL": "http://prometheus.invalid:9090/graph",
        "fingerprint": fingerprint(labels),
    }


def delivery(alerts: list[dict[str, Any]], group_by: tuple[str, ...] = ("alertname", "model")) -> dict[str, Any]:
    """One webhook body, version 4, for a group of alerts."""
    first = alerts[0]["labels"]
    group = {name: first[name] for name in group_by if name in first}
    common = {name: value for name, value in first.items() if all(a["labels"].get(name) == value for a in alerts)}
    notes = alerts[0]["annotations"]
    shared = {name: value for name, value in notes.items() if all(a["annotations"].get(name) == value for a in alerts)}
    matchers = ", ".join(f'{name}="{value}"' for name, value in group.items())
    return {
        "receiver": "oppen",
        "status": "firing" if any(a["status"] == "firing" for a in alerts) else "resolved",
        "alerts": alerts,
        "groupLabels": group,
        "commonLabels": common,
        "commonAnnotations": shared,
        "externalURL": "http://alertmanager.invalid:9093",
        "version": "4",
        "groupKey": f"{{}}:{{{matchers}}}",
        "truncatedAlerts": 0,
    }


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
