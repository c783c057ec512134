"""Our own monitors: what each says of one window, and when that is raised. Whoever runs them keeps where each stands.

A monitor that cannot tell says so, and nothing changes: neither silence nor a store that is away is good or bad news.
"""

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from agents.alerts import Severity
from agents.datasets import Judgement
from agents.drift.causes import DriftFinding
from agents.drift.verdicts import Comparison
from agents.freshness import Freshness
from agents.policies import CostMonitor, DatasetMonitor, Monitor, Policies, Slo
from agents.statistics import wilson
from agents.wording import milliseconds, share
from tools.predictions.port import VersionWindow, Volume
from tools.values import Frozen, Instant

NAMES: dict[Monitor | DatasetMonitor | CostMonitor, str] = {
    "drift": "ModelDrift",
    "data_quality": "ModelDataQuality",
    "skew": "ModelTrainingSkew",
    "performance": "ModelBelowSlo",
    "freshness": "ModelTrafficStopped",
    "dataset_quality": "DatasetQuality",
    "dataset_freshness": "DatasetStale",
    "cost": "CostUnusual",
    "budget": "BudgetAtRisk",
}
"""Monitor -> the alert's name."""
_MOVED = frozenset({"covariate_drift", "label_shift", "concept_drift"})
_UNTOLD = frozenset({"undetermined", "data_quality"})
"""Broken values hide whether what is behind them moved: they neither raise drift nor take it back."""


class Check(Frozen):
    """What one monitor says of one window."""

    monitor: Monitor | DatasetMonitor | CostMonitor
    bad: bool | None
    """None: it cannot be told."""
    summary: str
    severity: Severity = "warning"


class Standing(Frozen):
    """Where a monitor stands: `streak` windows in a row were bad (above 0) or good (below)."""

    streak: int = 0
    raised_at: Instant | None = None
    """The window's end at which it was raised; None while nothing is."""


class Step(Frozen):
    standing: Standing
    alert: Literal["firing", "resolved"] | None = None
    raised_at: Instant | None = Field(default=None)
    """Of the alert: with its monitor and model its identity."""


def advance(
    standing: Standing,
    check: Check,
    tick: datetime,
    in_a_row: int,
    *,
    since: datetime | None = None,
    repeat: timedelta | None = None,
) -> Step:
    """So many windows in a row raise an alert, and so many take it back. `since`: the window looked at before; what is still
    bad is raised again, as the same alert, when another `repeat` has begun meanwhile, or several."""
    if check.bad is None:
        return Step(standing=standing)
    sign = 1 if check.bad else -1
    streak = standing.streak + sign if standing.streak * sign > 0 else sign
    raised = standing.raised_at
    if check.bad and raised is None and streak >= in_a_row:
        return Step(standing=Standing(streak=streak, raised_at=tick), alert="firing", raised_at=tick)
    if not check.bad and raised is not None and -streak >= in_a_row:
        return Step(standing=Standing(streak=streak), alert="resolved", raised_at=raised)
    moved = Standing(streak=streak, raised_at=raised)
    if not check.bad or raised is None or since is None or repeat is None:
        return Step(standing=moved)
    due = (tick - raised) // repeat > (max(since, raised) - raised) // repeat
    return Step(standing=moved, alert="firing", raised_at=raised) if due else Step(standing=moved)


_NOT_FRESH = "Not, or not yet, in all of the latest stretches by themselves: it may be one odd hour."


def drift(found: DriftFinding, *, fresh: bool = True) -> Check:
    """`fresh`: what moved did so in the window's latest stretches as well. Without, it is no news, neither good nor bad: an
    hour that was odd is in as many windows as a day has, and counts in none."""
    told = f"{found.cause.replace('_', ' ').capitalize()}: {found.reason}."
    bad = None if found.cause in _UNTOLD else found.cause in _MOVED
    if bad and not fresh:
        return Check(monitor="drift", bad=None, summary=f"{told} {_NOT_FRESH}")
    return Check(monitor="drift", bad=bad, summary=told)


def data_quality(found: DriftFinding) -> Check:
    if found.cause == "data_quality":
        return Check(monitor="data_quality", bad=True, summary=f"Broken values: {found.reason}.")
    bad = None if found.cause == "undetermined" else False
    return Check(monitor="data_quality", bad=bad, summary="No value is broken." if bad is False else found.reason)


def skew(found: Comparison | None, version: str | None, *, fresh: bool = True) -> Check:
    """`found`: inputs now beside those that the champion was trained on. `fresh`: as of `drift`."""
    if found is None or found.cause == "undetermined":
        told = "Its training left nothing to compare with." if found is None else f"{found.reason.capitalize()}."
        return Check(monitor="skew", bad=None, summary=told)
    told = f"Beside what version {version} was trained on: {found.reason}."
    bad = found.cause != "none"
    if bad and not fresh:
        return Check(monitor="skew", bad=None, summary=f"{told} {_NOT_FRESH}")
    return Check(monitor="skew", bad=bad, summary=told)


def performance(versions: tuple[VersionWindow, ...], slo: Slo, policies: Policies) -> Check:
    """Whether what was promised is certainly not kept, beyond chance, by any version that answers."""
    rules, level = policies.verification, policies.investigation.significance
    told, broken = False, []
    for each in versions:
        name = f"version {each.version}"
        if each.count >= rules.min_predictions and slo.max_error_rate is not None:
            told = True
            if wilson(each.errors, each.count, level)[0] > slo.max_error_rate:
                broken.append(f"{name} fails {share(each.errors / each.count)} of {each.count:,} requests")
        if each.count >= rules.min_predictions and slo.max_latency_p99_ms is not None and each.latency_p99_ms is not None:
            told = True
            if each.latency_p99_ms > slo.max_latency_p99_ms:
                broken.append(f"{name} has a p99 of {milliseconds(each.latency_p99_ms)}")
        if slo.min_accuracy is not None and each.accuracy is not None and each.correct is not None:
            if each.labelled < rules.min_labels:
                continue
            told = True
            if wilson(each.correct, each.labelled, level)[1] < slo.min_accuracy:
                broken.append(f"{name} is right in {share(each.accuracy)} of {each.labelled:,} labelled answers")
    if broken:
        return Check(
            monitor="performance", bad=True, summary=f"Below what was promised: {'; '.join(broken)}.", severity="critical"
        )
    if not told:
        return Check(monitor="performance", bad=None, summary="Too little traffic, or nothing is promised.")
    return Check(monitor="performance", bad=False, summary="What was promised is kept.")


def freshness(before: tuple[Volume, ...], silence: tuple[Volume, ...]) -> Check:
    """`silence`: the latest stretch, as long as policy lets a model be silent; `before`: what came earlier."""
    was, now = sum(each.count for each in before), sum(each.count for each in silence)
    since = silence[0].start if silence else None
    if now:
        return Check(monitor="freshness", bad=False, summary=f"{now:,} predictions have come lately.")
    if not was or since is None:
        return Check(monitor="freshness", bad=None, summary="Nothing came, and nothing had come before.")
    return Check(monitor="freshness", bad=True, summary=f"No prediction has come since {since:%Y-%m-%d %H:%M} UTC.")


def dataset_quality(found: Judgement) -> Check:
    """Critical where nothing is taken in any more."""
    refused = any(each.respect == "refused" for each in found.degradations)
    severity: Severity = "critical" if refused else "warning"
    return Check(monitor="dataset_quality", bad=found.bad, summary=found.summary, severity=severity)


def dataset_freshness(found: Freshness) -> Check:
    return Check(monitor="dataset_freshness", bad=found.bad, summary=found.summary)
