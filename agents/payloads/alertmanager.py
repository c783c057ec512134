"""Alertmanager's webhook, version 4, and Grafana's, which has the same shape and says version 1.

One request is one group, which may mix firing and resolved alerts: each alert's own status counts, not the group's. The same
alert arrives again and again (retries, repeats, group changes): identity is its fingerprint and start. Unknown fields are
accepted, because both senders keep adding some.
"""

import re
from typing import Literal

from agents.alerts import Alert
from agents.payloads.deliveries import Delivery, fingerprint_of, severity_of
from agents.payloads.reading import MAX_ANNOTATION, MAX_KEY, MAX_LABEL, Faults, Fields

VERSIONS = ("4", "1")

_QUOTED = re.compile(r"\\([\\.+*?()|\[\]{}^$])")


def parse(body: object, source: str = "alertmanager") -> Delivery:
    """`source` is the configured name of the sender. Raises PayloadError."""
    faults = Faults()
    envelope = Fields(body, "", faults)
    _check_version(envelope)
    group_key = envelope.text("groupKey", MAX_LABEL, cut=True)
    external = envelope.link("externalURL")
    alerts = tuple(_alert(fields, source, group_key, external) for fields in envelope.each("alerts"))
    truncated, receiver = envelope.count("truncatedAlerts"), envelope.text("receiver", MAX_LABEL, cut=True)
    faults.settle()
    # Go's regexp.QuoteMeta has gone over the receiver's name: "team.a" arrives as "team\.a".
    return Delivery(
        alerts=tuple(alert for alert in alerts if alert is not None),
        truncated=truncated,
        receiver=_QUOTED.sub(r"\1", receiver),
    )


def _check_version(envelope: Fields) -> None:
    version = envelope.raw("version")
    if version is not None and version not in VERSIONS:
        envelope.faults.note("version", 'must be "4" (Alertmanager) or "1" (Grafana): this is another payload')


def _alert(fields: Fields, source: str, group_key: str, external: str) -> Alert | None:
    """None only where a fault was noted."""
    status: Literal["firing", "resolved"] = (
        "resolved" if fields.choice("status", ("firing", "resolved")) == "resolved" else "firing"
    )
    labels = fields.texts("labels", MAX_LABEL)
    annotations = fields.texts("annotations", MAX_ANNOTATION, cut=True)
    starts_at = fields.moment("startsAt", required=True)
    ends_at = fields.moment("endsAt")
    fingerprint = fields.text("fingerprint", 128)
    link = fields.link("generatorURL") or fields.link("panelURL") or fields.link("dashboardURL") or external
    if starts_at is None:
        return None
    if not labels and not fingerprint:
        fields.faults.note(fields.at("labels"), "must name the alert: there is neither a label nor a fingerprint")
        return None
    return Alert(
        source=source,
        fingerprint=fingerprint or fingerprint_of(labels),
        status=status,
        name=labels.get("alertname", "")[:MAX_KEY] or "unnamed alert",
        severity=severity_of(labels.get("severity") or labels.get("priority") or ""),
        labels=labels,
        annotations=annotations,
        starts_at=starts_at,
        # Some senders announce when a firing alert would time out; that is no end.
        ends_at=ends_at if status == "resolved" else None,
        group_key=group_key,
        link=link,
    )
