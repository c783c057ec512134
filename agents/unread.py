"""Alerts that have joined an incident after its run had read what there was: which of them somebody still has to look at."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from agents.alerts import Alert
from agents.requests import NAMES, SOURCE

MAX_RUNS = 4
"""Of one incident: what goes on joining after so many investigations is for people."""


def news(unread: Iterable[Alert], read: Sequence[Alert], *, confirmed: datetime | None = None) -> tuple[Alert, ...]:
    """What another run has to be opened for: alerts that fire and say what none of those that were read did, and what is asked
    for and was not asked for before: by a schedule, or too late for the run.

    `confirmed`: the moment of a change that has been verified since; alerts that began before it are answered by that.
    """
    known = {_said(each) for each in read}
    firing = (each for each in unread if each.status == "firing")
    late = (each for each in firing if confirmed is None or each.starts_at > confirmed)
    return tuple(each for each in late if asks_back(each) or (_counts(each) and _said(each) not in known))


def asks_back(alert: Alert) -> bool:
    return alert.source == SOURCE and alert.name == NAMES["rollback"]


def _counts(alert: Alert) -> bool:
    """What is for information asks for nothing, and who only asks to look has had somebody look."""
    return alert.name != NAMES["check"] if alert.source == SOURCE else alert.severity != "info"


def _said(alert: Alert) -> tuple[str, ...]:
    if alert.source != SOURCE:
        return alert.name, alert.severity
    window = (alert.annotations.get(name, "") for name in ("window_start", "window_end"))
    return (alert.name, alert.labels.get("version", ""), *window)
