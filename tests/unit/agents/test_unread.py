"""Which of the alerts that nobody has read another run is opened for."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agents.alerts import Alert
from agents.requests import Request, to_alert
from agents.unread import asks_back, news
from tests.work.cases import START, alert

SEVERITIES = ("info", "warning", "critical")
ALERTS = st.builds(
    lambda name, severity, firing, minutes: alert(
        name,
        name=name,
        severity=severity,
        status="firing" if firing else "resolved",
        starts_at=START + timedelta(minutes=minutes),
    ),
    st.sampled_from(("a", "b", "c")),
    st.sampled_from(SEVERITIES),
    st.booleans(),
    st.integers(0, 10),
)


def asked(kind: Any) -> Alert:
    return to_alert(Request(kind=kind, model="flights", version="2", by="dave", reason="now"), kind, START)


@given(st.lists(ALERTS), st.lists(ALERTS))
def test_no_critical_alert_that_says_something_new_is_lost(unread: list[Alert], read: list[Alert]) -> None:
    known = {each.name for each in read}
    found = news(unread, read)
    assert all(
        each in found for each in unread if each.severity == "critical" and each.status == "firing" and each.name not in known
    )
    assert all(each.status == "firing" and each.severity != "info" for each in found)


@given(st.lists(ALERTS))
def test_what_was_read_is_no_news(alerts: list[Alert]) -> None:
    assert news(alerts, alerts) == ()


@given(st.lists(ALERTS))
def test_what_began_before_a_change_that_was_confirmed_is_answered(alerts: list[Alert]) -> None:
    assert news(alerts, (), confirmed=START + timedelta(minutes=10)) == ()


def test_an_alert_that_has_become_more_severe_is_news() -> None:
    worse = alert("b", severity="critical")
    assert news([worse], [alert("a", severity="warning")]) == (worse,)


def test_of_requests_what_was_not_asked_for_before_is() -> None:
    rollback, retrain = asked("rollback"), asked("retrain")
    assert news([asked("check"), retrain, rollback], [asked("promote")]) == (retrain, rollback)
    assert news([retrain, rollback], [retrain, rollback]) == (rollback,)
    assert [asks_back(each) for each in (rollback, asked("check"), alert())] == [True, False, False]
