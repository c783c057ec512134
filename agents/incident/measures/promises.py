"""Whether what the model promises its users (the SLO) is kept now."""

from collections.abc import Iterator
from dataclasses import dataclass

from agents.evidence import Evidence
from agents.incident.measures.shifts import asked
from agents.incident.observations import Observations
from agents.policies import Policies
from agents.wording import milliseconds, share
from tools.values import Window


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
    # What failed before the alerts began is not what they are about; what is right shows hours later.
    lately = observations.lately
    period = lately if lately is not None and lately.count >= rules.min_predictions else observations.now
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
            enough=count >= rules.min_predictions,
        )
    if slo.max_latency_p99_ms is not None:
        # Quantiles do not add up; the slowest version that answered a relevant part is what users feel.
        slow = [each.latency_p99_ms for each in versions if each.count >= rules.min_predictions and each.latency_p99_ms]
        slowest = max(slow, default=None)
        yield _promise(
            "latency", "p99", slowest, slo.max_latency_p99_ms, count, period.window, observations, enough=bool(slow), unit="ms"
        )


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
