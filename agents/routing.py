"""Which specialist takes a case. Rules read labels and annotations as data; what matches no rule is an incident."""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from agents.alerts import Alert
from agents.requests import COST_MONITOR, REVIEW, SOURCE
from tools.values import Frozen


class Specialist(StrEnum):
    INCIDENT = "incident"
    DRIFT = "drift"
    PROMOTION = "promotion"
    EXPERIMENT = "experiment"
    COST = "cost"


class HandOver(Frozen):
    """A specialist's wish that another take the case."""

    to: Specialist
    reason: str


Rule = tuple[Callable[[Alert], bool], Specialist]


def _asked(*kinds: str) -> Callable[[Alert], bool]:
    """Somebody, or a schedule, asks for it."""
    return lambda alert: alert.source == SOURCE and alert.labels.get("kind") in kinds


def _about_drift(alert: Alert) -> bool:
    """Our own monitors say so; of others the name does, as in `FeatureDriftDetected`."""
    monitor = alert.labels.get("monitor")
    return monitor in _DATA_MONITORS if monitor is not None else "drift" in alert.name.lower()


def about_cost(alert: Alert) -> bool:
    """A monitor of ours says so, or somebody asks for a review."""
    return alert.labels.get("monitor") == COST_MONITOR or _asked(REVIEW)(alert)


_DATA_MONITORS = frozenset({"drift", "data_quality", "skew"})

RULES: tuple[Rule, ...] = (
    (_asked("promote"), Specialist.PROMOTION),
    (_asked("experiment"), Specialist.EXPERIMENT),
    (_asked("retrain", "check"), Specialist.DRIFT),
    (about_cost, Specialist.COST),
    (_about_drift, Specialist.DRIFT),
)
"""In order; the first that matches any of the alerts decides. Each specialist brings its own: the incident one needs none."""


def route(alerts: Iterable[Alert], rules: Sequence[Rule] = RULES) -> Specialist:
    case = tuple(alerts)
    return next((specialist for matches, specialist in rules if any(map(matches, case))), Specialist.INCIDENT)
