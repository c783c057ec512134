"""The tables. SQL is the truth about incidents, runs, approvals and what was done; LangGraph's checkpoints are only a cursor.

Ids are `{prefix}_{uuid7 hex}`: they sort by time. Times are UTC and written by the platform's clock, never by the database's.
"""

import json
from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from api.store.chain import canonical


class UtcDateTime(TypeDecorator[datetime]):
    """Aware in, aware out; SQLite keeps no zone, so UTC is stored and put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone reached the store")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class CanonicalJson(TypeDecorator[dict[str, Any]]):
    """The very text that was hashed. A JSON column would give back equal values in other words: JSONB makes 1e5 an integer."""

    impl = Text()
    cache_ok = True

    def process_bind_param(self, value: dict[str, Any] | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> dict[str, Any] | None:  # noqa: ARG002
        return None if value is None else json.loads(value)


# None is NULL, not the JSON word null, so that "is there a verdict" can be asked in SQL.
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

# Only an INTEGER primary key counts by itself in SQLite, where it has 64 bits anyway.
Sequence = BigInteger().with_variant(Integer(), "sqlite")


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {datetime: UtcDateTime(), dict[str, Any]: Json, list[Any]: Json}


class IncidentRecord(Base):
    """Status: debouncing, investigating, awaiting_approval, acting, verifying; closed: resolved, escalated, self_resolved."""

    __tablename__ = "incidents"
    __table_args__ = (
        # One open investigation per subject, also when two deliveries arrive at once.
        Index(
            "incidents_open_subject",
            "subject",
            unique=True,
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index("incidents_status", "status", "id"),
        Index("incidents_subject", "subject", "closed_at"),
        Index("incidents_model", "model", "id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    subject: Mapped[str] = mapped_column(String(300))
    """`model:{name}` or `component:{name}`."""
    model: Mapped[str | None] = mapped_column(String(200))
    title: Mapped[str] = mapped_column(Text)
    severity: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(32))
    cause: Mapped[str | None] = mapped_column(String(32))
    summary: Mapped[str | None] = mapped_column(Text)
    report: Mapped[dict[str, Any] | None]
    """Narrative, finding, receipt and verification of the last run, as JSON."""
    opened_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class AlertRecord(Base):
    __tablename__ = "alerts"
    __table_args__ = (
        UniqueConstraint("source", "fingerprint", "starts_at", name="alerts_identity"),
        Index("alerts_incident", "incident_id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    incident_id: Mapped[str | None] = mapped_column(ForeignKey("incidents.id"))
    """None: a resolved alert that we had never seen firing."""
    source: Mapped[str] = mapped_column(String(100))
    fingerprint: Mapped[str] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(300))
    severity: Mapped[str] = mapped_column(String(16))
    labels: Mapped[dict[str, Any]]
    annotations: Mapped[dict[str, Any]]
    group_key: Mapped[str] = mapped_column(Text)
    link: Mapped[str] = mapped_column(Text)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    deliveries: Mapped[int] = mapped_column(default=1)
    read_by: Mapped[str | None] = mapped_column(String(64))
    """The run of its incident that has read it; None: none has yet."""


class RunRecord(Base):
    """Status: queued, running, waiting (on a person or a time), completed, failed, cancelled."""

    __tablename__ = "runs"
    __table_args__ = (Index("runs_due", "status", "due_at"), Index("runs_incident", "incident_id"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"))
    subject: Mapped[str] = mapped_column(String(300))
    """Of its incident."""
    status: Mapped[str] = mapped_column(String(16))
    due_at: Mapped[datetime | None]
    """queued: not before this (debounce). waiting on a time: wake then. Otherwise None."""
    event: Mapped[str] = mapped_column(String(200), default="start")
    """Id of the event that moves it on next; `advance(run, event)` is keyed by both."""
    interrupt_id: Mapped[str | None] = mapped_column(String(100))
    """The LangGraph interrupt it waits on."""
    outcome: Mapped[str | None] = mapped_column(String(32))
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class EventRecord(Base):
    """The timeline of an incident; `seq` is the SSE event id."""

    __tablename__ = "events"
    __table_args__ = (
        Index("events_incident", "incident_id", "seq"),
        UniqueConstraint("key", name="events_key"),
        {"sqlite_autoincrement": True},
    )

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=True)
    incident_id: Mapped[str] = mapped_column(String(64))
    run_id: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(100))
    key: Mapped[str | None] = mapped_column(String(300))
    """Set where a step may run again: the same key is one event."""
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class ApprovalRecord(Base):
    """Status: pending, approved, rejected, edited (replaced by a new one), expired, superseded (the world moved)."""

    __tablename__ = "approvals"
    __table_args__ = (
        UniqueConstraint("run_id", "interrupt_id", name="approvals_interrupt"),
        Index("approvals_status", "status", "id"),
        Index("approvals_incident", "incident_id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    incident_id: Mapped[str] = mapped_column(ForeignKey("incidents.id"))
    interrupt_id: Mapped[str] = mapped_column(String(100))
    proposal: Mapped[dict[str, Any]]
    """`agents.proposals.Proposal` as JSON."""
    request: Mapped[dict[str, Any]]
    """LangChain's HITL request, for stock clients."""
    narrative: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(String(64))
    nonce: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    quorum: Mapped[int]
    requested_by: Mapped[str] = mapped_column(String(200))
    policy_version: Mapped[str] = mapped_column(String(64))
    replaces: Mapped[str | None] = mapped_column(String(64))
    """The approval whose proposal was edited into this one; the original stays."""
    verdict: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]


