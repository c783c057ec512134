"""What the API shows of the records: the public contract, independent of how rows are laid out."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from api.store.paging import Page

T = TypeVar("T", bound=BaseModel)


class View(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class PageView(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None
    """Hand it in as `cursor` for what follows; null at the end."""


def paged(page: Page[Any], view: type[T], convert: Callable[[Any], T] | None = None) -> PageView[T]:
    make = convert or view.model_validate
    return PageView[T](items=[make(item) for item in page.items], next_cursor=page.next_cursor)


class AlertView(View):
    id: str
    incident_id: str | None
    source: str
    fingerprint: str
    status: str
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
    model: str | None
    title: str
    severity: str
    status: str
    cause: str | None
    summary: str | None
    opened_at: datetime
    updated_at: datetime
    closed_at: datetime | None


class RunView(View):
    id: str
    incident_id: str
    subject: str
    status: str
    due_at: datetime | None
    event: str
    outcome: str | None
    error: str | None
    created_at: datetime
    updated_at: datetime


class ApprovalView(View):
    id: str
    run_id: str
    incident_id: str
    status: str
    fingerprint: str
    """Send it with the decision: it says what was shown."""
    proposal: dict[str, Any]
    request: dict[str, Any]
    """The same question in LangChain's human-in-the-loop form."""
    narrative: str
    """Markdown for people."""
    quorum: int
    requested_by: str
    policy_version: str
    replaces: str | None
    verdict: dict[str, Any] | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None


class ActionView(View):
    key: str
    run_id: str
    incident_id: str
    state: str
    proposal: dict[str, Any]
    before: dict[str, Any]
    receipt: dict[str, Any] | None
    error: str | None
    intended_at: datetime
    finished_at: datetime | None


class IncidentView(IncidentSummary):
    report: dict[str, Any] | None
    alerts: list[AlertView]
    runs: list[RunView]
    approvals: list[ApprovalView]
    actions: list[ActionView]


class EventView(View):
    seq: int
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
    hash: str


class KeyView(View):
    id: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
