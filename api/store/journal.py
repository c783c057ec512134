"""Writes what a transaction has to tell: its timeline events and its audit lines, last, under one lock.

The lock makes the order of `seq` the order of commits. Without it a PostgreSQL sequence hands out 5 and 6, 6 commits first, a
reader has seen 6 and never looks for 5 again; and two audit lines would follow the same one. It is held until the commit is
visible, which is why nothing is done under it but these few statements. SQLite has one writer, so the order is given there.
"""

from typing import Any

from sqlalchemy import select, text

from api.store.chain import GENESIS, Line, canonical
from api.store.records import AuditRecord, EventRecord
from api.store.sessions import AuditDraft, Transaction
from api.store.statements import insert, table

_LOCK = 0x6F7070656E
"""Any number that nobody else takes in this database: "oppen"."""


async def write(transaction: Transaction) -> None:
    """What is written is no longer in the journal, so that writing twice in a transaction writes nothing twice."""
    journal = transaction.journal
    told, lines = journal.events, journal.audit
    if not (told or lines):
        return
    journal.events, journal.audit = [], []
    if not transaction.on_sqlite:
        await transaction.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    if told:
        journal.touched |= {draft.incident_id for draft in told}
        rows = [
            {
                "incident_id": draft.incident_id,
                "run_id": draft.run_id,
                "name": draft.name,
                "key": draft.key,
                "data": draft.data,
                "at": draft.at,
            }
            for draft in told
        ]
        await transaction.execute(insert(transaction, EventRecord).on_conflict_do_nothing(index_elements=["key"]), rows)
    if lines:
        await _extend_chain(transaction, lines)


async def _extend_chain(transaction: Transaction, drafts: list[AuditDraft]) -> None:
    audit = table(AuditRecord)
    keys = {draft.key for draft in drafts if draft.key is not None}
    told = set(await transaction.scalars(select(audit.c.key).where(audit.c.key.in_(keys)))) if keys else set()
    last = (await transaction.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1))).first()
    seq, previous = (last.seq, last.hash) if last is not None else (0, GENESIS)
    rows: list[dict[str, Any]] = []
    for draft in drafts:
        if draft.key is not None:
            if draft.key in told:
                continue
            told.add(draft.key)
        seq += 1
        line = Line(seq, draft.at, draft.actor, draft.action, draft.subject, draft.key, canonical(draft.data))
        fresh = line.hash_after(previous)
        rows.append({**vars(draft), "seq": seq, "previous": previous, "hash": fresh})
        previous = fresh
    if rows:
        await transaction.execute(insert(transaction, AuditRecord), rows)
