"""How versions answer: against each other, and against themselves a season ago.

Two questions that must not be confused. Is the new version worse than the one it replaced (best asked on the same period, where
both meet the same inputs)? And did a version that nobody touched get worse, which no rollout explains?
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agents.evidence import Evidence
from agents.incident.measures.comparisons import METRICS, Metric, Side, When, compare
from agents.incident.measures.shifts import Shift, asked
from agents.incident.observations import Observations
from agents.policies import Intake, Investigation, Policies
from agents.statistics import two_proportions
from agents.subjects import version_of
from agents.wording import milliseconds, moment, share
from tools.predictions.port import Period, Slice


@dataclass(frozen=True)
class Rollout:
    """The champion's last change, where it is recent enough to matter: no older than the traffic that is compared with."""

    new: str
    previous: str | None
    at: datetime
    before_alerts: bool
    evidence: Evidence


def rollout(observations: Observations) -> Rollout | None:
    change = observations.last_change
    if change is None or change.after is None or change.at < observations.before.window.start:
        return None
    since = min((alert.starts_at for alert in observations.alerts), default=observations.now.window.end)
    noticed = " (noticed afterwards, not done through OPPEN)" if change.origin == "external" else ""
    came_from = f"version {change.before}" if change.before else "nothing"
    evidence = Evidence(
        id="rollout",
        statement=f"{change.actor} made version {change.after} champion after {came_from} at {moment(change.at)}{noticed}.",
        source="registry",
        query=f"registry.history(model={observations.model})",
        value=change.after,
    )
    return Rollout(change.after, change.before, change.at, change.at <= since, evidence)


@dataclass(frozen=True)
class Named:
    version: str
    evidence: Evidence


def named(observations: Observations, change: Rollout | None, intake: Intake) -> Named | None:
    """The one version that the alerts name, where it is one of the two of the rollout.

    What `version` means in somebody's labels is theirs (it may be that of an exporter), so any other says nothing.
    """
    found = {version for alert in observations.alerts if (version := version_of(alert, intake)) is not None}
    if change is None or len(found) != 1 or not found <= {change.new, change.previous}:
        return None
    (version,) = found
    statement = f"The alerts name version {version}."
    return Named(
        version,
        Evidence(id="alerts.version", statement=statement, source="alert", query="labels and annotations", value=version),
    )


def levels(observations: Observations, policies: Policies) -> Iterator[Evidence]:
    """What each version measured, by itself."""
    slo = policies.slo_of(observations.model or "")
    for when, period in _periods(observations):
        for each in period.versions:
            query = asked("predictions.versions", observations.model, each.window)
            side = Side(each, when).title
            if each.accuracy is not None:
                yield Evidence(
                    id=f"accuracy.v{each.version}.{when}",
                    statement=f"{side}: {share(each.accuracy)} right of {each.labelled:,} labelled predictions.",
                    source="predictions",
                    query=query,
                    value=each.accuracy,
                    limit=slo.min_accuracy,
                    sample_size=each.labelled,
                    window=each.window,
                )
            if each.count:
                latency = f", p99 {milliseconds(each.latency_p99_ms)}" if each.latency_p99_ms is not None else ""
                yield Evidence(
                    id=f"service.v{each.version}.{when}",
                    statement=f"{side}: {each.count:,} predictions, {share(each.errors / each.count)} errors{latency}.",
                    source="predictions",
                    query=query,
                    value=each.errors / each.count,
                    limit=slo.max_error_rate,
                    sample_size=each.count,
                    window=each.window,
                )


def against_previous(observations: Observations, change: Rollout, rules: Investigation) -> dict[Metric, Shift]:
    """The new version now against the one before it: on the same period if that has enough, else on the nearest that does."""
    new = observations.now.version(change.new)
    if new is None or change.previous is None:
        return {}
    found: dict[Metric, Shift] = {}
    for metric in METRICS:
        side = _latest(metric, change.new, observations, rules) or Side(new, "now")
        shifts = [
            shift
            for when, period in _periods(observations, lately=side.when == "lately")
            if (old := period.version(change.previous)) is not None
            and (shift := compare(metric, side, Side(old, when), rules)) is not None
        ]
        # Ordered from the nearest; one without enough samples is only kept to say that there was too little.
        best = next((each for each in shifts if each.enough), shifts[0] if shifts else None)
        if best is not None:
            found[metric] = best
    return found


def steady(observations: Observations, version: str | None, rules: Investigation) -> dict[Metric, Shift]:
    """The same version now and a season before."""
    now, before = observations.now.version(version), observations.before.version(version)
    if now is None or before is None:
        return {}
    pairs = (
        (each, compare(each, _latest(each, version, observations, rules) or Side(now, "now"), Side(before, "before"), rules))
        for each in METRICS
    )
    return {metric: shift for metric, shift in pairs if shift is not None}


def _latest(metric: Metric, version: str | None, observations: Observations, rules: Investigation) -> Side | None:
    """The version since the alerts began, for what shows at once, where that is enough to go by. Labels are late: of those
    answers hardly any has come."""
    if metric == "accuracy" or observations.lately is None:
        return None
    found = observations.lately.version(version)
    return Side(found, "lately") if found is not None and found.count >= rules.min_predictions else None


def worst_slice(observations: Observations, change: Rollout, rules: Investigation) -> Shift | None:
    """The slice in which the new version lost most against the previous one, beyond chance over all slices looked at."""
    new = observations.now.slices.get(change.new, ())
    old = next((each for _, period in _periods(observations) if (each := period.slices.get(change.previous or "", ()))), ())
    before = {(each.feature, each.value): each for each in old}
    pairs = [(each, before[key]) for each in new if (key := (each.feature, each.value)) in before]
    pairs = [(a, b) for a, b in pairs if min(a.labelled, b.labelled) >= rules.min_slice_labels]
    if not pairs:
        return None
    level = rules.significance / len(pairs)
    losses = [
        (b.correct / b.labelled - a.correct / a.labelled, a, b)
        for a, b in pairs
        if two_proportions(a.correct, a.labelled, b.correct, b.labelled) < level
    ]
    if not losses:
        return None
    drop, a, b = max(losses, key=lambda each: each[0])
    return _slice_shift(drop, a, b, observations, change, rules)


def _slice_shift(
    drop: float, now: Slice, then: Slice, observations: Observations, change: Rollout, rules: Investigation
) -> Shift:
    return Shift(
        evidence=Evidence(
            id=f"slice.v{change.new}.now",
            statement=(
                f"Worst slice: where {now.feature} is {now.value!r}, version {change.new} is right on "
                f"{share(now.correct / now.labelled)} of {now.labelled:,} labels, "
                f"version {change.previous} was on {share(then.correct / then.labelled)} of {then.labelled:,}."
            ),
            source="predictions",
            query=asked("predictions.slices", observations.model, observations.now.window, version=change.new),
            value=now.correct / now.labelled,
            sample_size=now.labelled,
            window=observations.now.window,
        ),
        size=drop,
        limit=rules.min_accuracy_drop,
        significant=True,
        enough=True,
    )


def _periods(observations: Observations, *, lately: bool = False) -> tuple[tuple[When, Period], ...]:
    latest: tuple[tuple[When, Period], ...] = ()
    if lately and observations.lately is not None:
        latest = (("lately", observations.lately),)
    preceding: tuple[tuple[When, Period], ...] = ()
    if observations.preceding is not None:
        preceding = (("preceding", observations.preceding),)
    return (*latest, ("now", observations.now), *preceding, ("before", observations.before))
