"""Whether a controller that asks before each step of a rollout may take it: pure, from the record and from what was asked for.

Closed is the answer to everything that is not clearly approved and asked for: a step that comes late costs a rollout some time.
Only the gate `rollback` is the other way round: open, it takes the challenger back, so in doubt it stays closed too, and what
has gone wrong otherwise is taken back by the controller's own checks, or by people.
"""

from enum import StrEnum

from agents.actions import Action, Promote, Rollback, StartRollout
from tools.rollouts.port import Permit
from tools.values import Frozen

ENDING = ("abort", "worse")
"""Orders that end a rollout."""


class Gate(StrEnum):
    CONFIRM_ROLLOUT = "confirm-rollout"
    CONFIRM_TRAFFIC_INCREASE = "confirm-traffic-increase"
    CONFIRM_PROMOTION = "confirm-promotion"
    ROLLBACK = "rollback"


class Record(Frozen):
    """What is on record about the proposal that began what is asked about."""

    action: Action
    given_up: bool = False
    """It could not be carried out."""
    done: bool = False
    """It was; else it is being carried out."""
    status: str | None = None
    """Of the rollout; None: nothing has been written about it yet, or it is none."""
    ordered: str | None = None
    """What a person wants of the rollout, or what was found of it while people were asked."""
    weight: int | None = None
    """Percent that its present stage gives the challenger."""
    promotes: bool = False
    """The promotion of the version is being carried out, or was."""
    aborts: bool = False
    """The end of the rollout is being carried out, or was."""
    let_in: str | None = None
    """Checksum of the revision that was let in when it began; None: none was."""
    observing: bool = False
    """The kill switch is thrown: nothing is moved but what had been begun."""


class Answer(Frozen):
    open: bool
    reason: str


def decide(gate: Gate, record: Record | None, permit: Permit | None, checksum: str) -> Answer:
    """`checksum`: of the revision, as the controller has it."""
    if record is None:
        return _closed("nothing on record has begun this")
    if permit is None:
        return _closed("nothing was asked for there")
    if record.given_up and not (gate is Gate.ROLLBACK and permit.ending == "abort" and record.aborts):
        # What has traffic all the same is taken back by a proposal of its own.
        return _closed("it was given up")
    if not permit.untouched:
        return _closed("somebody has changed the Canary since: theirs stands, and people decide about it")
    if (permit.model, permit.version) not in _subjects(record.action):
        return _closed(f"what was asked for is version {permit.version} of {permit.model}")
    match gate:
        case Gate.CONFIRM_ROLLOUT:
            return _may_begin(record, permit, checksum)
        case Gate.CONFIRM_TRAFFIC_INCREASE if permit.ending == "promotion":
            return _may_stay(record, permit, checksum)
        case Gate.CONFIRM_TRAFFIC_INCREASE:
            return _may_grow(record, permit, checksum)
        case Gate.CONFIRM_PROMOTION:
            return _may_stay(record, permit, checksum)
        case Gate.ROLLBACK:
            return _is_over(record, permit)


def _may_begin(record: Record, permit: Permit, checksum: str) -> Answer:
    if not isinstance(record.action, StartRollout):
        if record.done or permit.ending != "hand over":
            return _closed("it has been carried out")
        return _open(f"version {permit.version} gets all of the traffic, as was decided")
    if permit.ending:
        return _closed(f"the rollout ends: {permit.ending}")
    if (reason := _held(record)) is not None:
        return _closed(reason)
    if record.let_in not in (None, checksum):
        return _closed("another revision was let in: this is not the one that was approved")
    return _open(f"the rollout of version {permit.version} is approved")


def _may_grow(record: Record, permit: Permit, checksum: str) -> Answer:
    if permit.ending or not isinstance(record.action, StartRollout):
        return _closed("no rollout is under way")
    if (reason := _held(record)) is not None:
        return _closed(reason)
    if record.status is None or record.weight is None:
        return _closed("the rollout is being begun")
    if record.let_in is None or record.let_in != checksum:
        return _closed("the revision is not the one that was let in")
    allowed = min(permit.asked, record.weight)
    if permit.weight >= allowed:
        return _closed(f"version {permit.version} has the {permit.weight} % that it is to have in this stage")
    return _open(f"version {permit.version} is to have {allowed} %, and has {permit.weight} %")


def _may_stay(record: Record, permit: Permit, checksum: str) -> Answer:
    if permit.ending != "promotion" or not record.promotes:
        return _closed("its promotion has not been decided")
    if record.ordered in ENDING:
        return _closed("it is to be ended")
    if record.let_in is None or record.let_in != checksum:
        return _closed("the revision is not the one that was let in")
    return _open(f"version {permit.version} is to be promoted")


def _is_over(record: Record, permit: Permit) -> Answer:
    if permit.ending == "abort" and record.aborts:
        return _open(f"the rollout of version {permit.version} is over")
    if record.ordered in ENDING and not record.observing and not record.promotes:
        return _open("somebody has ordered its end")
    return _closed("the rollout goes on")


def _held(record: Record) -> str | None:
    if record.observing:
        return "the autonomy mode is observe: nothing is changed"
    if record.ordered is not None:
        return f"somebody has ordered: {record.ordered}"
    if record.status not in (None, "running"):
        return f"the rollout is {record.status}"
    return None


def _subjects(action: Action) -> tuple[tuple[str, str], ...]:
    """Whose traffic may go where by it; what is carried out and fails half-way is put back."""
    match action:
        case StartRollout(model=model, version=version):
            return ((model, version),)
        case Promote(model=model, version=new, from_version=old) | Rollback(model=model, to_version=new, from_version=old):
            return (model, new), (model, old)
        case _:
            return ()


def _open(reason: str) -> Answer:
    return Answer(open=True, reason=reason)


def _closed(reason: str) -> Answer:
    return Answer(open=False, reason=reason)
