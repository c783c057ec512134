"""Which specialist takes a case. Rules read labels and annotations as data; what matches no rule is an incident."""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum

from agents.alerts import Alert


class Specialist(StrEnum):
    INCIDENT = "incident"


Rule = tuple[Callable[[Alert], bool], Specialist]

RULES: tuple[Rule, ...] = ()
"""In order; the first that matches any of the alerts decides. Each specialist brings its own: the incident one needs none."""


def route(alerts: Iterable[Alert], rules: Sequence[Rule] = RULES) -> Specialist:
    case = tuple(alerts)
    return next((specialist for matches, specialist in rules if any(map(matches, case))), Specialist.INCIDENT)