class VoteRecord(Base):
    """One person's word on one approval; the approval is decided when the quorum of approvals, or one other word, is there."""

    __tablename__ = "votes"

    approval_id: Mapped[str] = mapped_column(ForeignKey("approvals.id"), primary_key=True)
    principal: Mapped[str] = mapped_column(String(200), primary_key=True)
    decision: Mapped[dict[str, Any]]
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class ActionRecord(Base):
    """The ledger of what was meant and what was done. State: intended, done, failed."""

    __tablename__ = "actions"
    __table_args__ = (Index("actions_claim", "claim", unique=True),)

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(64), index=True)
    incident_id: Mapped[str] = mapped_column(String(64), index=True)
    proposal: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16))
    before: Mapped[dict[str, Any]]
    """The world when it was first intended, so that a repeated attempt records the true 'before'."""
    receipt: Mapped[dict[str, Any] | None]
    error: Mapped[str | None] = mapped_column(Text)
    failure: Mapped[dict[str, Any] | None]
    """How it was given up (`agents.proposals.Failure`): what a repetition goes by."""
    intended_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    claim: Mapped[str | None] = mapped_column(String(250))
    """What no other action may be at until this one's work is over (`agents.claims`)."""


class AuditRecord(Base):
    """Append-only, hash-chained: `hash` = SHA-256 over the previous hash and the canonical JSON of this line.

    Triggers refuse UPDATE and DELETE; `seq` has no gaps.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("audit_subject", "subject", "seq"), Index("audit_actor", "actor", "seq"))

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=False)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(100))
    subject: Mapped[str] = mapped_column(String(300))
    key: Mapped[str | None] = mapped_column(String(300), unique=True)
    data: Mapped[dict[str, Any]] = mapped_column(CanonicalJson)
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class ApiKeyRecord(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Public part of the key; shown in listings."""
    name: Mapped[str] = mapped_column(String(200), unique=True)
    """The principal: what approvals and the audit log call its holder."""
    role: Mapped[str] = mapped_column(String(16))
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AutonomyRecord(Base):
    """Every change of the mode; the newest row holds."""

    __tablename__ = "autonomy"
    __table_args__ = ({"sqlite_autoincrement": True},)

    seq: Mapped[int] = mapped_column(Sequence, primary_key=True, autoincrement=True)
    mode: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class MonitorRecord(Base):
    """Where one monitor of one subject stands."""

    __tablename__ = "monitors"

    subject: Mapped[str] = mapped_column(String(220), primary_key=True)
    """`model:NAME` or `data:TABLE`."""
    monitor: Mapped[str] = mapped_column(String(32), primary_key=True)
    tick: Mapped[datetime]
    """End of the latest window that it was asked about."""
    bad: Mapped[bool | None]
    """What it said then; null: it could not tell."""
    streak: Mapped[int]
    """Windows in a row that were bad (above 0) or good (below)."""
    raised_at: Mapped[datetime | None]
    summary: Mapped[str] = mapped_column(Text)
    checked_at: Mapped[datetime | None]
    """Null: it was met, and is looked at from the next window on."""


