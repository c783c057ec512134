"""Our own small form, for senders that speak none of the others: one alert, or `{"alerts": [...]}`.

    {"name": "nightly score check failed",        required
     "status": "firing",                          or "resolved"; firing where it is left out
     "severity": "critical",                      info, warning (where it is left out) or critical; other words are understood
     "starts_at": "2026-01-31T12:00:00Z",         required, RFC 3339: with the fingerprint it is the alert's identity
     "ends_at": "2026-01-31T12:30:00Z",           when it resolved
     "model": "fraud", "version": "3",            short for labels of these names
     "summary": "AUC 0.61 < 0.70",                short for an annotation of this name
     "labels": {}, "annotations": {},             text to text
     "fingerprint": "...",                        made of name, model, version and labels where it is left out
     "link": "https://..."}

Unknown fields are accepted.
"""

from agents.alerts import Alert
from agents.payloads.deliveries import Delivery, fingerprint_of, severity_of
from agents.payloads.reading import MAX_ANNOTATION, MAX_KEY, MAX_LABEL, Faults, Fields


def parse(body: object, source: str = "generic") -> Delivery:
    """Raises PayloadError."""
    faults = Faults()
    envelope = Fields(body, "", faults)
    listed = envelope.raw("alerts") is not None
    alerts = [alert(fields, source) for fields in (envelope.each("alerts") if listed else (envelope,))]
    faults.settle()
    return Delivery(alerts=tuple(each for each in alerts if each is not None))


def alert(fields: Fields, source: str) -> Alert | None:
    """None only where a fault was noted."""
    name = fields.text("name", MAX_KEY, required=True)
    status = fields.choice("status", ("firing", "resolved"), "firing")
    severity = fields.text("severity", MAX_KEY)
    labels = fields.texts("labels", MAX_LABEL)
    annotations = fields.texts("annotations", MAX_ANNOTATION, cut=True)
    for key in ("model", "version"):
        if value := fields.text(key, MAX_LABEL):
            labels[key] = value
    if summary := fields.text("summary", MAX_ANNOTATION, cut=True):
        annotations["summary"] = summary
    starts_at, ends_at = fields.moment("starts_at", required=True), fields.moment("ends_at")
    fingerprint = fields.text("fingerprint", 128)
    link = fields.link("link")
    if starts_at is None or not name.strip():
        return None
    return Alert(
        source=source,
        fingerprint=fingerprint or fingerprint_of({**labels, "alertname": name}),
        status="resolved" if status == "resolved" else "firing",
        name=name,
        severity=severity_of(severity or labels.get("severity", "")),
        labels=labels,
        annotations=annotations,
        starts_at=starts_at,
        ends_at=ends_at if status == "resolved" else None,
        link=link,
    )
