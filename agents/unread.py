"""Alerts that have joined an incident after its run had read what there was: which of them somebody still has to look at."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from agents.alerts import Alert
from agents.requests import NAMES, SOURCE

MAX_RUNS = 4
"""Of one incident: what goes on joining after so many investigations is for people."""


def news(unread: Iterable[Alert], read: Sequence[Alert], *, confirmed: datetime | None = None) -> tuple[Alert, ...]:
    """What another run has to be opened for: alerts that fire and say what none of those that were read did, and rollbacks that
    were asked for.

    `confirmed`: the moment of a change that has been verified since; alerts that began before it are answered by that.
    """
    known = {(each.name, each.severity) for each in read}
    firing = (each for each in unread if each.status == "firing")
    late = (each for each in firing if confirmed is None or each.starts_at > confirmed)
    return tuple(each for each in late if asks_back(each) or (_told(each) and (each.name, each.severity) not in known))


def asks_back(alert: Alert) -> bool:
    return alert.source == SOURCE and alert.name == NAMES["rollback"]


def _told(alert: Alert) -> bool:
    """Requests are taken in only where they are read; what is for information asks for nothing."""
    return alert.source != SOURCE and alert.severity != "info"
