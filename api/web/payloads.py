"""What the intake's bodies look like, for the OpenAPI document. `agents/payloads` is what reads them, and takes more than this:
unknown fields, and times in years that nobody writes.

Bodies are read by hand and not by the framework, because the sender is authenticated on the bytes before anything parses them.
"""

from typing import Any

Json = dict[str, Any]

_TEXTS: Json = {"type": "object", "additionalProperties": {"type": "string"}}
_MOMENT: Json = {"type": "string", "format": "date-time"}
_STATUS: Json = {"type": "string", "enum": ["firing", "resolved"]}

_LABELS = {"alertname": "ModelAccuracyLow", "model": "flights", "version": "2", "severity": "critical"}
_SUMMARY = "Accuracy of flights is 78.2%, below 88%"

_ALERT: Json = {
    "type": "object",
    "required": ["status", "labels", "startsAt"],
    "properties": {
        "status": _STATUS,
        "labels": {**_TEXTS, "minProperties": 1},
        "annotations": _TEXTS,
        "startsAt": _MOMENT,
        "endsAt": {**_MOMENT, "description": "Year 1 while it fires."},
        "generatorURL": {"type": "string"},
        "fingerprint": {"type": "string", "maxLength": 128, "description": "Made of the labels where it is left out."},
    },
}
_ALERT_EXAMPLE: Json = {
    "status": "firing",
    "labels": _LABELS,
    "annotations": {"summary": _SUMMARY},
    "startsAt": "2026-01-31T12:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "https://prometheus.example/graph?g0.expr=...",
    "fingerprint": "999ecb17b07ac26a",
}


def _group(version: str) -> tuple[Json, Json]:
    """Schema and example."""
    schema: Json = {
        "type": "object",
        "required": ["alerts"],
        "properties": {
            "version": {"type": "string", "enum": ["4", "1"]},
            "groupKey": {"type": "string"},
            "truncatedAlerts": {"type": "integer", "minimum": 0},
            "receiver": {"type": "string"},
            "status": {**_STATUS, "description": "Of the group: firing while any of its alerts is."},
            "externalURL": {"type": "string"},
            "alerts": {"type": "array", "items": _ALERT, "description": "May mix firing and resolved ones."},
        },
    }
    example = {
        "version": version,
        "groupKey": '{}:{alertname="ModelAccuracyLow"}',
        "truncatedAlerts": 0,
        "receiver": "oppen",
        "status": "firing",
        "externalURL": "https://alertmanager.example",
        "alerts": [_ALERT_EXAMPLE],
    }
    return schema, example


_GENERIC_ALERT: Json = {
    "type": "object",
    "required": ["name", "starts_at"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 300},
        "status": {**_STATUS, "default": "firing"},
        "severity": {
            "type": "string",
            "description": "info, warning (where it is left out) or critical; other words are understood.",
        },
        "starts_at": _MOMENT,
        "ends_at": _MOMENT,
        "model": {"type": "string"},
        "version": {"type": "string"},
        "summary": {"type": "string"},
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "fingerprint": {"type": "string", "maxLength": 128},
        "link": {"type": "string"},
    },
}
_GENERIC_EXAMPLE: Json = {
    "name": "nightly score check failed",
    "severity": "critical",
    "starts_at": "2026-01-31T12:00:00Z",
    "model": "flights",
    "version": "2",
    "summary": "AUC 0.61 < 0.70",
}
_EVENT: Json = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "time"],
    "properties": {
        "specversion": {"type": "string", "const": "1.0"},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1, "description": "One that ends in `.resolved` resolves."},
        "subject": {"type": "string"},
        "time": _MOMENT,
        "data": {"type": "object", "description": "An alert in the generic form; what it leaves out comes from the event."},
    },
}
_EVENT_EXAMPLE: Json = {
    "specversion": "1.0",
    "id": "7f0c",
    "source": "/monitors/accuracy",
    "type": "model.accuracy.low",
    "time": "2026-01-31T12:00:00Z",
    "data": {"severity": "critical", "model": "flights", "version": "2", "summary": _SUMMARY},
}


def _operation(**content: tuple[Json, object]) -> Json:
    """By media type, without its `application/`."""
    bodies = {
        f"application/{kind.replace('_', '-').replace('--', '+')}": {"schema": schema, "example": example}
        for kind, (schema, example) in content.items()
    }
    return {"requestBody": {"required": True, "content": bodies}, "security": [{"Sender": []}]}


