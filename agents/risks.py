"""What doing an action means: its risk, whom it touches, what should come of it and what takes it back.

Exhaustive over the catalogue: an action without an answer here does not type-check.
"""

from datetime import timedelta
from typing import assert_never

from agents.actions import (
    AbortRollout,
    Catalogue,
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
    Risk,
    Rollback,
    Scale,
    SetBatching,
    StartExperiment,
    StartRollout,
    StopExperiment,
    WorldState,
)
from agents.evidence import Cause, Finding
from agents.policies import Policies
from agents.promotion_rules import Stage, as_careful
from agents.proposals import Impact
from agents.wording import counted, moment, share, span
from tools.costs.port import Pricing
from tools.leftovers import KEPT


def weigh(action: Catalogue, finding: Finding, state: WorldState, policies: Policies) -> Impact:
    """What it means on `state`: a rollout that hurries more than policy does is a high risk, whatever its version."""
    meant = impact(action, finding)
    if isinstance(action, StartRollout):
        given = state.weights.get(action.version, 0) / 100
        if not as_careful(action.stages, policies.rollouts_of(action.model).stages, given):
            return meant.model_copy(update={"risk": Risk.HIGH})
    if isinstance(action, StartExperiment):
        # A challenger begins with the first stage's share, and has to hold in it before it gets more.
        at_first = policies.rollouts_of(action.model).stages[0].weight
        if 100 - action.plan.control_weight > 100 * at_first:
            return meant.model_copy(update={"risk": Risk.HIGH})
    return meant


