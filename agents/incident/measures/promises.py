"""Whether what the model promises its users (the SLO) is kept now."""

from collections.abc import Iterator
from dataclasses import dataclass

from agents.evidence import Evidence
from agents.incident.measures.shifts import asked
from agents.incident.observations import Observations
from agents.policies import Investigation, Policies, Slo
from agents.statistics import wilson
from agents.wording import milliseconds, share
from tools.predictions.port import Period, VersionWindow
from tools.values import Window

_FEW = 20
"""Answers from which on one in twenty is more than one odd one."""


@dataclass(frozen=True)
class Promise:
    kept: bool | None
    """None: there are too few samples to tell."""
    evidence: Evidence


def promises(observations: Observations, policies: Policies) -> tuple[Promise, ...]:
    """One per promise that was made, over all versions that answered."""
    return tuple(_promises(observations, policies)) if observations.model is not None else ()


def _promises(observations: Observations, policies: Policies) -> Iterator[Promise]:
    slo, rules = policies.slo_of(observations.model or ""), policies.investigation
    versions = observations.now.versions
    if slo.min_accuracy is not None:
        known = [each for each in versions if each.correct is not None]
        labelled, right = sum(each.labelled for each in known), sum(each.correct or 0 for each in known)
        yield _promise(
            "accuracy",
            "right",
            right / labelled if labelled else None,
            slo.min_accuracy,
            labelled,
            observations.now.window,
            observations,
            enough=labelled >= rules.min_labels,
            least=True,
        )
    period = _looked_at(observations, slo, rules)
    versions, count = period.versions, period.count
    if slo.max_error_rate is not None:
        rate = sum(each.errors for each in versions) / count if count else None
        yield _promise(
            "errors",
            "failed",
            rate,
            slo.max_error_rate,
            count,
            period.window,
            observations,
            enough=count >= rules.min_predictions or _fails(period, slo, rules),
        )
    if slo.max_latency_p99_ms is not None:
        # Quantiles do not add up; the slowest version that answered a relevant part is what users feel.
        many = [each for each in versions if each.count >= rules.min_predictions or _crawls(each, slo)]
        slow = [each.latency_p99_ms for each in many if each.latency_p99_ms]
        slowest = max(slow, default=None)
        yield _promise(
            "latency", "p99", slowest, slo.max_latency_p99_ms, count, period.window, observations, enough=bool(slow), unit="ms"
        )


def _looked_at(observations: Observations, slo: Slo, rules: Investigation) -> Period:
    """For what shows at once: since the alerts began, where that is enough to go by, or few answers already prove it broken.
    What was before is not what they are about."""
    lately = observations.lately
    if lately is None:
        return observations.now
    proven = _fails(lately, slo, rules) or any(_crawls(each, slo) for each in lately.versions)
    return lately if proven or lately.count >= rules.min_predictions else observations.now


def _fails(period: Period, slo: Slo, rules: Investigation) -> bool:
    """More requests fail than promised, beyond chance, on however few."""
    errors = sum(each.errors for each in period.versions)
    return slo.max_error_rate is not None and wilson(errors, period.count, rules.significance)[0] > slo.max_error_rate


def _crawls(version: VersionWindow, slo: Slo) -> bool:
    """One in twenty is slower than one in a hundred may be: that needs no hundreds to be seen."""
    limit, slow = slo.max_latency_p99_ms, version.latency_p95_ms
    return limit is not None and slow is not None and version.count >= _FEW and slow > limit


def _promise(
    name: str,
    word: str,
    value: float | None,
    limit: float,
    samples: int,
    window: Window,
    observations: Observations,
    *,
    enough: bool,
    least: bool = False,
    unit: str = "",
) -> Promise:
    shown = milliseconds if unit == "ms" else share
    measured = f"{shown(value)} {word} of {samples:,}" if value is not None else "nothing measured"
    kept = None if value is None or not enough else (value >= limit if least else value <= limit)
    state = {True: "kept", False: "broken", None: "not to be judged on so few"}[kept]
    evidence = Evidence(
        id=f"promise.{name}",
        statement=f"Promised {'at least' if least else 'at most'} {shown(limit)}, {measured}: {state}.",
        source="predictions",
        query=asked("predictions.versions", observations.model, window),
        value=value,
        unit=unit,
        limit=limit,
        sample_size=samples,
        window=window,
    )
    return Promise(kept, evidence)
