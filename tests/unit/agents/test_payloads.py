"""What senders post, and what becomes of it."""

import base64
import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.alerts import Alert
from agents.payloads import alertmanager, cloudevents, generic, grafana
from agents.payloads.deliveries import Delivery, fingerprint_of, severity_of
from agents.payloads.reading import MAX_ALERTS, PayloadError

CAPTURES = {path.stem: path for path in (Path(__file__).parents[2] / "fixtures" / "alertmanager").glob("*.json")}
PARSERS: list[Callable[[object], Delivery]] = [alertmanager.parse, grafana.parse, cloudevents.parse, generic.parse]


def capture(name: str) -> Any:
    return json.loads(CAPTURES[name].read_text())["body"]


def errors(parse: Callable[[object], Delivery], body: object) -> dict[str, str]:
    with pytest.raises(PayloadError) as caught:
        parse(body)
    return dict(caught.value.errors)


@pytest.mark.parametrize("name", sorted(CAPTURES))
def test_every_capture_is_taken(name: str) -> None:
    body = capture(name)
    delivery = alertmanager.parse(body)
    assert len(delivery.alerts) == len(body["alerts"]) > 0
    assert delivery.receiver == "agent"
    assert delivery.truncated == 0
    for alert, sent in zip(delivery.alerts, body["alerts"], strict=True):
        assert alert.status == sent["status"]
        assert alert.fingerprint == sent["fingerprint"]
        assert alert.labels == sent["labels"]
        assert alert.annotations == sent["annotations"]
        assert alert.starts_at.isoformat(timespec="milliseconds").replace("+00:00", "Z") == sent["startsAt"]
        assert (alert.ends_at is None) == (sent["status"] == "firing")
        assert alert.group_key == body["groupKey"]
        assert alert.link == sent["generatorURL"]


@pytest.mark.parametrize("name", sorted(CAPTURES))
def test_a_fingerprint_that_is_missing_is_the_one_that_prometheus_makes(name: str) -> None:
    body = capture(name)
    given_ones = [alert.pop("fingerprint") for alert in body["alerts"]]
    assert [alert.fingerprint for alert in alertmanager.parse(body).alerts] == given_ones


def test_a_firing_group_may_hold_resolved_alerts() -> None:
    body = capture("firing-partly-resolved")
    assert body["status"] == "firing"
    assert sorted(alert.status for alert in alertmanager.parse(body).alerts) == ["firing", "resolved"]


def test_envelope_facts_are_kept() -> None:
    body = capture("firing-single") | {
        "truncatedAlerts": 2,
        "receiver": "team\\.a\\+b",
        "notification_reason": "repeat",
        "x": [{}],
    }
    delivery = alertmanager.parse(body)
    assert delivery.truncated == 2
    assert delivery.receiver == "team.a+b"


def test_grafana_is_taken() -> None:
    body = capture("firing-single") | {"version": "1", "title": "[FIRING:1]", "orgId": 1, "state": "alerting", "message": "m"}
    alert = body["alerts"][0]
    alert |= {"values": {"A": 1.5}, "valueString": "[ A=1.5 ]", "panelURL": "https://g/p?viewPanel=1", "generatorURL": ""}
    delivery = grafana.parse(body)
    assert delivery.alerts[0].source == "grafana"
    assert delivery.alerts[0].link == "https://g/p?viewPanel=1"


def test_nanoseconds_and_offsets_are_understood() -> None:
    body = capture("firing-single")
    body["alerts"][0]["startsAt"] = "2026-11-23T16:04:50.123456789+01:00"
    assert alertmanager.parse(body).alerts[0].starts_at == datetime(2026, 11, 23, 15, 4, 50, 123456, tzinfo=UTC)