def impact(action: Catalogue, finding: Finding) -> Impact:
    match action:
        case Rollback(model=model, from_version=bad, to_version=good):
            return Impact(
                # Everyone's traffic moves at once, but to a version that has served it before, and back as quickly.
                risk=Risk.MEDIUM if _known(action, finding) else Risk.HIGH,
                blast_radius=f"all traffic of {model}",
                expected_effect=f"version {good} answers again, as it did before version {bad}",
                undo=f"give champion and traffic back to version {bad}",
                runbook="rollback",
            )
        case Scale(model=model, from_workers=current, workers=wanted):
            fewer = wanted < current
            return Impact(
                risk=Risk.MEDIUM if fewer else Risk.LOW,
                blast_radius=f"the inference workers of {model}: {current} now, {wanted} then",
                expected_effect="less memory and processor time are used" if fewer else "requests wait less for a worker",
                undo=f"scale back to {current}",
                runbook="scale",
            )
        case Retrain(model=model, version=version, expected_gain=gain, expected_seconds=seconds):
            return Impact(
                # It costs time, and nothing that serves changes: what comes of it has to win its place.
                risk=Risk.LOW,
                blast_radius="one training job"
                + (f", about {span(timedelta(seconds=round(seconds)))} of it" if seconds is not None else ""),
                expected_effect=f"a challenger to version {version} of {model}"
                + (f" that wins back about {gain:.1%} of accuracy" if gain is not None and gain > 0 else ""),
                undo="none needed: the challenger serves nobody until it is promoted",
                runbook="retrain",
            )
        case StartRollout(model=model, from_version=old, version=new, stages=stages):
            steps = ", ".join(f"{_given(stage)} for {span(stage.hold)}" for stage in stages if stage.weight < 1)
            return Impact(
                # A share of the traffic is answered by what has never served, but little at first and back at once.
                risk=Risk.MEDIUM if finding.cause in _SHOWN and _found(action, finding) else Risk.HIGH,
                blast_radius=f"the traffic of {model} in stages: {steps}, then all of it",
                expected_effect=f"version {new} becomes champion once it has held through every stage; "
                f"version {old} has all the traffic again as soon as it fails",
                undo=f"give all traffic back to version {old}",
                runbook="start-rollout",
            )
        case AbortRollout(model=model, version=new, to_version=old):
            return Impact(
                # The champion has answered most of the traffic all along.
                risk=Risk.LOW,
                blast_radius=f"the share of the traffic of {model} that version {new} answers",
                expected_effect=f"version {old} answers all requests again",
                undo="none: a new rollout is a new proposal",
                runbook="abort-rollout",
            )
        case Promote(model=model, from_version=old, version=new):
            return Impact(
                # That it has held on traffic says nothing of what its files can do.
                risk=Risk.MEDIUM if _found(action, finding) and new in finding.examined else Risk.HIGH,
                blast_radius=f"all traffic of {model}",
                expected_effect=f"version {new} is champion and answers every request",
                undo=f"roll back to version {old}",
                runbook="promote",
            )
        case StartExperiment(model=model, from_version=old, plan=plan):
            arms = ", ".join(f"version {each.version} for {each.weight} %" for each in plan.treatments)
            return Impact(
                # As in a rollout: what nobody has looked at does not get customers on one yes.
                risk=Risk.MEDIUM if set(action.versions) <= set(finding.examined) else Risk.HIGH,
                blast_radius=f"the entities of {model}: {arms}, the rest stays with version {old}",
                expected_effect=f"whether {plan.goal.name} is better with another version is known; version {old} has all the "
                "traffic again as soon as one harms, and a winner is proposed as champion",
                undo=f"give all traffic back to version {old}",
                runbook="start-experiment",
            )
        case StopExperiment(model=model, versions=versions, to_version=old):
            return Impact(
                # The control has answered its share all along.
                risk=Risk.LOW,
                blast_radius=f"the share of the traffic of {model} that version {', '.join(versions)} answers",
                expected_effect=f"version {old} answers all requests again",
                undo="none: a new experiment is a new proposal",
                runbook="stop-experiment",
            )
        case QuarantineData(model=model, window_start=start, window_end=end, features=features):
            return Impact(
                # Nothing is deleted, and nothing that serves changes.
                risk=Risk.LOW,
                blast_radius=f"{_which(features)} of {model} from {moment(start)} to {moment(end)}",
                expected_effect="no training learns from it and no drift is measured against it, until it is released",
                undo="release it",
                runbook="quarantine-data",
            )
        case ReleaseData(model=model, window_start=start, window_end=end, features=features):
            return Impact(
                risk=Risk.LOW,
                blast_radius=f"{_which(features)} of {model} from {moment(start)} to {moment(end)}",
                expected_effect="trainings learn from it and drift is measured against it again",
                undo="quarantine it again",
                runbook="quarantine-data",
            )
        case Quantize(model=model, version=version):
            return Impact(
                # A job that changes nothing that serves: what comes of it is asked about by itself.
                risk=Risk.LOW,
                blast_radius="one job that measures, a minute of one core",
                expected_effect=f"what version {version} of {model} is worth in INT8 is known: accuracy, latency, size and "
                "cost beside the original; where it pays its rollout is proposed",
                undo="none needed: the INT8 version serves nobody until its rollout is approved",
                runbook="quantize",
            )
        case ConsolidateTraining(model=model, kept=kept, cancelled=cancelled):
            return Impact(
                # Nothing that serves changes, and what is cancelled is made all the same, by the one that goes on.
                risk=Risk.LOW,
                blast_radius=f"{counted(len(cancelled), 'training job')} of {model}",
                expected_effect=f"{kept} goes on and makes the version; the same is not paid for {len(cancelled) + 1} times",
                undo="none: a cancelled job is not resumed; its training is asked for again and begins anew",
                runbook="consolidate-training",
            )
        case SetBatching(model=model, from_rows=old_rows, from_wait_ms=old_wait, rows=rows, wait_ms=wait_ms):
            return Impact(
                # Everyone waits a little longer, within what was promised, and it is taken back as quickly.
                risk=Risk.MEDIUM if wait_ms > old_wait else Risk.LOW,
                blast_radius=f"how long all requests of {model} wait: up to {wait_ms:g} ms for a batch, {old_wait:g} ms now",
                expected_effect=f"up to {rows} rows are computed together, so that each takes less processor time",
                undo=f"back to {counted(old_rows, 'row')} within {old_wait:g} ms",
                runbook="set-batching",
            )
        case MoveToSpot(model=model, from_pricing=current, pricing=pricing):
            return Impact(
                # What is interrupted goes on from its checkpoints, and nothing that serves changes.
                risk=Risk.LOW,
                blast_radius=f"trainings of {model} that begin from now on",
                expected_effect=f"they are bought as {pricing.value}"
                + (", cost less, and may be interrupted" if pricing is Pricing.SPOT else " and not interrupted"),
                undo=f"buy them as {current.value} again; what runs stays as it was bought",
                runbook="move-to-spot",
            )
        case ExpireArtifacts(model=model, items=items):
            whole = any(item.kind == "version" for item in items)
            return Impact(
                # Where a store can only delete, the files of a version are gone for good.
                risk=Risk.MEDIUM if whole else Risk.LOW,
                blast_radius=f"{counted(len(items), 'file set')} of {model}, {sum(i.size_bytes for i in items):,} bytes: "
                + ", ".join(f"{item.kind} {item.name}" for item in items[:5])
                + (" and others" if len(items) > 5 else ""),
                expected_effect="their room is not paid for any more, once they are emptied",
                undo=f"what can be put aside is had back within {span(KEPT)}; what a store can only delete is gone for good",
                runbook="expire-artifacts",
            )
        case RestoreArtifacts(model=model, items=items):
            return Impact(
                risk=Risk.LOW,
                blast_radius=f"{counted(len(items), 'file set')} of {model}",
                expected_effect="what was discarded is there again",
                undo="discard it again",
                runbook="expire-artifacts",
            )
        case Notify(channel=channel):
            return Impact(
                risk=Risk.NONE,
                blast_radius=f"the people on channel {channel}",
                expected_effect="people know, and take over",
                undo="none: what was said stays said",
                runbook="notify",
            )
        case NoAction():
            return Impact(
                risk=Risk.NONE,
                blast_radius="nothing",
                expected_effect="everything stays as it is",
                undo="none needed",
                runbook="no-action",
            )
        case unknown:
            assert_never(unknown)


def _given(stage: Stage) -> str:
    return share(stage.weight) if stage.weight else f"copies of {share(stage.mirror)}, whose answers nobody is given,"


def _which(features: tuple[str, ...]) -> str:
    return f"{', '.join(features[:5])}{' and others' if len(features) > 5 else ''}" if features else "all data"


def _known(action: Rollback, finding: Finding) -> bool:
    """Whether it is the change that the evidence was weighed for, in either direction; anything else is a jump in the dark."""
    if finding.cause in _OF_CANDIDATES and action.to_version != finding.previous_version:
        return False  # the candidate has not served: only away from it is back
    weighed = {finding.version, finding.previous_version}
    return finding.model == action.model and {action.from_version, action.to_version} == weighed


_OF_CANDIDATES = (Cause.CANDIDATE_BETTER, Cause.CANDIDATE_CHEAPER, Cause.CANDIDATE_UNPROVEN, Cause.CANDIDATE_WORSE)
_SHOWN = (Cause.CANDIDATE_BETTER, Cause.CANDIDATE_CHEAPER)
"""By what a job of the platform's own has measured."""


def _found(action: StartRollout | Promote, finding: Finding) -> bool:
    """Whether the finding is about this very version."""
    return (finding.model, finding.version) == (action.model, action.version)