ALERTMANAGER = _operation(json=_group("4"))
GRAFANA = _operation(json=_group("1"))
GENERIC = _operation(
    json=(
        {
            "oneOf": [
                _GENERIC_ALERT,
                {
                    "type": "object",
                    "required": ["alerts"],
                    "properties": {"alerts": {"type": "array", "items": _GENERIC_ALERT}},
                },
            ]
        },
        _GENERIC_EXAMPLE,
    )
)
CLOUDEVENTS = _operation(
    cloudevents__json=(_EVENT, _EVENT_EXAMPLE),
    cloudevents_batch__json=({"type": "array", "items": _EVENT}, [_EVENT_EXAMPLE]),
    json=(_GENERIC_ALERT, _GENERIC_EXAMPLE),
)

_FACETS: Json = {"type": "object", "additionalProperties": {"type": "object"}}
_DATASETS: Json = {
    "type": "array",
    "maxItems": 10_000,
    "items": {
        "type": "object",
        "required": ["namespace", "name"],
        "properties": {
            "namespace": {"type": "string", "minLength": 1, "maxLength": 1_000},
            "name": {"type": "string", "minLength": 1, "maxLength": 2_000},
            "facets": _FACETS,
            "inputFacets": _FACETS,
            "outputFacets": _FACETS,
        },
    },
}
_RUN_ID: Json = {"type": "string", "format": "uuid"}

_RUN_EVENT: Json = {
    "type": "object",
    "required": ["eventTime", "producer", "run", "job"],
    "properties": {
        "eventType": {"type": "string", "enum": ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]},
        "eventTime": _MOMENT,
        "producer": {"type": "string", "maxLength": 2_000},
        "schemaURL": {"type": "string"},
        "run": {"type": "object", "required": ["runId"], "properties": {"runId": _RUN_ID, "facets": _FACETS}},
        "job": {
            "type": "object",
            "required": ["namespace", "name"],
            "properties": {
                "namespace": {"type": "string", "minLength": 1, "maxLength": 1_000},
                "name": {"type": "string", "minLength": 1, "maxLength": 2_000},
                "facets": _FACETS,
            },
        },
        "inputs": _DATASETS,
        "outputs": _DATASETS,
    },
}
_RUN_EVENT_EXAMPLE: Json = {
    "eventType": "COMPLETE",
    "eventTime": "2026-01-31T12:00:00Z",
    "producer": "https://github.com/OpenLineage/OpenLineage/tree/1.54.0/integration/airflow",
    "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "run": {"runId": "0198c0ff-ee00-7080-8000-0000000000aa", "facets": {}},
    "job": {"namespace": "airflow", "name": "daily.load_trips", "facets": {}},
    "inputs": [{"namespace": "postgres://warehouse:5432", "name": "shop.public.trips"}],
    "outputs": [{"namespace": "s3://raw", "name": "trips"}],
}
RUN_EVENT: Json = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _RUN_EVENT, "example": _RUN_EVENT_EXAMPLE}},
    }
}


def _hook(example: dict[str, str]) -> Json:
    text: Json = {"type": "string", "maxLength": 4_000}
    name: Json = {"type": "string", "minLength": 1, "maxLength": 253}
    schema: Json = {
        "type": "object",
        "required": ["name", "namespace"],
        "properties": {
            "name": {**name, "description": "Of the Canary."},
            "namespace": name,
            "phase": text,
            "checksum": {**text, "description": "Of the revision: it stays the one that was let in."},
            "metadata": {
                **_TEXTS,
                "maxProperties": 100,
                "description": "`model` and `rollout`, as the Canary's webhooks have them.",
            },
        },
    }
    metadata = {"model": "flights", "rollout": "run_0198c0ffee00700080000000000000aa/1", **example}
    body: Json = {"name": "flights", "namespace": "ml", "phase": "Progressing", "checksum": "7b5d9c7f5d", "metadata": metadata}
    content = {"application/json": {"schema": schema, "example": body}}
    return {"requestBody": {"required": True, "content": content}, "security": [{"Sender": []}]}


FLAGGER_GATE = _hook({})
FLAGGER_EVENT = _hook(
    {"eventMessage": "Advance flights.ml canary weight 10", "eventType": "Normal", "timestamp": "1769860800000"}
)
