"""From a measured drift to a finding: the cause, with the figures that speak for it and against the others."""

from collections.abc import Iterator
from datetime import datetime

from agents.drift.case import DriftCase
from agents.drift.causes import DriftFinding
from agents.drift.methods import TESTS
from agents.drift.rules import Method
from agents.drift.verdicts import Cause as Measured
from agents.drift.verdicts import FeatureDrift
from agents.evidence import Cause, Evidence, Finding, Hypothesis

_CAUSES: dict[Measured, Cause] = {
    "none": Cause.FALSE_ALARM,
    "covariate_drift": Cause.DATA_DRIFT,
    "label_shift": Cause.LABEL_SHIFT,
    "concept_drift": Cause.CONCEPT_DRIFT,
    "data_quality": Cause.DATA_QUALITY,
    "seasonality": Cause.SEASONALITY,
    "undetermined": Cause.UNRESOLVED,
}
_UNITS: dict[Method, str] = {
    "wasserstein": "standard deviations",
    "jensen_shannon": "Jensen-Shannon distance",
    "psi": "PSI",
    "ks": "Kolmogorov-Smirnov p",
    "chi_squared": "chi-squared p",
}
_SKEWED = ("covariate_drift", "data_quality")
_MOST_FEATURES = 10
"""Told one by one; the others are in `GET /v1/drift`."""
_LEADING = 0.9
"""The causes are told apart by rules, not weighed: one stands, the others fall."""


def assess(case: DriftCase, now: datetime) -> Finding:
    if case.model is None:
        return _finding(case, Cause.UNRESOLVED, "The alerts name no model, so there is nothing to compare.", (), (), now)
    if case.measured is None:
        lacking = ", ".join(sorted({each.source for each in case.missing}))
        return _finding(case, Cause.UNRESOLVED, f"The traffic of {case.model} could not be read ({lacking}).", (), (), now)
    measured, cause = case.measured, _CAUSES[case.measured.cause]
    evidence = tuple(_evidence(case, measured))
    reason = f"{measured.reason[:1].upper()}{measured.reason[1:]}."
    if cause in (Cause.FALSE_ALARM, Cause.UNRESOLVED) and case.skew is not None and case.skew.cause in _SKEWED:
        # Nothing moved since: it has been unlike its training from the first day on.
        cause = _CAUSES[case.skew.cause]
        reason = f"Beside what version {case.champion} was trained on: {case.skew.reason}."
    hypotheses = [
        Hypothesis(cause=cause, score=_LEADING, reason=reason, supporting=tuple(each.id for each in evidence)),
        *(Hypothesis(cause=other, score=0.0, reason=_against(measured)) for other in _others(cause)),
    ]
    if cause is Cause.UNRESOLVED:
        hypotheses = hypotheses[1:]
    return _finding(case, cause, reason, tuple(hypotheses), evidence, now)


def _finding(
    case: DriftCase,
    cause: Cause,
    summary: str,
    hypotheses: tuple[Hypothesis, ...],
    evidence: tuple[Evidence, ...],
    now: datetime,
) -> Finding:
    return Finding(
        cause=cause,
        summary=summary,
        hypotheses=hypotheses,
        evidence=evidence,
        missing=case.missing,
        model=case.model,
        version=case.champion,
        assessed_at=now,
    )


def _others(cause: Cause) -> Iterator[Cause]:
    told = (Cause.DATA_DRIFT, Cause.LABEL_SHIFT, Cause.CONCEPT_DRIFT, Cause.DATA_QUALITY, Cause.SEASONALITY)
    return (each for each in told if each is not cause)


def _against(measured: DriftFinding) -> str:
    return " ".join(measured.considered) or "What was measured does not speak for it."


def _evidence(case: DriftCase, measured: DriftFinding) -> Iterator[Evidence]:
    query = f"distributions({case.model})"
    told = [each for each in measured.features.features if each.drifted or each.faults]
    for feature in told[:_MOST_FEATURES]:
        yield _of_feature(feature, "feature", query, case)
    for feature in case.skew.features[:_MOST_FEATURES] if case.skew is not None else ():
        if feature.drifted or feature.faults:
            yield _of_feature(feature, "training", f"reference({case.model}, {case.champion})", case)
    for answer in measured.answers.features:
        if answer.drifted:
            yield _of_feature(answer, "answer", query, case)
    performance, before = measured.performance, case.before
    if performance.accuracy is not None and performance.interval is not None:
        low, high = performance.interval
        was = f", it was {before.accuracy:.1%}" if before is not None and before.accuracy is not None else ""
        yield Evidence(
            id="accuracy.current",
            statement=f"{performance.accuracy:.1%} of the labelled answers are right (95 % interval {low:.1%} to {high:.1%}; "
            f"{performance.labelled:,} of {performance.answered:,} are labelled){was}.",
            source="predictions",
            query=f"outcomes({case.model})",
            value=performance.accuracy,
            unit="share",
            sample_size=performance.labelled,
            window=case.current,
        )
    if performance.estimate is not None:
        yield Evidence(
            id="accuracy.estimate",
            statement=f"Of the unlabelled an estimated {performance.estimate:.1%} are right, if inputs mean what they did.",
            source="predictions",
            query=f"outcomes({case.model})",
            value=performance.estimate,
            unit="share",
            sample_size=performance.answered - performance.labelled,
            window=case.current,
        )


def _of_feature(feature: FeatureDrift, kind: str, query: str, case: DriftCase) -> Evidence:
    measure = _UNITS[feature.method]
    moved = f"differs with a {measure} of" if feature.method in TESTS else "moved by"
    unit = "" if feature.method in TESTS else f" {measure}"
    score = f"{moved} {feature.score:.3g}{unit}" if feature.score is not None else "cannot be compared"
    surely = f", p {feature.p_value:.2g}" if feature.p_value is not None else ""
    faults = f"; {'; '.join(feature.faults)}" if feature.faults else ""
    return Evidence(
        id=f"drift.{kind}.{feature.name}"[:200],
        statement=f"{feature.name} {score} (limit {feature.threshold:g}{surely}){faults}.",
        source="predictions",
        query=query,
        value=feature.score,
        unit=measure,
        limit=feature.threshold,
        sample_size=feature.n_current,
        window=case.current,
    )
