"""Whether an action helped: measured on the traffic since it was done, and on nothing older.

`holds` ends the incident, `failed` lets the undo be proposed, `waiting` looks again later. What is not confirmed by the
deadline has failed: an unproven fix is not left in place in silence.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from agents.actions import NoAction, Notify, Rollback, Scale
from agents.incident.observations import Observations
from agents.policies import Policies, Slo
from agents.proposals import Proposal, Receipt
from agents.statistics import two_proportions, wilson
from agents.wording import milliseconds, share, span
from tools.predictions.port import VersionWindow
from tools.values import Frozen, Instant


class Status(StrEnum):
    HOLDS = "holds"
    WAITING = "waiting"
    FAILED = "failed"


class Measure(Frozen):
    """One value that was looked at. `ok` is None where there is no limit, or too little to judge by."""

    name: str
    value: float | None
    limit: float | None = None
    unit: str = ""
    sample_size: int | None = None
    ok: bool | None = None


class Verification(Frozen):
    status: Status
    reason: str
    measures: tuple[Measure, ...] = ()
    at: Instant

    def measure(self, name: str) -> Measure | None:
        return next((each for each in self.measures if each.name == name), None)


def verify(proposal: Proposal, receipt: Receipt, observations: Observations, policies: Policies, now: datetime) -> Verification:
    """`observations.now` is the traffic since the change, `observations.before` the traffic that led to it."""
    match proposal.action:
        case Rollback() as rollback:
            return _rolled_back(rollback, _blames_accuracy(proposal), receipt, observations, policies, now)
        case Scale() as scale:
            return _scaled(scale, receipt, observations, policies, now)
        case Notify() | NoAction():
            return Verification(status=Status.HOLDS, reason="It changes nothing, so there is nothing to confirm.", at=now)
        case unknown:
            assert_never(unknown)


def _blames_accuracy(proposal: Proposal) -> bool:
    """Whether the finding rests on wrong answers: then the old version has to give better ones, not only good enough ones.

    A version that was rolled back for being slow may well have been the more accurate one.
    """
    leading = next(iter(proposal.finding.hypotheses), None)
    return leading is not None and any(each.startswith("accuracy.") for each in leading.supporting)


def _rolled_back(
    action: Rollback, wrong: bool, receipt: Receipt, observations: Observations, policies: Policies, now: datetime
) -> Verification:
    rules, slo = policies.verification, policies.slo_of(action.model)
    served = observations.now.version(action.to_version)
    bad = observations.before.version(action.from_version)
    if observations.champion is not None and observations.champion != action.to_version:
        reason = f"The champion is version {observations.champion} by now, not {action.to_version}."
        return Verification(status=Status.FAILED, reason=reason, at=now)
    measures = (*_operations(served, slo, rules.min_predictions), *_accuracies(served, bad, wrong, slo, rules.min_labels))
    by_name = {measure.name: measure for measure in measures}
    elapsed = now - receipt.finished_at
    if served is not None and (failure := _accuracy_failed(served, bad, wrong, slo, policies)):
        return Verification(status=Status.FAILED, reason=failure, measures=measures, at=now)
    # Nobody promised an accuracy, and nobody measured one before: then the operational promises are all there is.
    quality_counts = slo.min_accuracy is not None or (bad is not None and bad.labelled >= rules.min_labels)
    needed = [measure for measure in measures if measure.name in ("error_rate", "latency_p99")]
    if quality_counts:
        needed.append(by_name["accuracy"])
    count = served.count if served else 0
    settled = elapsed >= rules.settle + rules.hold
    if settled and count >= rules.min_predictions and all(measure.ok for measure in needed if _judged(measure, slo)):
        return Verification(status=Status.HOLDS, reason=_recovered(action, by_name), measures=measures, at=now)
    waiting = _waiting_for(settled, count, needed, slo, policies, elapsed)
    return _undecided(waiting, elapsed, policies, measures, now)


def _scaled(action: Scale, receipt: Receipt, observations: Observations, policies: Policies, now: datetime) -> Verification:
    rules, slo = policies.verification, policies.slo_of(action.model)
    capacity = observations.capacity
    busiest = max(observations.now.versions, key=lambda each: each.count, default=None)
    limit = policies.investigation.high_utilisation
    utilisation = Measure(
        name="utilisation",
        value=capacity.utilisation if capacity else None,
        limit=limit,
        ok=capacity.utilisation < limit if capacity else None,
    )
    measures = (*_operations(busiest, slo, rules.min_predictions), utilisation)
    if capacity is not None and capacity.workers != action.workers:
        reason = f"{capacity.workers} workers run by now, not {action.workers}."
        return Verification(status=Status.FAILED, reason=reason, measures=measures, at=now)
    elapsed = now - receipt.finished_at
    count = busiest.count if busiest else 0
    settled = elapsed >= rules.settle + rules.hold
    if settled and count >= rules.min_predictions and all(each.ok for each in measures if _judged(each, slo)):
        reason = f"With {action.workers} workers, {_listed(measures)}."
        return Verification(status=Status.HOLDS, reason=reason, measures=measures, at=now)
    return _undecided(_waiting_for(settled, count, measures, slo, policies, elapsed), elapsed, policies, measures, now)


def _undecided(
    waiting: str, elapsed: timedelta, policies: Policies, measures: tuple[Measure, ...], now: datetime
) -> Verification:
    if elapsed >= policies.verification.deadline:
        reason = f"Not confirmed within {span(policies.verification.deadline)}: {waiting}."
        return Verification(status=Status.FAILED, reason=reason, measures=measures, at=now)
    return Verification(status=Status.WAITING, reason=f"Waiting: {waiting}.", measures=measures, at=now)


def _operations(served: VersionWindow | None, slo: Slo, minimum: int) -> tuple[Measure, ...]:
    count = served.count if served else 0
    errors = served.error_rate if served else None
    latency = served.latency_p99_ms if served else None
    return (
        Measure(
            name="error_rate",
            value=errors,
            limit=slo.max_error_rate,
            sample_size=count,
            ok=_within(errors, slo.max_error_rate, count >= minimum),
        ),
        Measure(
            name="latency_p99",
            value=latency,
            limit=slo.max_latency_p99_ms,
            unit="ms",
            sample_size=count,
            ok=_within(latency, slo.max_latency_p99_ms, count >= minimum),
        ),
    )


def _within(value: float | None, limit: float | None, enough: bool) -> bool | None:
    return None if value is None or limit is None or not enough else value <= limit


def _accuracies(
    served: VersionWindow | None, bad: VersionWindow | None, wrong: bool, slo: Slo, minimum: int
) -> tuple[Measure, Measure]:
    accuracy, labelled = (served.accuracy, served.labelled) if served else (None, 0)
    earlier, earlier_labelled = (bad.accuracy, bad.labelled) if bad else (None, 0)
    ok: bool | None = None
    if accuracy is not None and labelled >= minimum:
        # Above the promise and, where wrong answers were the complaint, above what it replaced: either alone can be luck.
        better = not wrong or earlier is None or earlier_labelled < minimum or accuracy > earlier
        ok = better and (slo.min_accuracy is None or accuracy >= slo.min_accuracy)
    return (
        Measure(name="accuracy", value=accuracy, limit=slo.min_accuracy, sample_size=labelled, ok=ok),
        Measure(name="accuracy_before", value=earlier, sample_size=earlier_labelled),
    )


def _accuracy_failed(served: VersionWindow, bad: VersionWindow | None, wrong: bool, slo: Slo, policies: Policies) -> str | None:
    """Why it is certain already, on the labels so far, that it did not help."""
    level, minimum = policies.investigation.significance, policies.verification.min_labels
    if served.accuracy is None or served.correct is None or served.labelled < minimum:
        return None
    if slo.min_accuracy is not None and wilson(served.correct, served.labelled, level)[1] < slo.min_accuracy:
        return (
            f"Accuracy is {share(served.accuracy)} on {served.labelled} labels since the change, "
            f"below the promised {share(slo.min_accuracy)} beyond chance."
        )
    if not wrong and slo.min_accuracy is not None:
        return None
    if bad is None or bad.accuracy is None or bad.correct is None or bad.labelled < minimum:
        return None
    p_value = two_proportions(served.correct, served.labelled, bad.correct, bad.labelled)
    if served.accuracy < bad.accuracy and p_value < level:
        return f"Accuracy is {share(served.accuracy)} since the change and was {share(bad.accuracy)} before it: it got worse."
    return None


def _judged(measure: Measure, slo: Slo) -> bool:
    """Whether there is anything to hold it against."""
    return measure.limit is not None or (measure.name == "accuracy" and slo.min_accuracy is None)


def _waiting_for(
    settled: bool,
    count: int,
    measures: tuple[Measure, ...] | list[Measure],
    slo: Slo,
    policies: Policies,
    elapsed: timedelta,
) -> str:
    rules = policies.verification
    parts: list[str] = []
    if not settled:
        parts.append(f"{span(elapsed)} of {span(rules.settle + rules.hold)} have passed")
    if count < rules.min_predictions:
        parts.append(f"{count} of {rules.min_predictions} predictions have come")
    for measure in measures:
        if not _judged(measure, slo) or measure.ok:
            continue
        if measure.name == "accuracy" and (measure.sample_size or 0) < rules.min_labels:
            parts.append(f"{measure.sample_size or 0} of {rules.min_labels} labels have come")
        elif measure.ok is False:
            parts.append(f"{_phrase(measure)} is not within {_limit(measure)}")
        elif measure.value is None:
            parts.append(f"{measure.name.replace('_', ' ')} could not be measured")
    return ", ".join(parts) or "nothing was measured"


def _recovered(action: Rollback, measures: dict[str, Measure]) -> str:
    listed = _listed(tuple(measure for name, measure in measures.items() if name != "accuracy_before"))
    earlier = measures["accuracy_before"]
    was = f", after {share(earlier.value)} of version {action.from_version}" if earlier.value is not None else ""
    return f"On version {action.to_version}, {listed}{was}."


def _listed(measures: tuple[Measure, ...]) -> str:
    return ", ".join(_phrase(measure) for measure in measures if measure.value is not None) or "nothing was measured"


def _phrase(measure: Measure) -> str:
    value = measure.value if measure.value is not None else 0.0
    shown = milliseconds(value) if measure.unit == "ms" else share(value)
    size = f" ({measure.sample_size} samples)" if measure.sample_size else ""
    return f"{measure.name.replace('_', ' ')} {shown}{size}"


def _limit(measure: Measure) -> str:
    if measure.limit is None:
        return "what it was before"
    return milliseconds(measure.limit) if measure.unit == "ms" else share(measure.limit)
