"""CloudEvents 1.0 over HTTP: structured (one JSON object), batched (a list of them) and binary (attributes as `ce-` headers).

An event becomes an alert: its `data` may be an alert in the generic form (see `agents.payloads.generic`), and what that leaves
out comes from the event: `name` from `type`, `starts_at` from `time`, `status` from a `type` that ends in `.resolved`. Without
a fingerprint, identity is made of `source`, `type` (without such an ending) and `subject`, not of `id`: the event that
something ended has another id than the one that said it began. Data of any other kind is not looked into.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from urllib.parse import unquote

from agents.alerts import Alert
from agents.payloads import generic
from agents.payloads.deliveries import Delivery, digest
from agents.payloads.reading import MAX_ALERTS, MAX_LABEL, Faults, Fields, name_of

SPEC_VERSIONS = ("1.0",)
_PREFIX = "ce-"
_ENDINGS = (".firing", ".resolved")


def parse(body: object, source: str = "cloudevents", headers: Mapping[str, str] | None = None) -> Delivery:
    """`headers` decide: with `ce-specversion` among them the body is the data, else it is an event or a list of events.

    Header names may be in any case. Raises PayloadError.
    """
    faults = Faults()
    attributes = _attributes(headers or {})
    if "specversion" in attributes:
        events = [Fields({**attributes, "data": body}, "", faults)]
    elif isinstance(body, list):
        if len(body) > MAX_ALERTS:
            faults.note("(body)", f"must have at most {MAX_ALERTS} events, not {len(body)}")
            faults.settle()
        events = [Fields(event, f"[{place}]", faults) for place, event in enumerate(body)]
    else:
        events = [Fields(body, "", faults)]
    alerts = [_alert(event, source) for event in events]
    faults.settle()
    return Delivery(alerts=tuple(alert for alert in alerts if alert is not None))


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """The HTTP binding sends attribute values percent-encoded."""
    named = ((name.lower(), value) for name, value in headers.items())
    return {name.removeprefix(_PREFIX): unquote(value) for name, value in named if name.startswith(_PREFIX)}


def _alert(event: Fields, source: str) -> Alert | None:
    version = event.text("specversion", 20, required=True)
    if version and version not in SPEC_VERSIONS:
        event.faults.note(event.at("specversion"), "must be 1.0")
    event.text("id", MAX_LABEL, required=True)
    origin = event.text("source", MAX_LABEL, required=True)
    kind = event.text("type", MAX_LABEL, required=True)
    subject = event.text("subject", MAX_LABEL)
    base = next((kind.removesuffix(ending) for ending in _ENDINGS if kind.endswith(ending)), kind)
    data = _data(event)
    given = data if isinstance(data, dict) else {}
    labels = given.get("labels")
    attributes = {"ce_source": origin, "ce_type": kind, **({"ce_subject": subject} if subject else {})}
    merged: dict[object, object] = {
        "name": base[:300],
        "status": "resolved" if kind.endswith(".resolved") else "firing",
        "starts_at": event.raw("time"),
        "fingerprint": digest(origin, base, subject),
        **{key: value for key, value in given.items() if value is not None},
        "labels": {**attributes, **labels} if isinstance(labels, dict) else attributes if labels is None else labels,
    }
    if merged["starts_at"] is None:
        event.faults.note(event.at("time"), "is missing: say here, or in data.starts_at, when it began (RFC 3339)")
        return None
    return generic.alert(_Merged(merged, event, frozenset(given)), source)


class _Merged(Fields):
    """An event's own attributes under its data; a fault is reported where the sender wrote it."""

    def __init__(self, values: dict[object, object], event: Fields, given: frozenset[object]) -> None:
        super().__init__(values, event.path, event.faults)
        self._given = given

    def at(self, key: str) -> str:
        step = f"data.{key}" if key in self._given else {"starts_at": "time", "name": "type"}.get(key, key)
        return super().at(step)


def _data(event: Fields) -> object:
    encoded = event.raw("data_base64")
    if encoded is None:
        return event.raw("data")
    if not isinstance(encoded, str):
        event.faults.note(event.at("data_base64"), f"must be text, not {name_of(encoded)}")
        return None
    try:
        return json.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        event.faults.note(event.at("data_base64"), "must be JSON in base64")
        return None
