"""What policy says about a proposal: do it, ask people, or leave it. Judged once when proposed and again right before acting.

Nothing here looks at how good an idea is: that is the finding's. What is not clearly allowed is denied.
"""

from datetime import datetime
from enum import StrEnum
from typing import Literal, NamedTuple, assert_never

from pydantic import Field

from agents.actions import (
    CHANGES_NOTHING,
    OPTIMIZES,
    AbortRollout,
    Action,
    ConsolidateTraining,
    ExpireArtifacts,
    MoveToSpot,
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
from agents.cost.expiring import ident, too_young
from agents.evidence import Cause
from agents.policies import Mode, Policies
from agents.proposals import Proposal, Verdict
from agents.risks import weigh
from agents.wording import moment, span
from tools.costs.port import Pricing
from tools.values import Frozen, Instant


class Auto(Frozen):
    """Carried out without asking."""

    kind: Literal["auto"] = "auto"
    reason: str = ""


class Ask(Frozen):
    """`quorum` different people must approve before `expires_at`."""

    kind: Literal["ask"] = "ask"
    quorum: int = Field(ge=1)
    expires_at: Instant
    reason: str = ""


class Deny(Frozen):
    kind: Literal["deny"] = "deny"
    reason: str


class Holds(Frozen):
    """What was judged is still so."""

    kind: Literal["holds"] = "holds"


class Moved(Frozen):
    """The world is no longer the one that the proposal was made for."""

    kind: Literal["moved"] = "moved"
    reason: str


class Denied(Frozen):
    """It is not allowed any more."""

    kind: Literal["denied"] = "denied"
    reason: str


class Bar(StrEnum):
    """Why somebody may not decide on a proposal."""

    OWN_REQUEST = "own_request"
    NOT_AN_OWNER = "not_an_owner"


def judge(proposal: Proposal, policies: Policies, mode: Mode, now: datetime) -> Auto | Ask | Deny:
    action = proposal.action
    if isinstance(action, CHANGES_NOTHING):
        return Auto(reason="it changes nothing")
    if mode is Mode.OBSERVE:
        return Deny(reason="the autonomy mode is observe: nothing is changed")
    if (flaw := _flaw(action, proposal.state, policies)) and not _ends_without_a_champion(proposal):
        return Deny(reason=flaw)
    if isinstance(action, ExpireArtifacts) and (young := too_young(action.items, policies.optimizations_of(action.model), now)):
        return Deny(reason=young)
    if isinstance(action, StartExperiment) and proposal.finding.cause is Cause.CANDIDATE_WORSE:
        return Deny(reason=f"an arm may not be tried: {proposal.finding.summary}")
    # A proposal may carry a higher risk than its action has by itself, never a lower one.
    risk = max(proposal.impact.risk, weigh(action, proposal.finding, proposal.state, policies).risk, key=lambda each: each.rank)
    if proposal.part_of is not None and isinstance(action, AbortRollout | StopExperiment | Rollback):
        # Also during a freeze: it ends a change instead of making one. A rollback is part of what it undoes where somebody
        # wants that back while it is still looked whether it holds: the way back was approved with the way there.
        return Auto(reason=f"it was approved with {proposal.part_of}")
    freezes = [freeze for freeze in policies.freezes if freeze.holds(action.model, now)]
    for freeze in freezes:
        if risk.rank > freeze.except_up_to.rank:
            return Deny(reason=f"change freeze {freeze.name!r} until {moment(freeze.end)}")
    if proposal.part_of is not None and isinstance(action, Promote):
        return Auto(reason=f"it was approved with {proposal.part_of}")
    if mode is Mode.ACT and risk in policies.approval.automatic and not freezes:
        return Auto(reason=f"policy lets risk {risk.value} act by itself")
    return Ask(
        quorum=policies.approval.quorum[risk],
        expires_at=now + policies.approval.expires_after,
        reason=_why_asked(mode, risk, frozen=bool(freezes)),
    )


def recheck(
    proposal: Proposal, state: WorldState, policies: Policies, mode: Mode, now: datetime, *, verdict: Verdict | None
) -> Holds | Moved | Denied:
    """Judge again, on `state` of now. `verdict` is None where policy had let it act by itself: if it is to be asked about by
    now, or by more people than have said yes, it is not carried out."""
    match judge(proposal, policies, mode, now):
        case Deny(reason=reason):
            return Denied(reason=reason)
        case Ask(quorum=quorum):
            approved = verdict is not None and verdict.covers(proposal)
            if verdict is None or not approved or len(set(verdict.decided_by)) < quorum:
                return Denied(reason=f"it needs the approval of {quorum} by now")
            if now - verdict.decided_at > (holds := policies.approval.holds_for):
                return Moved(reason=f"it was approved at {moment(verdict.decided_at)}, and an approval holds for {span(holds)}")
        case Auto():
            pass
    if state != proposal.state:
        return Moved(reason=f"the world has moved: {differences(proposal.state, state)}")
    return Holds()


def may_decide(principal: str, proposal: Proposal, policies: Policies) -> Bar | None:
    """None: yes. Roles are checked at the door; this is about this very proposal."""
    if policies.approval.four_eyes and principal in {proposal.requested_by, proposal.asked_by, *proposal.also_asked_by}:
        return Bar.OWN_REQUEST
    owners = () if isinstance(proposal.action, CHANGES_NOTHING) else policies.model(proposal.action.model).owners
    return Bar.NOT_AN_OWNER if owners and principal not in owners else None


class Flaw(NamedTuple):
    field: str
    """Of the edit."""
    detail: str


def edit_flaw(proposal: Proposal, action: Action) -> Flaw | None:
    """Why what somebody makes of a proposal is not theirs to make of it: it is about what was asked, on evidence about that."""
    if isinstance(proposal.action, CHANGES_NOTHING) or isinstance(action, CHANGES_NOTHING):
        return None
    if action.model != proposal.action.model:
        said = f"an edit stays with {proposal.action.model}: what is found about one model says nothing about another"
        return Flaw("action.model", said)
    match proposal.action, action:
        case ConsolidateTraining() as asked, ConsolidateTraining() as new:
            return _left_out_only(asked, new)
        case ExpireArtifacts(items=listed), ExpireArtifacts(items=kept) if set(map(ident, kept)) <= set(map(ident, listed)):
            return None
        case _ if isinstance(action, OPTIMIZES) and action != proposal.action:
            said = "nothing is saved by an edit of something else: ask for a review of the model's cost by itself"
            return Flaw("action.kind", said)
        case _ if isinstance(proposal.action, OPTIMIZES):
            said = (
                "what was found is about money, and speaks for nothing else: reject this, and ask for what you want by itself"
            )
            return None if action == proposal.action else Flaw("action.kind", said)
        case ((StartRollout(version=asked) | Promote(version=asked)), (StartRollout(version=new) | Promote(version=new))) if (
            asked != new
        ):
            return Flaw("action.version", f"an edit stays with version {asked}, which was looked at: {_ask_for(new)}")
        case StartRollout(version=asked), Promote():
            said = f"version {asked} becomes champion by its rollout, once it has held: edit the stages instead"
            return Flaw("action.kind", said)
        case ((StartRollout() | Promote()), Rollback()):
            said = "a rollback is no form of a rollout: reject this, and ask for the rollback of the model by itself"
            return Flaw("action.kind", said)
        case StartRollout() as asked, StartRollout() as new if (asked.judging, asked.slow_ms) != (new.judging, new.slow_ms):
            name = "judging" if asked.judging != new.judging else "slow_ms"
            said = (
                f"an edit keeps {name} as it was shown; to judge otherwise, change the rollouts of the policies and ask again"
            )
            return Flaw(f"action.{name}", said)
        case StartRollout(weighed=asked), StartRollout(weighed=new) if asked != new:
            return Flaw("action.weighed", "an edit keeps weighed as it was shown: it is what INT8 of the champion is held to")
        case Promote(), StartRollout() as new if new.weighed is not None:
            return Flaw("action.weighed", "leave it out: a promotion is of no version that was measured in INT8")
        case Promote(), StartRollout() as new if new.judging is not None:
            return Flaw("action.judging", "leave it out: a rollout that is made of a promotion is judged by the policies")
        case Promote(beside=asked), Promote(beside=new) if asked != new:
            return Flaw("action.beside", "an edit keeps beside as it was shown: the experiment's other arms end with it")
        case StartRollout() | Promote(), StartRollout() | Promote():
            return None
        case StartExperiment() as asked, StartExperiment() as new if flaw := _kept(asked, new):
            return flaw
        case StartExperiment(), StartExperiment():
            return None
        case StartExperiment(), Rollback():
            said = "a rollback is no form of an experiment: reject this, and ask for the rollback of the model by itself"
            return Flaw("action.kind", said)
        case _, StartExperiment():
            return Flaw("action.kind", "no version gets traffic by an edit of something else: ask for the experiment by itself")
        case ((StartRollout(version=tried) | Promote(version=tried)), Retrain()) if proposal.state.weights.get(tried):
            said = (
                f"version {tried} has a part of the traffic, and nobody would look at it for the hours of a training: reject "
                "this, which takes it back, and ask for the training by itself"
            )
            return Flaw("action.kind", said)
        case StartRollout() | Promote(), _:
            return None
        case _, (StartRollout(version=new) | Promote(version=new)):
            return Flaw("action.kind", f"no version gets traffic by an edit of something else: {_ask_for(new)}")
        case _:
            return None


def _left_out_only(asked: ConsolidateTraining, new: ConsolidateTraining) -> Flaw | None:
    """Fewer may be cancelled, or another of them be kept: they were found to be the same."""
    found = {asked.kept, *asked.cancelled}
    if other := sorted({new.kept, *new.cancelled} - found):
        return Flaw("action.cancelled", f"an edit stays with the trainings that were found to be the same: {other[0]} is none")
    return None


def _kept(asked: StartExperiment, new: StartExperiment) -> Flaw | None:
    """What an edit may change of an experiment are the sizes of its arms, and how long it may take."""
    shown = asked.plan.model_copy(
        update={"treatments": new.plan.treatments, "shortest": new.plan.shortest, "longest": new.plan.longest}
    )
    if (asked.from_version, asked.versions) != (new.from_version, new.versions):
        return Flaw("action.plan.treatments", "an edit keeps the versions that were looked at: only their weights may change")
    if shown != new.plan or asked.rules != new.rules:
        return Flaw("action.plan", "an edit changes weights and durations only: for other goals or rules ask again")
    return None


def _ask_for(version: str) -> str:
    return f"ask for the promotion of version {version} by itself, so that it is evaluated and tried in stages"


def _flaw(
    action: Rollback
    | Scale
    | Retrain
    | StartRollout
    | AbortRollout
    | Promote
    | StartExperiment
    | StopExperiment
    | QuarantineData
    | ReleaseData
    | Quantize
    | ConsolidateTraining
    | SetBatching
    | MoveToSpot
    | ExpireArtifacts
    | RestoreArtifacts,
    state: WorldState,
    policies: Policies,
) -> str | None:
    """Why the action cannot be meant, whoever asks for it."""
    match action:
        case Rollback(model=model, from_version=bad, to_version=good):
            if bad == good:
                return f"version {good} cannot be rolled back to itself"
            if state.champion != bad:
                return f"the champion of {model} is {state.champion or 'not set'}, not version {bad}"
            if state.route_generation is None:
                return f"the route of {model} is not known, so it could not be put back"
        case Scale(model=model, from_workers=current, workers=wanted):
            if wanted == current:
                return f"{model} has {current} workers already"
            if state.workers != current:
                return f"{model} has {state.workers or 'an unknown number of'} workers, not {current}"
            if wanted > (limit := policies.model(model).max_workers):
                return f"{wanted} workers are more than the {limit} that policy allows {model}"
        case Retrain(model=model):
            if policies.training_of(model).command is None:
                return f"no training command is configured: set models.{model}.training.command in the policies"
        case StartRollout(model=model, from_version=old, version=new) | Promote(model=model, from_version=old, version=new):
            if old == new:
                return f"version {new} is champion of {model} already"
            if state.champion != old:
                return f"the champion of {model} is {state.champion or 'not set'}, not version {old}"
            if state.route_generation is None:
                return f"the route of {model} is not known, so it could not be put back"
            if isinstance(action, StartRollout) and action.stages[0].weight == 0 and not state.mirrors:
                return (
                    f"stages: what moves the traffic of {model} cannot copy requests to a shadow: "
                    f"let rollouts.stages begin with a weight above 0"
                )
            if isinstance(action, Promote) and not state.weights.get(new):
                return f"version {new} has none of the traffic of {model}: it becomes champion by a rollout, so ask for that"
            ending = set(action.beside) if isinstance(action, Promote) else set()
            if others := _others(state, {old, new, *ending}):
                return f"version {others[0]} answers some of the traffic of {model} too: one rollout at a time"
        case StartExperiment(model=model, from_version=old):
            if state.champion != old:
                return f"the champion of {model} is {state.champion or 'not set'}, not version {old}"
            if state.route_generation is None:
                return f"the route of {model} is not known, so it could not be put back"
            if others := _others(state, {old}):
                return f"version {others[0]} answers some of the traffic of {model} already: one change of it at a time"
        case StopExperiment(model=model, to_version=old, blind=blind):
            if not blind and state.champion != old:
                return f"the champion of {model} is {state.champion or 'not set'}, not version {old}"
            if state.route_generation is None:
                return f"the route of {model} is not known"
        case AbortRollout(model=model, to_version=old, blind=blind):
            if not blind and state.champion != old:
                return f"the champion of {model} is {state.champion or 'not set'}, not version {old}"
            if state.route_generation is None:
                return f"the route of {model} is not known"
        case QuarantineData(model=model, window=window):
            if state.quarantined is None:
                return f"what is quarantined of {model} already is not known"
            if window.length > (longest := policies.drift_of(model).max_quarantine):
                return f"{span(window.length)} are longer than the {span(longest)} that policy lets be quarantined"
        case ReleaseData(model=model, quarantine=quarantine):
            if quarantine not in (state.quarantined or ()):
                return f"{quarantine} is no quarantine of {model} in force"
        case Quantize(model=model, version=version):
            if state.champion != version:
                return (
                    f"the champion of {model} is {state.champion or 'not set'}, not version {version}: what serves is quantised"
                )
            if policies.quantization_of(model).command is None:
                return f"nothing quantises it: set models.{model}.quantization.command in the policies"
        case ConsolidateTraining(model=model, kept=kept, cancelled=cancelled):
            if state.running is None or kept not in state.running:
                return f"{kept} is no training of {model} that runs, and it is what the others are cancelled for"
            if ended := [name for name in cancelled if name not in state.running]:
                return f"{ended[0]} is no training of {model} that runs"
        case SetBatching(model=model, from_rows=from_rows, from_wait_ms=from_wait_ms, rows=rows, wait_ms=wait_ms):
            if (rows, wait_ms) == (from_rows, from_wait_ms):
                return f"{model} has that batching already"
            known = state.batching or {}
            if (known.get("rows"), known.get("wait_ms")) != (from_rows, from_wait_ms):
                return f"the batching of {model} is {known or 'not known'}, not {from_rows} rows within {from_wait_ms:g} ms"
        case MoveToSpot(model=model, from_pricing=current, pricing=pricing):
            if pricing is current:
                return f"trainings of {model} are bought as {pricing.value} already"
            if state.buying is not current:
                return f"trainings of {model} are bought as {state.buying or 'nobody knows what'}, not as {current.value}"
            if pricing is Pricing.SPOT and not policies.training_of(model).resumes:
                return f"a training of {model} would begin anew each time: set models.{model}.training.resumes in the policies"
        case ExpireArtifacts(model=model, items=items):
            if state.artifacts is None or state.protected is None:
                return f"what is needed of {model} is not known, so nothing of it is discarded"
            for item in items:
                if item.model != model:
                    return f"{item.kind} {item.name} is of {item.model}, not of {model}"
                if item.kind == "version" and item.name in state.protected:
                    needs = "carries an alias, has traffic, is gone back to, is among the newest or is named by an open run"
                    return f"version {item.name} of {model} {needs}: it stays"
                if ident(item) not in state.artifacts:
                    return f"{item.kind} {item.name} is not there as it was listed"
        case RestoreArtifacts():
            pass
        case unknown:
            assert_never(unknown)
    return None


def _ends_without_a_champion(proposal: Proposal) -> bool:
    """Somebody has taken the alias off what an approved change runs beside. The version that it began beside, which is the only
    one it ever goes back to then, gets the traffic again: nobody else's is there that this could be held against."""
    action, state = proposal.action, proposal.state
    if not isinstance(action, AbortRollout | StopExperiment) or proposal.part_of is None:
        return False
    return state.champion is None and state.route_generation is not None


def _others(state: WorldState, known: set[str]) -> list[str]:
    """Who else answers requests."""
    return sorted(version for version, weight in state.weights.items() if weight and version not in known)


def _why_asked(mode: Mode, risk: Risk, *, frozen: bool) -> str:
    if frozen:
        return f"during a change freeze even risk {risk.value} is asked about"
    return "the autonomy mode is propose" if mode is Mode.PROPOSE else f"risk {risk.value} is asked about"


def differences(then: WorldState, now: WorldState) -> str:
    """In words; empty when there are none."""
    before, after = then.model_dump(), now.model_dump()
    return ", ".join(f"{name} was {before[name]} and is {after[name]}" for name in before if before[name] != after[name])