class QuarantineRecord(Base):
    """Data of a model that is neither learnt from nor compared with until it is released."""

    __tablename__ = "quarantines"
    __table_args__ = (Index("quarantines_model", "model", "released_at"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(String(300), unique=True)
    """Under which it was placed."""
    model: Mapped[str] = mapped_column(String(200))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    features: Mapped[list[Any]]
    """Empty: all of it."""
    reason: Mapped[str] = mapped_column(Text)
    placed_by: Mapped[str] = mapped_column(String(1000))
    placed_at: Mapped[datetime]
    release_key: Mapped[str | None] = mapped_column(String(300))
    released_by: Mapped[str | None] = mapped_column(String(1000))
    release_reason: Mapped[str | None] = mapped_column(Text)
    released_at: Mapped[datetime | None]


class RolloutRecord(Base):
    """Status: running, paused; over: promoted, taken_back, continued (under another
    proposal, by a person's word), left (somebody else took it in hand, or it could not be ended)."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("rollouts_proposal", "proposal_id", unique=True), Index("rollouts_model", "model", "id"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    proposal_id: Mapped[str] = mapped_column(String(200))
    """The proposal that began it."""
    run_id: Mapped[str] = mapped_column(String(64))
    incident_id: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200))
    version: Mapped[str] = mapped_column(String(200))
    from_version: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    stages: Mapped[list[Any]]
    stage: Mapped[int]
    stage_since: Mapped[datetime]
    look: Mapped[dict[str, Any] | None]
    """`agents.rollouts.Decision` as JSON; None before the first."""
    reason: Mapped[str] = mapped_column(Text)
    """Why it stands as it does."""
    ordered: Mapped[str | None] = mapped_column(String(16))
    """What a person wants: pause or abort; what a look found while people were asked: worse. None: it goes on by itself."""
    ordered_by: Mapped[str | None] = mapped_column(String(200))
    order_reason: Mapped[str | None] = mapped_column(Text)
    began_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ExperimentRecord(Base):
    """Status: running; over: promoted, rolled_out (its winner, by a rollout), stopped (the control has the traffic), left
    (somebody else took it in hand, or it could not be ended)."""

    __tablename__ = "experiments"
    __table_args__ = (Index("experiments_proposal", "proposal_id", unique=True), Index("experiments_model", "model", "id"))

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    proposal_id: Mapped[str] = mapped_column(String(200))
    """The proposal that began it."""
    run_id: Mapped[str] = mapped_column(String(64))
    incident_id: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200))
    control: Mapped[str] = mapped_column(String(200))
    plan: Mapped[dict[str, Any]]
    rules: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16))
    ending: Mapped[str] = mapped_column(String(16))
    """What it is, or was, ended for; empty while it goes on."""
    look: Mapped[dict[str, Any] | None]
    """`agents.experiment_looks.Look` as JSON, the latest; None before the first."""
    reason: Mapped[str] = mapped_column(Text)
    """Why it stands as it does."""
    ordered: Mapped[str | None] = mapped_column(String(16))
    """What a person wants: stop; None: it goes on by itself."""
    ordered_by: Mapped[str | None] = mapped_column(String(200))
    order_reason: Mapped[str | None] = mapped_column(Text)
    began_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ExperimentLookRecord(Base):
    __tablename__ = "experiment_looks"
    __table_args__ = (Index("experiment_looks_once", "proposal_id", "at", unique=True),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    proposal_id: Mapped[str] = mapped_column(String(200))
    """That began the experiment."""
    at: Mapped[datetime]
    look: Mapped[dict[str, Any]]
    """`agents.experiment_looks.Look` as JSON."""


class IdempotencyRecord(Base):
    """The answer that was given to a write with an `Idempotency-Key`, by principal and route."""

    __tablename__ = "idempotency"
    __table_args__ = (Index("idempotency_at", "at"),)

    principal: Mapped[str] = mapped_column(String(200), primary_key=True)
    route: Mapped[str] = mapped_column(String(300), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    body: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class NotificationRecord(Base):
    """Messages that were handed over, by key, so that none is sent twice."""

    __tablename__ = "notifications"

    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    channel: Mapped[str] = mapped_column(String(100))
    message: Mapped[dict[str, Any]]
    sent_at: Mapped[datetime]


class LineageEventRecord(Base):
    """An OpenLineage event as it was told, without secrets; the same one twice is one row."""

    __tablename__ = "lineage_events"
    __table_args__ = (Index("lineage_events_run", "run_id", "event_time"),)

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(36))
    event_type: Mapped[str] = mapped_column(String(16))
    event_time: Mapped[datetime]
    told_by: Mapped[str] = mapped_column(String(200))
    """The principal who sent it, or the file that it stood in."""
    received_at: Mapped[datetime]
    event: Mapped[dict[str, Any]]


class LineageNodeRecord(Base):
    """What all events say of one dataset, batch, feature view, model version, job or run."""

    __tablename__ = "lineage_nodes"

    key: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Digest of the id, which may be longer than an index takes."""
    id: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    namespace: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    facets: Mapped[dict[str, Any]]


class LineageEdgeRecord(Base):
    """By the keys of its ends."""

    __tablename__ = "lineage_edges"
    __table_args__ = (Index("lineage_edges_target", "target", "kind"),)

    source: Mapped[str] = mapped_column(String(32), primary_key=True)
    target: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    facets: Mapped[dict[str, Any]]
