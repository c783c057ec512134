"""Who raises alerts beside the platform: the usual rules of a Prometheus, and whatever a scenario has somebody say.

The rules look at what an installation measures by itself, with limits of its own; they know no cause, and neither does any word
of theirs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from simulations import alerting
from simulations.worlds.scenario import Said
from simulations.worlds.world import World

_MANY_ERRORS = 0.04
_SLOW_MS = 250.0
_FEW = 30
"""Requests, or labels, below which a rule says nothing."""
_FEW_LABELS = 100


@dataclass(frozen=True)
class _Rule:
    name: str
    severity: str
    lasts: timedelta
    """How long it has to be so before it fires."""
    said: Callable[["Senders", datetime], str | None]
    """What is the matter; None: nothing."""


@dataclass
class _Standing:
    since: datetime | None = None
    """When it began to be so."""
    fired: datetime | None = None


class Senders:
    def __init__(self, world: World, promised: float) -> None:
        """`promised`: the accuracy below which users complain."""
        self._world = world
        self._promised = promised
        self._standings = {rule.name: _Standing() for rule in _RULES}
        self._spoken: dict[int, bool] = {}

    @property
    def moments(self) -> Iterator[datetime]:
        """When somebody says something whatever is the case."""
        for said in self._world.scenario.alerts:
            yield self._world.start + said.at
            if said.lasts is not None:
                yield self._world.start + said.at + said.lasts

    def look(self, now: datetime) -> list[dict[str, Any]]:
        """Deliveries of this moment."""
        found = list(self._said(now))
        if self._world.scenario.rules:
            found += self._ruled(now)
        return found

    def _ruled(self, now: datetime) -> Iterator[dict[str, Any]]:
        for rule in _RULES:
            standing, said = self._standings[rule.name], rule.said(self, now)
            labels = {"alertname": rule.name, "model": self._world.model, "severity": rule.severity}
            if said is None:
                if standing.fired is not None:
                    yield alerting.delivery([alerting.alert(labels, {}, standing.fired, now)])
                self._standings[rule.name] = _Standing()
                continue
            standing.since = standing.since or now
            if standing.fired is None and now - standing.since >= rule.lasts:
                standing.fired = standing.since
                yield alerting.delivery([alerting.alert(labels, {"summary": said}, standing.fired)])

    def _said(self, now: datetime) -> Iterator[dict[str, Any]]:
        for place, said in enumerate(self._world.scenario.alerts):
            begins = self._world.start + said.at
            if begins <= now and place not in self._spoken:
                self._spoken[place] = False
                yield self._spoken_of(said, begins, None)
            if said.lasts is not None and begins + said.lasts <= now and self._spoken.get(place) is False:
                self._spoken[place] = True
                yield self._spoken_of(said, begins, begins + said.lasts)

    def _spoken_of(self, said: Said, begins: datetime, ends: datetime | None) -> dict[str, Any]:
        labels = {"alertname": said.name, "model": self._world.model, "severity": said.severity, **said.labels}
        each = [labels if said.count == 1 else {**labels, "instance": f"pod-{place}"} for place in range(said.count)]
        return alerting.delivery([alerting.alert(own, {"summary": said.summary}, begins, ends) for own in each])

    # The rules.

    def errors(self, now: datetime) -> str | None:
        answers = self._world.memory.answers(now - timedelta(minutes=30))
        failed = sum(each.failed for each in answers)
        if len(answers) < _FEW or failed < _MANY_ERRORS * len(answers):
            return None
        return f"{failed / len(answers):.1%} of the requests fail"

    def latency(self, now: datetime) -> str | None:
        took = sorted(each.milliseconds for each in self._world.memory.answers(now - timedelta(minutes=30)))
        if len(took) < _FEW or (p95 := took[len(took) * 95 // 100]) < _SLOW_MS:
            return None
        return f"95 % of the requests are answered within {p95:.0f} ms"

    def accuracy(self, now: datetime) -> str | None:
        outcomes = self._world.memory.outcomes(now - timedelta(hours=2))
        if len(outcomes) < _FEW_LABELS:
            return None
        right = sum(each.right for each in outcomes) / len(outcomes)
        return f"{right:.1%} of the answers are right" if right < self._promised else None


_RULES = (
    _Rule("ModelErrorsHigh", "critical", timedelta(minutes=10), Senders.errors),
    _Rule("ModelLatencyHigh", "critical", timedelta(minutes=10), Senders.latency),
    _Rule("ModelAccuracyLow", "critical", timedelta(minutes=10), Senders.accuracy),
)
