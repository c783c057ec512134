"""One version in one period beside another: is it worse, by how much, and is that more than chance?"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, assert_never

from agents.evidence import Evidence
from agents.incident.measures.shifts import Shift, asked
from agents.policies import Investigation
from agents.statistics import normal_tail, two_proportions
from agents.wording import milliseconds, number, points, share
from tools.predictions.port import VersionWindow

Metric = Literal["accuracy", "errors", "latency"]
When = Literal["lately", "now", "before", "preceding"]
METRICS: tuple[Metric, ...] = ("accuracy", "errors", "latency")


@dataclass(frozen=True)
class Side:
    """One version in one period, and what to call that period."""

    window: VersionWindow
    when: When
    """Part of evidence ids."""

    @property
    def name(self) -> str:
        said = {
            "lately": "since shortly before the alerts",
            "now": "now",
            "before": "in the same hours before",
            "preceding": "right before the change",
        }
        return f"version {self.window.version} {said[self.when]}"

    @property
    def title(self) -> str:
        """The name at the start of a sentence."""
        return self.name[0].upper() + self.name[1:]

    @property
    def query(self) -> str:
        return asked("predictions.versions", self.window.model, self.window.window)


class _Difference(NamedTuple):
    statement: str
    size: float
    limit: float
    significant: bool
    samples: int
    """On the smaller side."""


def compare(metric: Metric, side: Side, reference: Side, rules: Investigation) -> Shift | None:
    """How much worse `side` is than `reference`; None where one of them has no such measurement."""
    match metric:
        case "accuracy":
            found, needed = _accuracy(side, reference, rules) or _mean_error(side, reference, rules), rules.min_labels
        case "errors":
            found, needed = _errors(side, reference, rules), rules.min_predictions
        case "latency":
            found, needed = _latency(side, reference, rules), rules.min_predictions
        case unknown:
            assert_never(unknown)
    if found is None:
        return None
    evidence = Evidence(
        id=f"{metric}.v{side.window.version}.{side.when}-v{reference.window.version}.{reference.when}",
        statement=found.statement,
        source="predictions",
        query=f"{side.query} beside {reference.query}",
        value=found.size,
        limit=found.limit,
        sample_size=found.samples,
        window=side.window.window,
    )
    enough = found.samples >= needed
    return Shift(evidence, found.size, found.limit, found.significant, enough, side.when == reference.when)


def _accuracy(side: Side, reference: Side, rules: Investigation) -> _Difference | None:
    a, b = side.window, reference.window
    if a.accuracy is None or b.accuracy is None or a.correct is None or b.correct is None:
        return None
    drop = b.accuracy - a.accuracy
    p_value = two_proportions(a.correct, a.labelled, b.correct, b.labelled)
    statement = (
        f"{side.title} is right on {share(a.accuracy)} of {a.labelled:,} labels, {reference.name} on "
        f"{share(b.accuracy)} of {b.labelled:,}: {points(drop)} {'less' if drop > 0 else 'more'} (p = {p_value:.2g})."
    )
    significant = p_value < rules.significance
    return _Difference(statement, drop, rules.min_accuracy_drop, significant, min(a.labelled, b.labelled))


def _mean_error(side: Side, reference: Side, rules: Investigation) -> _Difference | None:
    """The store keeps no spread; absolute errors are taken to spread as widely as their mean, as exponential ones do."""
    a, b = side.window, reference.window
    if a.mean_absolute_error is None or not b.mean_absolute_error or not a.labelled or not b.labelled:
        return None
    error, other = a.mean_absolute_error, b.mean_absolute_error
    p_value = normal_tail((error - other) / math.sqrt(error**2 / a.labelled + other**2 / b.labelled))
    statement = (
        f"{side.title} is off by {number(error)} on average over {a.labelled:,} labels, {reference.name} by "
        f"{number(other)} over {b.labelled:,} (p = {p_value:.2g})."
    )
    significant = p_value < rules.significance
    return _Difference(statement, error / other - 1, rules.min_mae_rise, significant, min(a.labelled, b.labelled))


def _errors(side: Side, reference: Side, rules: Investigation) -> _Difference | None:
    a, b = side.window, reference.window
    if a.error_rate is None or b.error_rate is None:
        return None
    p_value = two_proportions(a.errors, a.count, b.errors, b.count)
    statement = (
        f"{side.title} fails {share(a.error_rate)} of {a.count:,} requests, {reference.name} "
        f"{share(b.error_rate)} of {b.count:,} (p = {p_value:.2g})."
    )
    rise, significant = a.error_rate - b.error_rate, p_value < rules.significance
    return _Difference(statement, rise, rules.min_error_rise, significant, min(a.count, b.count))


def _latency(side: Side, reference: Side, rules: Investigation) -> _Difference | None:
    """By p99 on many predictions; on few, where that is the luck of one request, by p95."""
    a, b = side.window, reference.window
    many = min(a.count, b.count) >= 10 * rules.min_predictions
    name, slow, fast = ("p99", a.latency_p99_ms, b.latency_p99_ms) if many else ("p95", a.latency_p95_ms, b.latency_p95_ms)
    if slow is None or not fast:
        return None
    statement = (
        f"{side.title} answers within {milliseconds(slow)} ({name} of {a.count:,}), {reference.name} within "
        f"{milliseconds(fast)} ({b.count:,}): {slow / fast:.2g} times."
    )
    noticed = slow - fast >= rules.min_latency_rise_ms
    return _Difference(statement, slow / fast - 1, rules.latency_factor - 1, noticed, min(a.count, b.count))
