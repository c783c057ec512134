"""The ledger of actions (`graphs.context.Ledger`): what was meant before the first call, what was done after the last."""

from datetime import datetime

from sqlalchemy import func, select, update

from agents.actions import WorldState
from agents.claims import claim_of
from agents.proposals import Failure, GivenUp, Proposal, Receipt
from api.store import audit, events, ids, naming, paging
from api.store.database import Database
from api.store.paging import Page
from api.store.records import ActionRecord, RunRecord
from api.store.sessions import ReadSession, Transaction
from api.store.statements import insert
from tools.clock import Clock
from tools.errors import Claimed, PermanentError


class ActionLedger:
    """An action's key is its proposal's id. Its state goes from `intended` to `done` or to `failed`, once."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def intend(self, proposal: Proposal, before: WorldState) -> tuple[WorldState, Receipt | None]:
        """Write the intent, or find it: the `before` that was first recorded, and the receipt if it is already done.

        Raises PermanentError when the key stands for another proposal, or for an action that was given up: what was once
        declared failed is not done after all. Raises Claimed when another action is at what this one claims.
        """
        async with self._database.begin() as transaction:
            if await self._note(transaction, proposal, before):
                return before, None
            record = await transaction.get(ActionRecord, proposal.id)
            if record is None:
                raise await _claimed(transaction, proposal)
        if Proposal.model_validate(record.proposal).fingerprint != proposal.fingerprint:
            raise PermanentError(f"{proposal.id} stands for another action")
        if record.state == "failed":
            raise PermanentError(f"{proposal.id} was given up: {record.error}")
        receipt = None if record.receipt is None else Receipt.model_validate(record.receipt)
        return WorldState.model_validate(record.before), receipt

    async def intended(self, key: str) -> datetime | None:
        async with self._database.read() as session:
            record = await session.get(ActionRecord, key)
        return None if record is None else record.intended_at

    async def complete(self, receipt: Receipt) -> None:
        """Repeating it is a no-op. Raises PermanentError for what was never intended, or was given up."""
        content = receipt.model_dump(mode="json")
        async with self._database.begin() as transaction:
            if await self._end(transaction, receipt.key, state="done", receipt=content):
                return
            record = await transaction.get(ActionRecord, receipt.key)
        if record is None or record.state != "done":
            raise PermanentError(f"{receipt.key} cannot be done: it {'was given up' if record else 'was never intended'}")

    async def fail(self, key: str, error: str, *, kind: GivenUp = "broke", route: int | None = None) -> None:
        """Give it up; a no-op for what is done, was given up before, or was never intended."""
        async with self._database.begin() as transaction:
            await self._end(transaction, key, state="failed", error=error, failure={"kind": kind, "route": route})

    async def failure(self, key: str) -> Failure | None:
        async with self._database.read() as session:
            record = await session.get(ActionRecord, key)
        if record is None or record.state != "failed":
            return None
        # Given up by an earlier build: for what, its text alone says.
        return Failure.model_validate({"kind": "broke", "reason": record.error or "", **(record.failure or {})})

    async def named(self, model: str) -> frozenset[str]:
        async with self._database.read() as session:
            return await naming.named(session, model)

    async def release(self, key: str) -> None:
        async with self._database.begin() as transaction:
            await transaction.execute(update(ActionRecord).where(ActionRecord.key == key).values(claim=None))

    async def _note(self, transaction: Transaction, proposal: Proposal, before: WorldState) -> bool:
        now = self._clock.now()
        content = proposal.model_dump(mode="json")
        statement = (
            insert(transaction, ActionRecord)
            .values(
                key=proposal.id,
                run_id=proposal.run_id,
                incident_id=proposal.incident_id,
                proposal=content,
                state="intended",
                before=before.model_dump(mode="json"),
                intended_at=now,
                claim=claim_of(proposal.action),
            )
            # Of its key, or of what it claims: which of them, its caller finds out.
            .on_conflict_do_nothing()
            .returning(ActionRecord.key)
        )
        if (await transaction.execute(statement)).first() is None:
            return False
        told = {"action": content["action"], "fingerprint": proposal.fingerprint, "key": proposal.id}
        events.append(transaction, proposal.incident_id, "action.intended", told, at=now, run_id=proposal.run_id)
        audit.append(transaction, at=now, actor="engine", action="action.intended", subject=proposal.incident_id, data=told)
        return True

    async def _end(self, transaction: Transaction, key: str, **values: object) -> bool:
        now = self._clock.now()
        if values["state"] == "failed":
            values["claim"] = None
        ended = await transaction.execute(
            update(ActionRecord)
            .where(ActionRecord.key == key, ActionRecord.state == "intended")
            .values(finished_at=now, **values)
            .returning(ActionRecord.run_id, ActionRecord.incident_id)
        )
        row = ended.first()
        if row is None:
            return False
        name = f"action.{values['state']}"
        told = {"key": key} | {word: values[word] for word in ("receipt", "error") if word in values}
        events.append(transaction, row.incident_id, name, told, at=now, run_id=row.run_id)
        audit.append(transaction, at=now, actor="engine", action=name, subject=row.incident_id, data=told)
        return True


async def _claimed(session: ReadSession, proposal: Proposal) -> Claimed:
    claim = claim_of(proposal.action) or ""
    found = await session.execute(
        select(ActionRecord.key, ActionRecord.state, RunRecord.status)
        .outerjoin(RunRecord, RunRecord.id == ActionRecord.run_id)
        .where(ActionRecord.claim == claim)
    )
    # The statement before found it taken, within this transaction; on PostgreSQL it may have been let go since.
    key, state, status = found.one_or_none() or ("another action", "intended", None)
    return Claimed(claim, key, pending=state == "intended" and status not in ("completed", "failed", "cancelled"))


async def get(session: ReadSession, key: str) -> ActionRecord | None:
    return await session.get(ActionRecord, key) if _is_key(key) else None


async def of_run(session: ReadSession, run_id: str) -> list[ActionRecord]:
    return list(await session.scalars(select(ActionRecord).where(ActionRecord.run_id == run_id)))


async def of_incident(session: ReadSession, incident_id: str) -> list[ActionRecord]:
    """In the order in which they were intended."""
    statement = select(ActionRecord).where(ActionRecord.incident_id == incident_id)
    # Keys are `{run}/{attempt}`: of one moment, the tenth attempt follows the ninth.
    order = (ActionRecord.intended_at, func.length(ActionRecord.key), ActionRecord.key)
    return list(await session.scalars(statement.order_by(*order)))


async def page(
    session: ReadSession, *, state: str | None = None, limit: int = 50, cursor: str | None = None
) -> Page[ActionRecord]:
    """Newest run first."""
    statement = select(ActionRecord)
    if state is not None:
        statement = statement.where(ActionRecord.state == state)
    return await paging.newest_first(session, statement, ActionRecord.key, limit=limit, cursor=cursor, well_formed=_is_key)


def _is_key(text: str) -> bool:
    """`{run}/{attempt}`."""
    run, _, attempt = text.partition("/")
    return ids.well_formed(run) and attempt.isascii() and attempt.isdigit()
