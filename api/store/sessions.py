"""The two kinds of session, as types: what asks for a `Transaction` writes, what asks for a `ReadSession` cannot.

Nobody commits: `Database.begin()` does, once, at its edge. What is told on the way (timeline events, audit lines) is collected
in the transaction's journal and written last, so that the one lock it needs is held for the shortest time.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession


class ReadSession(AsyncSession):
    """Reads only; the database refuses anything else. Each statement sees what is committed when it runs."""


@dataclass(frozen=True)
class EventDraft:
    incident_id: str
    run_id: str | None
    name: str
    key: str | None
    data: dict[str, Any]
    at: datetime


@dataclass(frozen=True)
class AuditDraft:
    at: datetime
    actor: str
    action: str
    subject: str
    key: str | None
    data: dict[str, Any]


@dataclass
class Journal:
    """What a transaction has to tell; `api/store/journal.py` writes it before the commit."""

    events: list[EventDraft] = field(default_factory=list)
    audit: list[AuditDraft] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    """Incidents that events were written for: their readers are woken after the commit."""


class Transaction(ReadSession):
    """Reads and writes; all of it is on disk when `Database.begin()` has been left, or none of it is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.journal = Journal()

    @property
    def on_sqlite(self) -> bool:
        return self.get_bind().dialect.name == "sqlite"
