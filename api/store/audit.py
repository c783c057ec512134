"""The audit log: who did what, append-only, each line bound to the one before by its hash."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Text, func, select, type_coerce

from api.store import paging
from api.store.chain import GENESIS, Line
from api.store.paging import Page
from api.store.records import AuditRecord
from api.store.sessions import AuditDraft, ReadSession, Transaction
from api.store.text import storable


@dataclass(frozen=True)
class AuditVerification:
    ok: bool
    lines: int
    """How many were read; up to the first bad one when there is one."""
    first_bad_seq: int | None
    """Where the chain first does not hold: that line, or one before it, is not what was written."""
    head: str
    """Hash of the last good line. Kept elsewhere, it also shows that the end of the log was cut off."""


def append(
    transaction: Transaction,
    *,
    at: datetime,
    actor: str,
    action: str,
    subject: str,
    data: Mapping[str, Any],
    key: str | None = None,
) -> None:
    """Write a line with this transaction: both are there, or neither. With a `key` it is written once."""
    transaction.journal.audit.append(AuditDraft(at, actor, action, subject, key, dict(data)))


async def page(
    session: ReadSession,
    *,
    subject: str | None = None,
    actor: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[AuditRecord]:
    """Newest first."""
    statement = select(AuditRecord)
    for column, wanted in ((AuditRecord.subject, subject), (AuditRecord.actor, actor)):
        if wanted is not None:
            if not storable(wanted):
                return Page([], None)
            statement = statement.where(column == wanted)
    return await paging.by_seq(session, statement, AuditRecord.seq, limit=limit, cursor=cursor, newest_first=True)


async def verify(session: ReadSession, *, batch: int = 1000) -> AuditVerification:
    """Walk the chain from its start to its end, `batch` lines at a time, so in constant memory."""
    lines, head, position = 0, GENESIS, _BEFORE_ALL
    while True:
        statement = select(*_CONTENT).where(AuditRecord.seq > position).order_by(AuditRecord.seq).limit(batch)
        try:
            rows = (await session.execute(statement)).all()
        except ValueError:
            # A time that is none: SQLite keeps whatever somebody writes. The lines before it are still read one by one.
            if batch == 1:
                bad = await session.scalar(select(func.min(AuditRecord.seq)).where(AuditRecord.seq > position))
                return AuditVerification(ok=False, lines=lines, first_bad_seq=bad, head=head)
            batch = 1
            continue
        for seq, at, actor, action, subject, key, data, previous, written in rows:
            line = Line(seq, at, actor, action, subject, key, data)
            if line.seq != lines + 1 or previous != head or not _holds(line, previous, written):
                return AuditVerification(ok=False, lines=lines, first_bad_seq=line.seq, head=head)
            lines, head, position = line.seq, written, line.seq
        if len(rows) < batch:
            return AuditVerification(ok=True, lines=lines, first_bad_seq=None, head=head)


def _holds(line: Line, previous: str, written: str) -> bool:
    try:
        return line.hash_after(previous) == written
    except TypeError:
        # SQLite also keeps bytes where text belongs.
        return False


_BEFORE_ALL = -(2**62)

# The text of `data` as it is stored: what is hashed is every byte, not what a parser makes of it.
_CONTENT = (
    AuditRecord.seq,
    AuditRecord.at,
    AuditRecord.actor,
    AuditRecord.action,
    AuditRecord.subject,
    AuditRecord.key,
    type_coerce(AuditRecord.data, Text),
    AuditRecord.previous,
    AuditRecord.hash,
)
