"""What people ask for: whose it is, and what comes to the same."""

from datetime import timedelta
from typing import Any

import pytest

from agents.alerts import Alert
from agents.requests import Request, asker_of, joins, others_of, request_of, to_alert
from tests.unit.agents.worlds import NOW


def asked(by: str, minute: int, **values: Any) -> Alert:
    request = Request.model_validate({"kind": "promote", "model": "flights", "version": "3", "by": by, "reason": "r", **values})
    return to_alert(request, f"{by}{minute}", NOW + timedelta(minutes=minute))


def test_the_newest_counts_and_all_who_asked_for_the_same_are_known() -> None:
    alerts = (asked("ann", 0), asked("eve", 1, version="2"), asked("schedule:cron", 2), asked("ben", 3))
    assert asker_of(alerts) == "ben"
    assert others_of(alerts) == ("ann",)
    assert others_of(()) == ()


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({}, {}, True),
        ({}, {"version": "4"}, False),
        ({"kind": "retrain", "version": None}, {"kind": "retrain", "version": None}, True),
        (
            {"kind": "retrain", "version": None, "window_start": NOW, "window_end": NOW + timedelta(days=1)},
            {"kind": "retrain", "version": None},
            False,
        ),
        ({}, {"kind": "check", "version": None}, True),
    ],
)
def test_what_is_asked_for_of_other_data_is_not_the_same(first: Any, second: Any, same: bool) -> None:
    later = request_of([asked("ben", 1, **second)])
    assert later is not None
    assert joins(later, [asked("ann", 0, **first)], begun=True) is same
