"""Whether an action helped: measured on the traffic since it was done, and on nothing older.

`holds` ends the incident, `failed` lets the undo be proposed, `waiting` looks again later. What is not confirmed by the
deadline has failed: an unproven fix is not left in place in silence.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from agents.actions import NoAction, Notify, QuarantineData, ReleaseData, Retrain, Rollback, Scale
from agents.incident.observations import Observations
from agents.measures import Measure, certainly_wrong, lacking, listed, operations, quality, utilisation
from agents.policies import Policies, Slo
from agents.proposals import Proposal, Receipt
from agents.statistics import wilson
from agents.wording import span
from tools.predictions.port import VersionWindow
from tools.values import Frozen, Instant


class Status(StrEnum):
    HOLDS = "holds"
    WAITING = "waiting"
    FAILED = "failed"


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
            look = _Look(observations, policies, policies.slo_of(rollback.model), now - receipt.finished_at, now)
            return _rolled_back(rollback, look, must_improve=_blames_accuracy(proposal))
        case Scale() as scale:
            look = _Look(observations, policies, policies.slo_of(scale.model), now - receipt.finished_at, now)
            return _scaled(scale, look)
        case Retrain():
            held = "It has changed nothing that serves: the challenger is measured before it does."
            return Verification(status=Status.HOLDS, reason=held, at=now)
        case QuarantineData():
            held = (
                "Until it is released, no training learns from it and no drift is measured against it. "
                "What makes the values is still to be repaired: see the runbook."
            )
            return Verification(status=Status.HOLDS, reason=held, at=now)
        case ReleaseData():
            held = "It has changed nothing that serves: trainings and comparisons have it again."
            return Verification(status=Status.HOLDS, reason=held, at=now)
        case Notify() | NoAction():
            return Verification(status=Status.HOLDS, reason="It changes nothing, so there is nothing to confirm.", at=now)
        case unknown:
            assert_never(unknown)


def await_labels(
    served: VersionWindow | None, min_accuracy: float, policies: Policies, *, elapsed: timedelta, now: datetime
) -> Verification:
    """Whether a version is right often enough, for a gate that must not open before it is known: `served` is what it answered
    since the gate was reached, `elapsed` how long that is.

    It waits for `verification.min_labels` labels, fails early where the accuracy is too low beyond chance, and at the deadline
    for want of labels. An estimate for the unlabelled ones opens nothing.
    """
    rules, level = policies.verification, policies.investigation.significance
    count, labelled = (served.count, served.labelled) if served is not None else (0, 0)
    accuracy = served.accuracy if served is not None else None
    correct = served.correct if served is not None else None
    enough = labelled >= rules.min_labels and accuracy is not None and correct is not None
    ok = accuracy >= min_accuracy if enough and accuracy is not None else None
    measure = Measure(name="accuracy", value=accuracy, limit=min_accuracy, sample_size=labelled, ok=ok)
    coverage = f" ({labelled / count:.0%} of {count:,} answers)" if count else ""
    if enough and correct is not None and wilson(correct, labelled, level)[1] < min_accuracy:
        status, reason = Status.FAILED, f"{measure} is below {measure.bound} beyond chance."
    elif ok:
        status, reason = Status.HOLDS, f"{measure} is at least {measure.bound}{coverage}."
    else:
        wanting = f"{measure} is not yet {measure.bound}" if enough else lacking(measure, rules.min_labels)
        late = elapsed >= rules.deadline
        told = f"{wanting}{coverage}"
        status = Status.FAILED if late else Status.WAITING
        reason = f"Not confirmed within {span(rules.deadline)}: {told}." if late else f"Waiting: {told}."
    return Verification(status=status, reason=reason, measures=(measure,), at=now)


@dataclass(frozen=True)
class _Look:
    """One look at the world since the change."""

    observations: Observations
    policies: Policies
    slo: Slo
    elapsed: timedelta
    now: datetime

    def failed(self, reason: str, measures: tuple[Measure, ...] = ()) -> Verification:
        return Verification(status=Status.FAILED, reason=reason, measures=measures, at=self.now)

    def concluded(self, held: str, predictions: int, measures: tuple[Measure, ...]) -> Verification:
        """`held` is the reason when nothing is wanting; `predictions` is how many have come since the change."""
        rules = self.policies.verification
        wanting = [lack for each in measures if (lack := lacking(each, rules.min_labels)) is not None]
        if predictions < rules.min_predictions:
            wanting = [f"{predictions} of {rules.min_predictions} predictions have come", *wanting]
        if self.elapsed < (hold := rules.settle + rules.hold):
            wanting = [f"{span(self.elapsed)} of {span(hold)} have passed", *wanting]
        if not wanting:
            return Verification(status=Status.HOLDS, reason=held, measures=measures, at=self.now)
        if self.elapsed >= rules.deadline:
            return self.failed(f"Not confirmed within {span(rules.deadline)}: {', '.join(wanting)}.", measures)
        return Verification(status=Status.WAITING, reason=f"Waiting: {', '.join(wanting)}.", measures=measures, at=self.now)


def _rolled_back(action: Rollback, look: _Look, *, must_improve: bool) -> Verification:
    observations, rules = look.observations, look.policies.verification
    if observations.champion is not None and observations.champion != action.to_version:
        return look.failed(f"The champion is version {observations.champion} by now, not {action.to_version}.")
    served, bad = observations.now.version(action.to_version), observations.before.version(action.from_version)
    right, was_right = quality(served, bad, look.slo, rules.min_labels, must_improve=must_improve)
    measures = (*operations(served, look.slo, rules.min_predictions), right, was_right)
    if served is not None:
        failure = certainly_wrong(served, bad, look.slo, look.policies, must_improve=must_improve)
        if failure is not None:
            return look.failed(failure, measures)
    after = f"; version {action.from_version}: {was_right}" if was_right.value is not None else ""
    held = f"On version {action.to_version}, {listed(measures[:-1])}{after}."
    return look.concluded(held, served.count if served else 0, measures)


def _scaled(action: Scale, look: _Look) -> Verification:
    observations, rules = look.observations, look.policies.verification
    busiest = max(observations.now.versions, key=lambda each: each.count, default=None)
    used = utilisation(observations, look.policies.investigation.high_utilisation)
    measures = (*operations(busiest, look.slo, rules.min_predictions), used)
    capacity = observations.capacity
    if capacity is not None and capacity.workers != action.workers:
        return look.failed(f"{capacity.workers} workers run by now, not {action.workers}.", measures)
    held = f"With {action.workers} workers, {listed(measures)}."
    return look.concluded(held, busiest.count if busiest else 0, measures)


def _blames_accuracy(proposal: Proposal) -> bool:
    """Whether the finding rests on wrong answers: then the old version has to give better ones, not only good enough ones.

    A version that was rolled back for being slow may well have been the more accurate one.
    """
    leading = next(iter(proposal.finding.hypotheses), None)
    return leading is not None and any(each.startswith("accuracy.") for each in leading.supporting)
