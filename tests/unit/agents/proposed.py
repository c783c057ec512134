"""Proposals to judge, look at and carry out."""

from datetime import timedelta

from agents.actions import Catalogue, NoAction, Notify, QuarantineData, ReleaseData, Rollback, Scale, WorldState
from agents.evidence import Cause, Evidence, Finding, Hypothesis
from agents.proposals import Proposal
from agents.risks import impact
from tests.unit.agents.worlds import NOW

ROLLBACK = Rollback(model="flights", from_version="2", to_version="1")
SCALE = Scale(model="flights", from_workers=2, workers=4)
QUARANTINE = QuarantineData(model="flights", window_start=NOW - timedelta(hours=6), window_end=NOW, features=("wind",))
RELEASE = ReleaseData(**QUARANTINE.model_dump(exclude={"kind"}), quarantine="qua_1")
NOTIFY = Notify(channel="ops", title="flights: data drift", body="look")
NO_ACTION = NoAction(reason="nothing is wrong")

FINDING = Finding(
    cause=Cause.MODEL_REGRESSION,
    summary="Version 2 is wrong more often than version 1 on the same period.",
    hypotheses=(
        Hypothesis(
            cause=Cause.MODEL_REGRESSION,
            score=0.9,
            reason="It is worse.",
            supporting=("accuracy.v2.now-v1.now",),
            against=("rollout",),
        ),
        Hypothesis(cause=Cause.DATA_DRIFT, score=0.1, reason="Inputs stand still."),
        Hypothesis(cause=Cause.LABELS, score=0.0, reason="Labels come."),
    ),
    evidence=(
        Evidence(
            id="accuracy.v2.now-v1.now",
            statement="Version 2 now is right on 72.0% of 780 labels, version 1 now on 85.0% of 420.",
            source="predictions",
            query="predictions.versions(model=flights)",
            value=0.13,
        ),
        Evidence(
            id="rollout", statement="deploy made version 2 champion.", source="registry", query="registry.history", value="2"
        ),
    ),
    model="flights",
    version="2",
    previous_version="1",
    assessed_at=NOW,
)


def state_of(action: Catalogue) -> WorldState:
    """The state on which `action` makes sense."""
    match action:
        case Rollback(from_version=champion):
            return WorldState(champion=champion, route_generation=3, weights={champion: 100})
        case Scale(from_workers=workers):
            return WorldState(workers=workers)
        case QuarantineData():
            return WorldState(quarantined=())
        case ReleaseData(quarantine=quarantine):
            return WorldState(quarantined=(quarantine,))
        case _:
            return WorldState()


def proposal(
    action: Catalogue = ROLLBACK,
    *,
    state: WorldState | None = None,
    requested_by: str = "agent:incident",
    finding: Finding = FINDING,
    undo_of: str | None = None,
    asked_by: str = "",
    also_asked_by: tuple[str, ...] = (),
) -> Proposal:
    return Proposal(
        id="run_1/1",
        run_id="run_1",
        incident_id="inc_1",
        requested_by=requested_by,
        asked_by=asked_by,
        also_asked_by=also_asked_by,
        title="Roll flights back from version 2 to version 1",
        action=action,
        state=state or state_of(action),
        finding=finding,
        impact=impact(action, finding),
        undo_of=undo_of,
        proposed_at=NOW,
    )
