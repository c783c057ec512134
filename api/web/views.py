"""What the API shows of the records: the public contract, independent of how rows are laid out."""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from api.store.paging import Page

T = TypeVar("T", bound=BaseModel)

IncidentStatus = Literal[
    "debouncing", "investigating", "awaiting_approval", "acting", "verifying", "resolved", "escalated", "self_resolved"
]
ApprovalStatus = Literal["pending", "approved", "rejected", "edited", "expired", "superseded"]


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True, use_attribute_docstrings=True)


class PageView(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(description="Hand it in as `cursor` for what follows; null at the end.")


def paged(page: Page[Any], view: type[T]) -> PageView[T]:
    return PageView[T](items=[view.model_validate(item) for item in page.items], next_cursor=page.next_cursor)


class AlertView(View):
    id: str
    incident_id: str | None
    """Null: it was resolved, and we had never seen it firing."""
    source: str
    fingerprint: str
    """With `starts_at` its identity."""
    status: Literal["firing", "resolved"]
    name: str
    severity: str
    labels: dict[str, Any]
    annotations: dict[str, Any]
    link: str
    starts_at: datetime
    ends_at: datetime | None
    first_seen_at: datetime
    last_seen_at: datetime
    deliveries: int


class IncidentSummary(View):
    id: str
    subject: str
    """`model:{name}` or `component:{name}`. It has one open incident at a time."""
    model: str | None
    title: str
    severity: str
    status: IncidentStatus
    cause: str | None
    """The leading cause once it was looked into; `unresolved` when the evidence does not part the candidates."""
    summary: str | None
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None


class RunView(View):
    id: str
    incident_id: str
    subject: str
    status: Literal["queued", "running", "waiting", "completed", "failed", "cancelled"]
    due_at: datetime | None
    """When it starts or wakes; null while it waits for a person."""
    event: str
    """What moves it on next."""
    outcome: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime


class ApprovalView(View):
    id: str
    run_id: str
    incident_id: str
    status: ApprovalStatus
    fingerprint: str
    """Send it with the decision: it says what was shown."""
    proposal: dict[str, Any]
    request: dict[str, Any]
    """The same question in LangChain's human-in-the-loop form."""
    narrative: str
    """Markdown for people."""
    quorum: int
    """How many people have to approve."""
    requested_by: str
    policy_version: str
    replaces: str | None
    """The approval that was edited into this one."""
    verdict: dict[str, Any] | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None


class ActionView(View):
    key: str
    run_id: str
    incident_id: str
    state: Literal["intended", "done", "failed"]
    proposal: dict[str, Any]
    before: dict[str, Any]
    receipt: dict[str, Any] | None
    error: str | None
    intended_at: datetime
    finished_at: datetime | None


class IncidentView(IncidentSummary):
    report: dict[str, Any] | None
    """Narrative, finding, receipt and verification of the last run."""
    alerts: list[AlertView]
    """The first hundred; the others are at `/v1/alerts?incident_id=`."""
    runs: list[RunView]
    approvals: list[ApprovalView]
    actions: list[ActionView]


class EventView(View):
    seq: int
    """Grows in the order of commits; the id of the event in the stream."""
    incident_id: str
    run_id: str | None
    name: str
    data: dict[str, Any]
    at: datetime


class AuditView(View):
    seq: int
    at: datetime
    actor: str
    action: str
    subject: str
    data: dict[str, Any]
    previous: str
    """Hash of the line before."""
    hash: str
    """SHA-256 over the previous hash and this line."""


KEY_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$"
"""Principals are shown in approvals and in the audit log, so they are made of letters that look like what they are."""


class KeyView(View):
    id: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
