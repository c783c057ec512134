"""An action with its reasons, what a person said about it, and what came of it."""

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field

from agents.actions import Action, Promote, Retrain, Risk, StartRollout, WorldState
from agents.cost.inefficiency import Saving
from agents.evidence import Finding
from tools.values import Frozen, Instant

AGENT = "agent:"
"""What the name of a requester begins with when it is none of a person."""


_LATER = ("quarantined", "mirrors", "running", "batching", "buying", "artifacts", "protected")


def fingerprint(action: Action, state: WorldState) -> str:
    """SHA-256 (hex) of the canonical JSON of exactly what will be done, on exactly which state."""
    # What came later is left out while it is empty: fingerprints hold from release to release.
    later = {name for name in _LATER if getattr(state, name) is None}
    empty = {"left_out"} if isinstance(action, Retrain) and not action.left_out else set()
    empty |= {"judging"} if isinstance(action, StartRollout) and action.judging is None else set()
    empty |= {"weighed"} if isinstance(action, StartRollout) and action.weighed is None else set()
    empty |= {"beside"} if isinstance(action, Promote) and not action.beside else set()
    content = {
        "action": _as_before(action.model_dump(mode="json", exclude=empty)),
        "state": state.model_dump(mode="json", exclude=later),
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _as_before(action: dict[str, Any]) -> dict[str, Any]:
    """A rollout as it was written before there were shadows, losses and named metrics, as far as it has none."""
    for stage in action.get("stages", ()):
        if stage["weight"] > 0 or stage["mirror"] == 1:
            del stage["mirror"]
    guardrails = (action.get("judging") or {}).get("guardrails")
    if guardrails is not None and guardrails["answers"] == "classes":
        del guardrails["answers"], guardrails["loss"]
    if guardrails is not None and guardrails["metric"] is None:
        guardrails["metric_better"] = "higher"
    return action


class Impact(Frozen):
    """What doing it means, for the person who decides."""

    risk: Risk
    blast_radius: str
    expected_effect: str
    undo: str
    runbook: str
    """Name of a page in `docs/runbooks/`."""
    saving: Saving | None = None
    """Expected of it, where it is done to save money: a forecast, and what the ledger is held against afterwards."""


class Proposal(Frozen):
    id: str
    """`{run}/{attempt}`: the key under which the action is carried out at most once."""
    run_id: str
    incident_id: str
    requested_by: str
    """Principal behind the proposal: `agent:incident`, or the person who asked."""
    asked_by: str = ""
    """The person on whose request the run began; it stays that one's when it is edited, or proposed anew by an agent."""
    also_asked_by: tuple[str, ...] = ()
    """Others who had asked for the same."""
    title: str
    action: Action
    state: WorldState
    finding: Finding
    impact: Impact
    undo_of: str | None = None
    """The proposal whose action this one takes back."""
    part_of: str | None = None
    """The proposal that was approved and that this one belongs to: how a rollout ends was approved with it."""
    proposed_at: Instant

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.action, self.state)


class Approve(Frozen):
    type: Literal["approve"] = "approve"


class Edit(Frozen):
    type: Literal["edit"] = "edit"
    action: Action
    """Replaces the proposed action whole; judged again like any other."""


class Reject(Frozen):
    type: Literal["reject"] = "reject"
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]


Decision = Annotated[Approve | Edit | Reject, Field(discriminator="type")]


class Verdict(Frozen):
    """What was decided, by whom, on exactly what. Expiry is a verdict too: `decided_by` is then `policy:expiry`."""

    decision: Decision
    fingerprint: str
    decided_by: tuple[str, ...]
    decided_at: Instant

    def covers(self, proposal: Proposal) -> bool:
        """Approved, and this very content."""
        return isinstance(self.decision, Approve) and self.fingerprint == proposal.fingerprint


GivenUp = Literal["broke", "conflict", "outrun", "look", "moved", "denied"]
"""How an action was given up: it failed for good; somebody else was at what it changes; another of its kind came first. Or it
was not begun after all: its rollout is to be looked at again, the world has moved, or it is not allowed any more."""


class Failure(Frozen):
    """Of an action that was given up. A repetition goes the way that the first one went."""

    kind: GivenUp
    reason: str
    route: int | None = None
    """Token of the route as it was left, where something is under way that has to be taken back; None: not known."""


class Receipt(Frozen):
    """What the action did. `undo` is the action that takes it back, None where there is nothing to take back."""

    key: str
    action: Action
    before: WorldState
    after: WorldState
    undo: Action | None
    left_out: tuple[str, ...] = ()
    """Of a list of files, what was not done, each with its reason: needed by now, or gone for good and not had back."""
    started_at: Instant
    finished_at: Instant