def test_every_fault_is_named_with_its_path() -> None:
    body = capture("firing-grouped")
    body["alerts"] += [copy.deepcopy(body["alerts"][0]), "alert"]
    body["alerts"][0]["labels"]["severity"] = 3
    body["alerts"][1]["status"] = "burning"
    body["alerts"][2]["startsAt"] = "yesterday"
    body["truncatedAlerts"] = -1
    found = errors(alertmanager.parse, body)
    assert found["alerts[0].labels.severity"] == "must be text, not a number"
    assert found["alerts[1].status"] == "must be one of firing, resolved"
    assert "RFC 3339" in found["alerts[2].startsAt"]
    assert found["alerts[3]"] == "must be an object, not text"
    assert found["truncatedAlerts"] == "must be a whole number from 0"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"alerts": None}, "alerts"),
        ({"alerts": {}}, "alerts"),
        ({"alerts": [{}] * (MAX_ALERTS + 1)}, "alerts"),
        ({"version": "3"}, "version"),
        ({"groupKey": 7}, "groupKey"),
    ],
)
def test_a_bad_envelope_is_named(change: dict[str, Any], field: str) -> None:
    assert field in errors(alertmanager.parse, capture("firing-single") | change)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"startsAt": None}, "alerts[0].startsAt"),
        ({"startsAt": "0001-01-01T00:00:00Z"}, "alerts[0].startsAt"),
        ({"startsAt": "2026-11-23T15:04:50"}, "alerts[0].startsAt"),
        ({"startsAt": "9999-12-31T23:59:59-23:00"}, "alerts[0].startsAt"),
        ({"startsAt": 1_700_000_000}, "alerts[0].startsAt"),
        ({"labels": {"": "x"}}, "alerts[0].labels"),
        ({"labels": {"a": "x" * 5_000}}, "alerts[0].labels.a"),
        ({"labels": {str(number): "" for number in range(201)}}, "alerts[0].labels"),
        ({"labels": {}, "fingerprint": None}, "alerts[0].labels"),
        ({"fingerprint": "f" * 129}, "alerts[0].fingerprint"),
        ({"annotations": ["x"]}, "alerts[0].annotations"),
    ],
)
def test_a_bad_alert_is_named(change: dict[str, Any], field: str) -> None:
    body = capture("firing-single")
    body["alerts"][0] |= change
    assert field in errors(alertmanager.parse, body)


def test_what_no_database_takes_is_replaced_and_long_descriptions_are_cut() -> None:
    body = capture("firing-single")
    body["alerts"][0]["labels"]["team"] = "a\x00b\ud800c\x1b[31m"
    body["alerts"][0]["annotations"]["description"] = "é" * 30_000
    alert = alertmanager.parse(body).alerts[0]
    assert alert.labels["team"] == "a\ufffdb\ufffdc\ufffd[31m"
    assert alert.annotations["description"] == "é" * 20_000


def test_only_web_addresses_are_links() -> None:
    body = capture("firing-single") | {"externalURL": "ftp://x"}
    for bad in ("javascript:alert(1)", "//x", "http://[", 5, "https://" + "x" * 5_000):
        body["alerts"][0]["generatorURL"] = bad
        assert alertmanager.parse(body).alerts[0].link == ""


@pytest.mark.parametrize(
    ("said", "severity"),
    [("critical", "critical"), ("PAGE", "critical"), ("none", "info"), ("error", "warning"), ("", "warning")],
)
def test_severities_are_understood(said: str, severity: str) -> None:
    assert severity_of(said) == severity


GENERIC = {
    "name": "nightly check",
    "starts_at": "2026-01-31T12:00:00Z",
    "model": "fraud",
    "version": "3",
    "severity": "critical",
}


def test_the_generic_form_is_one_alert_or_a_list() -> None:
    one = generic.parse(GENERIC | {"summary": "AUC 0.61", "labels": {"team": "a"}, "unknown": 1}).alerts
    assert one == generic.parse({"alerts": [GENERIC | {"summary": "AUC 0.61", "labels": {"team": "a"}}]}).alerts
    assert one[0].labels == {"team": "a", "model": "fraud", "version": "3"}
    assert one[0].annotations == {"summary": "AUC 0.61"}
    assert one[0].status == "firing"


def test_generic_identity_does_not_depend_on_what_changes() -> None:
    first = generic.parse(GENERIC).alerts[0]
    ended = generic.parse(GENERIC | {"status": "resolved", "ends_at": "2026-01-31T13:00:00Z", "severity": "info"}).alerts[0]
    assert first.identity == ended.identity
    assert ended.ends_at is not None
    assert generic.parse(GENERIC | {"version": "4"}).alerts[0].identity != first.identity


def test_generic_faults_are_named() -> None:
    assert set(errors(generic.parse, {})) == {"name", "starts_at"}
    assert set(errors(generic.parse, {"alerts": [GENERIC, {"name": " "}]})) == {"alerts[1].name", "alerts[1].starts_at"}


EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/checks/nightly",
    "type": "com.example.check.failed",
    "subject": "fraud",
    "time": "2026-01-31T12:00:00Z",
    "data": {"model": "fraud", "severity": "critical", "summary": "AUC 0.61"},
}


def test_a_structured_event_is_an_alert() -> None:
    alert = cloudevents.parse(EVENT).alerts[0]
    assert alert.name == "com.example.check.failed"
    assert alert.starts_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert alert.severity == "critical"
    assert alert.labels["model"] == "fraud"
    assert alert.labels["ce_source"] == "/checks/nightly"
    assert alert.annotations == {"summary": "AUC 0.61"}


