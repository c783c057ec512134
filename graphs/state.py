"""What the supervisor graph carries from node to node. Each node declares the part it writes by its return type."""

from datetime import datetime
from enum import StrEnum

from typing_extensions import TypedDict

from agents.actions import StartExperiment, StartRollout
from agents.alerts import Alert
from agents.cost.optimization import Optimization
from agents.evidence import Recommendation
from agents.examination import Examination
from agents.experiment_looks import Look
from agents.guard import Ask, Auto, Deny
from agents.proposals import Proposal, Receipt, Verdict
from agents.rollouts import Decision
from agents.routing import HandOver, Specialist
from agents.verification import Verification
from tools.values import Frozen, Instant


class Outcome(StrEnum):
    """How a run ended. The first two close their incident as resolved, the others hand it to people."""

    RESOLVED = "resolved"
    """The action was carried out and its effect verified."""
    NO_ACTION = "no_action"
    """The finding is that nothing needs to be done."""
    CONTAINED = "contained"
    """The harm is bounded; what causes it is for people to repair."""
    NOTIFIED = "notified"
    """There was nothing for OPPEN to do but to tell people."""
    DECLINED = "declined"
    """A person rejected the proposal, or nobody decided in time."""
    DENIED = "denied"
    """Policy or the autonomy mode forbids it."""
    FAILED = "failed"
    """The action could not be carried out; the reason says what is left of it."""
    UNVERIFIED = "unverified"
    """Carried out, but the effect did not come, and there is nothing to take back."""
    UNDONE = "undone"
    """Carried out without effect, and taken back."""


class Started(TypedDict):
    run_id: str
    incident_id: str
    alerts: tuple[Alert, ...]


class Routed(TypedDict):
    specialist: Specialist
    requested_by: str


class Handed(Frozen):
    """A case that was handed over, and what the specialist who did so would have had done."""

    by: Specialist
    reason: str
    recommendation: Recommendation


class Advised(TypedDict):
    """A recommendation, and on whose behalf it is proposed."""

    recommendation: Recommendation
    requested_by: str
    undo_of: str | None
    part_of: str | None


class Proposed(TypedDict):
    proposal: Proposal
    attempt: int
    verdict: Verdict | None
    receipt: Receipt | None
    verification: Verification | None


class Judged(TypedDict):
    judgement: Auto | Ask | Deny


class Asked(TypedDict):
    proposal: Proposal
    judgement: Auto | Ask | Deny


class Answer(TypedDict):
    verdict: Verdict


class Acted(TypedDict):
    receipt: Receipt
    wake_at: datetime


class Verified(TypedDict):
    verification: Verification
    wake_at: datetime


class LookedAt(Verified, total=False):
    alerts: tuple[Alert, ...]
    asked_back: str
    """Who wants taken back what is being verified."""
    optimization: Optimization | None


class Rollout(Frozen):
    """How far one has come."""

    key: str
    """Of the proposal that began it."""
    action: StartRollout
    started: tuple[Instant, ...]
    """When the traffic of each stage began, the last being the present one."""
    generation: int
    """Of the route, as we left it."""
    decision: Decision | None = None
    """Of the latest look."""
    moving: bool = False
    """The present stage's traffic has been asked for, at the last of `started`, and is not in force yet."""
    paused_by: str | None = None
    blind_since: Instant | None = None
    """The first of the latest looks that could measure nothing."""
    held_since: Instant | None = None
    """The first of the latest looks at which it was paused or frozen."""
    given_up: str = ""
    """Why it is to be taken back as soon as that is allowed."""
    tries: int = 0
    """How often it could not be taken back."""
    over: bool = False
    """What ended it has been carried out."""

    @property
    def stage(self) -> int:
        return len(self.started) - 1


class Rolling(TypedDict):
    rollout: Rollout
    wake_at: datetime


class Experiment(Frozen):
    """How far one has come."""

    key: str
    """Of the proposal that began it."""
    action: StartExperiment
    started: Instant
    """When the arms were in force: who comes from then on is exposed."""
    generation: int
    """Of the route, as we left it."""
    look: Look | None = None
    """The latest one."""
    blind_since: Instant | None = None
    """The first of the latest looks that could measure nothing."""
    given_up: str = ""
    """Why the control is to have the traffic again as soon as that is allowed."""
    ending: str = ""
    """What it is being ended for: what was called, or `stopped`, `given_up`, `unseen`, `left`."""
    ended_by: str = ""
    """Kind of the action that has ended it."""
    over: bool = False
    """What ended it has been carried out."""


class Experimenting(TypedDict):
    experiment: Experiment
    wake_at: datetime


class Ended(TypedDict):
    outcome: Outcome
    reason: str


class RunState(Started, total=False):
    specialist: Specialist
    recommendation: Recommendation
    handover: HandOver | None
    handed: Handed | None
    again_at: datetime | None
    """When the specialist looks again, before anything is proposed."""
    requested_by: str
    undo_of: str | None
    attempt: int
    moves: int
    proposal: Proposal
    judgement: Auto | Ask | Deny
    verdict: Verdict | None
    receipt: Receipt | None
    verification: Verification | None
    wake_at: datetime
    rollout: Rollout | None
    experiment: Experiment | None
    part_of: str | None
    candidate: str | None
    """The version that a job of this run has made, or that somebody wants promoted."""
    examination: Examination | None
    """Of the candidate, by a job of the platform's own: under way, or why it has left nothing."""
    optimization: Optimization | None
    """What the run does to save money, and how far that is."""
    asked_back: str
    outcome: Outcome
    reason: str
