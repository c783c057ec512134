"""Whether an action helped: measured on the traffic since it was done, and on nothing older.

`holds` ends the incident, `failed` lets the undo be proposed, `waiting` looks again later. What is not confirmed by the
deadline has failed: an unproven fix is not left in place in silence.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from agents.actions import (
    AbortRollout,
    ConsolidateTraining,
    ExpireArtifacts,
    MoveToSpot,
    NoAction,
    Notify,
    Promote,
    Quantize,
    QuarantineData,
    ReleaseData,
    RestoreArtifacts,
    Retrain,
    Rollback,
    Scale,
    SetBatching,
    StartExperiment,
    StartRollout,
    StopExperiment,
)
from agents.incident.observations import Observations
from agents.measures import Measure, certainly_wrong, lacking, listed, operations, quality, utilisation
from agents.policies import Policies, Slo
from agents.proposals import Proposal, Receipt
from agents.wording import span
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
            return _answers(rollback.to_version, rollback.from_version, look, must_improve=_blames_accuracy(proposal))
        case AbortRollout() as abort:
            look = _Look(observations, policies, policies.slo_of(abort.model), now - receipt.finished_at, now)
            # Taken back by the route alone, it has not been looked at whose the alias is.
            return _answers(abort.to_version, abort.version, look, must_improve=False, unread=abort.blind)
        case Promote() as promote:
            look = _Look(observations, policies, policies.slo_of(promote.model), now - receipt.finished_at, now)
            return _answers(promote.version, promote.from_version, look, must_improve=False)
        case StopExperiment() as stop:
            look = _Look(observations, policies, policies.slo_of(stop.model), now - receipt.finished_at, now)
            return _answers(stop.to_version, stop.versions[0], look, must_improve=False, unread=stop.blind)
        case StartRollout():
            raise TypeError("a rollout is looked at stage by stage, and what ends it is verified")
        case StartExperiment():
            raise TypeError("an experiment is looked at arm by arm, and what ends it is verified")
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
        case SetBatching() as batching:
            look = _Look(observations, policies, policies.slo_of(batching.model), now - receipt.finished_at, now)
            return _batched(batching, look)
        case MoveToSpot(pricing=pricing):
            held = f"It has changed nothing that serves: trainings are bought as {pricing.value} from now on."
            return Verification(status=Status.HOLDS, reason=held, at=now)
        case ExpireArtifacts():
            held = "It has changed nothing that serves: what was discarded carries no alias and has no traffic."
            return Verification(status=Status.HOLDS, reason=held, at=now)
        case RestoreArtifacts():
            gone = f" {len(receipt.left_out)} of it are gone for good." if receipt.left_out else ""
            return Verification(status=Status.HOLDS, reason=f"What was still put aside is there again.{gone}", at=now)
        case Quantize():
            raise TypeError("an experiment is looked at until it ends, and what comes of it is proposed")
        case ConsolidateTraining(kept=kept):
            held = f"It has changed nothing that serves: {kept} makes the version."
            return Verification(status=Status.HOLDS, reason=held, at=now)
        case Notify() | NoAction():
            return Verification(status=Status.HOLDS, reason="It changes nothing, so there is nothing to confirm.", at=now)
        case unknown:
            assert_never(unknown)


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

    def concluded(self, held: str, predictions: int, measures: tuple[Measure, ...], lacks: str = "") -> Verification:
        """`held` is the reason when nothing is wanting; `predictions` is how many have come since the change; `lacks`: what
        else is wanting."""
        rules = self.policies.verification
        wanting = [lack for each in measures if (lack := lacking(each, rules.min_labels)) is not None]
        wanting += [lacks] if lacks else []
        if predictions < rules.min_predictions:
            wanting = [f"{predictions} of {rules.min_predictions} predictions have come", *wanting]
        if self.elapsed < (hold := rules.settle + rules.hold):
            wanting = [f"{span(self.elapsed)} of {span(hold)} have passed", *wanting]
        if not wanting:
            return Verification(status=Status.HOLDS, reason=held, measures=measures, at=self.now)
        if self.elapsed >= rules.deadline:
            return self.failed(f"Not confirmed within {span(rules.deadline)}: {', '.join(wanting)}.", measures)
        return Verification(status=Status.WAITING, reason=f"Waiting: {', '.join(wanting)}.", measures=measures, at=self.now)


def _answers(version: str, other: str, look: _Look, *, must_improve: bool, unread: bool = False) -> Verification:
    """Whether `version`, which has all the traffic since, keeps what was promised; `other` is the one that it took it from.
    `unread`: who is champion was not known when it got it."""
    observations, rules = look.observations, look.policies.verification
    if observations.champion is not None and observations.champion != version:
        return look.failed(f"The champion is version {observations.champion} by now, not {version}.")
    served, bad = observations.now.version(version), observations.before.version(other)
    right, was_right = quality(served, bad, look.slo, rules.min_labels, must_improve=must_improve)
    measures = (*operations(served, look.slo, rules.min_predictions), right, was_right)
    if served is not None:
        failure = certainly_wrong(served, bad, look.slo, look.policies, must_improve=must_improve)
        if failure is not None:
            return look.failed(failure, measures)
    after = f"; version {other}: {was_right}" if was_right.value is not None else ""
    held = f"On version {version}, {listed(measures[:-1])}{after}."
    lacks = "who is champion is not known" if unread and observations.champion is None else ""
    return look.concluded(held, served.count if served else 0, measures, lacks)


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


def _batched(action: SetBatching, look: _Look) -> Verification:
    busiest = max(look.observations.now.versions, key=lambda each: each.count, default=None)
    measures = operations(busiest, look.slo, look.policies.verification.min_predictions)
    if busiest is not None and (failure := certainly_wrong(busiest, None, look.slo, look.policies, must_improve=False)):
        return look.failed(failure, measures)
    held = f"In batches of up to {action.rows} rows, {listed(measures)}."
    return look.concluded(held, busiest.count if busiest else 0, measures)


def _blames_accuracy(proposal: Proposal) -> bool:
    """Whether the finding rests on wrong answers: then the old version has to give better ones, not only good enough ones.

    A version that was rolled back for being slow may well have been the more accurate one.
    """
    leading = next(iter(proposal.finding.hypotheses), None)
    return leading is not None and any(each.startswith("accuracy.") for each in leading.supporting)