def test_the_event_that_ends_it_is_of_the_same_identity() -> None:
    began = cloudevents.parse(EVENT | {"type": "com.example.check.firing"}).alerts[0]
    ended = cloudevents.parse(EVENT | {"type": "com.example.check.resolved", "id": "e-2"}).alerts[0]
    assert began.identity == ended.identity
    assert (began.status, ended.status) == ("firing", "resolved")


def test_a_batch_is_all_its_events() -> None:
    assert len(cloudevents.parse([EVENT, EVENT | {"id": "e-2", "subject": "churn"}]).alerts) == 2
    assert set(errors(cloudevents.parse, [EVENT, EVENT | {"type": None}])) == {"[1].type"}


def test_a_binary_event_has_its_attributes_in_headers() -> None:
    headers = {f"CE-{name.title()}": value for name, value in EVENT.items() if isinstance(value, str)}
    headers |= {"Ce-Subject": "caf%C3%A9", "Content-Type": "application/json"}
    alert = cloudevents.parse(EVENT["data"], headers=headers).alerts[0]
    assert alert.labels["ce_subject"] == "café"
    assert alert.labels["model"] == "fraud"


def test_data_in_base64_is_read() -> None:
    event = {key: value for key, value in EVENT.items() if key != "data"}
    encoded = base64.b64encode(json.dumps(EVENT["data"]).encode()).decode()
    assert cloudevents.parse(event | {"data_base64": encoded}).alerts[0].labels["model"] == "fraud"
    assert set(errors(cloudevents.parse, event | {"data_base64": "%%"})) == {"data_base64"}


@pytest.mark.parametrize("data", [None, 5, "text", [1], {"labels": {"a": "b"}}])
def test_data_of_another_kind_is_not_looked_into(data: object) -> None:
    assert cloudevents.parse(EVENT | {"data": data}).alerts[0].name == "com.example.check.failed"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"time": None}, "time"),
        ({"time": "noon"}, "time"),
        ({"data": {"labels": 5}}, "data.labels"),
        ({"data": {"starts_at": "noon"}}, "data.starts_at"),
    ],
)
def test_event_faults_are_named_where_the_sender_wrote_them(change: dict[str, Any], field: str) -> None:
    assert field in errors(cloudevents.parse, EVENT | change)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None), max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        *EVENT,
        *GENERIC,
        "alerts",
        "status",
        "labels",
        "annotations",
        "startsAt",
        "endsAt",
        "fingerprint",
        "version",
        "data_base64",
    ]
)
near_misses = st.dictionaries(FIELDS, json_values | st.sampled_from(["firing", "4", "1.0", "2026-01-31T12:00:00Z"]), max_size=8)
bodies = (
    json_values
    | near_misses
    | st.lists(near_misses, max_size=3)
    | st.builds(lambda alerts, rest: rest | {"alerts": alerts}, st.lists(near_misses, max_size=3), near_misses)
)


def taken(parse: Callable[[object], Delivery], body: object) -> tuple[Delivery | None, tuple[tuple[str, str], ...]]:
    try:
        return parse(body), ()
    except PayloadError as error:
        return None, error.errors


@pytest.mark.parametrize("parse", PARSERS)
@given(body=bodies)
def test_no_body_does_anything_but_parse_or_be_refused(parse: Callable[[object], Delivery], body: object) -> None:
    delivery, refused = taken(parse, body)
    assert all(field and what for field, what in refused)
    assert (delivery is None) == bool(refused)
    if delivery is None:
        return
    for alert in delivery.alerts:
        assert Alert.model_validate_json(alert.model_dump_json()) == alert
        assert "\x00" not in alert.model_dump_json()


@given(base=st.sampled_from(sorted(CAPTURES)), junk=st.dictionaries(st.text(), json_values, max_size=3), data=st.data())
def test_a_capture_with_one_field_replaced_is_taken_or_refused(base: str, junk: dict[str, Any], data: st.DataObject) -> None:
    body = {f"x-{key}": value for key, value in junk.items()} | capture(base)
    target = data.draw(st.sampled_from([body, body["alerts"][0], body["alerts"][0]["labels"]]))
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(json_values)
    delivery, _ = taken(alertmanager.parse, body)
    if delivery is None:
        return
    assert all(alert.fingerprint and alert.name for alert in delivery.alerts)


def test_a_body_nested_beyond_reason_is_refused_like_any_other() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for parse in PARSERS:
        assert errors(parse, {"alerts": deep, "labels": deep, "data": deep, "specversion": deep})
    while deep:  # taken apart by hand: its own destructor would recurse
        deep = deep.pop()


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4))
def test_a_fingerprint_does_not_depend_on_order(labels: dict[str, str]) -> None:
    assert fingerprint_of(labels) == fingerprint_of(dict(reversed(labels.items())))
