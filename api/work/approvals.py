"""Asking people and taking their answer. The SQL row is the truth: who decides first, decides; the graph is told afterwards.

A decision, its timeline event, its audit line and the run that it moves on are one transaction. Whoever loses the race is told
so, and what is late, on other content, or by the wrong person changes nothing.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, assert_never

import structlog

from agents import guard
from agents.policies import Policies
from agents.proposals import Approve, Decision, Edit, Proposal, Reject, Verdict
from api.problems import (
    AlreadyDecided,
    Clash,
    Expired,
    FieldError,
    Forbidden,
    Invalid,
    NotFound,
    OwnRequest,
    WrongFingerprint,
)
from api.store import approvals, audit, events, ids, incidents, runs
from api.store.approvals import FinalStatus
from api.store.database import Database
from api.store.records import ApprovalRecord
from api.store.sessions import Transaction
from api.store.text import storable
from tools.clock import Clock
from tools.errors import TemporaryError
from tools.values import Frozen

log = structlog.get_logger()

EXPIRY = "policy:expiry"
"""Who decides what nobody decided in time."""


class Decided(Frozen):
    approval_id: str
    status: FinalStatus | None
    """None: the vote counts, and others are needed."""
    votes: int
    """Approvals so far, this one included."""
    quorum: int
    verdict: Verdict | None
    run_id: str | None
    """The run that goes on with it: to be dispatched, now that it is committed."""


class Approvals:
    """`policies` is asked anew for each decision."""

    def __init__(self, database: Database, policies: Callable[[], Policies], clock: Clock) -> None:
        self._database = database
        self._policies = policies
        self._clock = clock
        self._unreadable: set[str] = set()

    async def open(
        self,
        transaction: Transaction,
        *,
        interrupt_id: str,
        proposal: Proposal,
        request: Mapping[str, Any],
        narrative: str,
        quorum: int,
        expires_at: datetime,
    ) -> ApprovalRecord:
        """Put the question and let the proposal's run wait for the answer, within the caller's transaction.

        Repeating it for the same run and interrupt returns the first row and changes nothing. What else is pending of this run
        is superseded: the world has moved on from it.
        """
        now = self._clock.now()
        existing = await approvals.of_interrupt(transaction, proposal.run_id, interrupt_id)
        if existing is not None:
            return existing
        earlier = await approvals.of_run(transaction, proposal.run_id)
        superseded = await approvals.supersede(transaction, proposal.run_id, at=now)
        approval_id = ids.new("apr", now)
        row = {
            "id": approval_id,
            "run_id": proposal.run_id,
            "incident_id": proposal.incident_id,
            "interrupt_id": interrupt_id,
            "proposal": proposal.model_dump(mode="json"),
            "request": dict(request),
            "narrative": narrative,
            "fingerprint": proposal.fingerprint,
            "nonce": secrets.token_hex(16),
            "status": "pending",
            "quorum": quorum,
            "requested_by": proposal.requested_by,
            "policy_version": self._policies().version,
            "replaces": earlier[-1].id if earlier and earlier[-1].status == "edited" else None,
            "created_at": now,
            "expires_at": expires_at,
        }
        if not await approvals.add(transaction, row):
            # Another process asked the same question between the look and the insert.
            raise Clash(f"the question of {proposal.run_id} is being asked already")
        if not await runs.wait_for_person(transaction, proposal.run_id, interrupt_id, at=now):
            raise Clash(f"the run {proposal.run_id} is not under way: nobody would act on the answer")
        await incidents.move(transaction, proposal.incident_id, "awaiting_approval", at=now)
        for old in superseded:
            _tell(transaction, proposal, "approval.superseded", {"approval": old, "by": approval_id}, "engine", now)
        told = {
            "approval": approval_id,
            "proposal": proposal.id,
            "title": proposal.title,
            "fingerprint": proposal.fingerprint,
            "quorum": quorum,
            "expires_at": expires_at.isoformat(),
        }
        _tell(transaction, proposal, "approval.requested", told, proposal.requested_by, now)
        record = await approvals.get(transaction, approval_id)
        assert record is not None
        return record

    async def decide(
        self,
        approval_id: str,
        *,
        principal: str,
        decision: Decision,
        fingerprint: str | None,
        comment: str = "",
        then: Callable[[Transaction, Decided], Awaitable[None]] | None = None,
    ) -> Decided:
        """Take one person's word. An approval is decided by its quorum of approvals, or by one edit or rejection.

        `fingerprint`: what the person was shown; None where that was asked for by id alone. `then` is done in the same
        transaction. Raises NotFound, AlreadyDecided (also for a second word of the same person), Expired, WrongFingerprint,
        OwnRequest, Forbidden, Invalid.
        """
        _check_words(decision, comment)
        async with self._database.begin() as transaction:
            now = self._clock.now()
            record = await approvals.lock(transaction, approval_id)
            if record is None:
                raise NotFound(f"there is no approval {approval_id[:64]!r}")
            proposal = Proposal.model_validate(record.proposal)
            _check_open(record, fingerprint, now)
            self._check_person(principal, decision, proposal)
            if isinstance(decision, Edit) and (flaw := guard.edit_flaw(proposal, decision.action)) is not None:
                raise Invalid("the edit is not taken", errors=(FieldError(field=flaw.field, detail=flaw.detail),))
            vote = {
                "approval_id": approval_id,
                "principal": principal,
                "decision": decision.model_dump(mode="json"),
                "comment": comment,
                "at": now,
            }
            if not await approvals.vote(transaction, vote):
                raise AlreadyDecided(f"{principal} has already voted on {approval_id}")
            voters = [each.principal for each in await approvals.votes(transaction, approval_id)]
            decided = await self._count(transaction, record, proposal, decision, voters, principal, comment)
            if then is not None:
                await then(transaction, decided)
        return decided

    async def _count(
        self,
        transaction: Transaction,
        record: ApprovalRecord,
        proposal: Proposal,
        decision: Decision,
        voters: list[str],
        principal: str,
        comment: str,
    ) -> Decided:
        """What the words so far come to."""
        now = self._clock.now()
        if isinstance(decision, Approve) and len(voters) < record.quorum:
            told = {
                "approval": record.id,
                "by": principal,
                "votes": len(voters),
                "quorum": record.quorum,
                "comment": comment,
            }
            _tell(transaction, proposal, "approval.voted", told, principal, now)
            return Decided(
                approval_id=record.id, status=None, votes=len(voters), quorum=record.quorum, verdict=None, run_id=None
            )
        decided_by = tuple(voters) if isinstance(decision, Approve) else (principal,)
        verdict = Verdict(decision=decision, fingerprint=record.fingerprint, decided_by=decided_by, decided_at=now)
        status = _status(decision)
        await _settle(transaction, record, proposal, status, verdict, principal, comment)
        return Decided(
            approval_id=record.id,
            status=status,
            votes=len(decided_by) if isinstance(decision, Approve) else 0,
            quorum=record.quorum,
            verdict=verdict,
            run_id=record.run_id,
        )

    async def expire_due(self) -> list[str]:
        """Reject, by policy, what nobody decided in time; the runs that go on with that, to be dispatched."""
        now = self._clock.now()
        async with self._database.read() as session:
            overdue = await approvals.overdue(session, now)
        moved = []
        for approval_id in overdue:
            try:
                moved += await self._expire(approval_id, now)
            except TemporaryError:
                raise
            except Exception:
                # One that cannot be read must not keep the others, nor the runs, waiting. It is said once.
                if approval_id not in self._unreadable:
                    self._unreadable.add(approval_id)
                    log.exception("approval.not_expired", approval=approval_id)
        return moved

    async def _expire(self, approval_id: str, now: datetime) -> list[str]:
        """Its run; none when somebody has decided meanwhile."""
        async with self._database.begin() as transaction:
            record = await approvals.lock(transaction, approval_id)
            if record is None or record.status != "pending":
                return []
            proposal = Proposal.model_validate(record.proposal)
            verdict = Verdict(
                decision=Reject(reason="expired"), fingerprint=record.fingerprint, decided_by=(EXPIRY,), decided_at=now
            )
            await _settle(transaction, record, proposal, "expired", verdict, EXPIRY, "")
            return [record.run_id]

    def _check_person(self, principal: str, decision: Decision, proposal: Proposal) -> None:
        match guard.may_decide(principal, proposal, self._policies()):
            case None:
                return
            case guard.Bar.OWN_REQUEST:
                # To take back or to change one's own request needs nobody else.
                if isinstance(decision, Approve):
                    raise OwnRequest(f"{principal} asked for this: somebody else has to approve it")
            case guard.Bar.NOT_AN_OWNER:
                raise Forbidden(f"{principal} is not an owner of what this changes")
            case unknown:
                assert_never(unknown)


async def withdraw(transaction: Transaction, run_id: str, *, by: str, reason: str, at: datetime) -> None:
    """End the question that the run waits on, if it does, as a no: somebody has ordered what leaves nothing to be asked.

    The run goes on with it, and is to be dispatched.
    """
    for known in await approvals.of_run(transaction, run_id):
        record = await approvals.lock(transaction, known.id) if known.status == "pending" else None
        if record is None or record.status != "pending":
            continue
        # A rejection has room for so much.
        verdict = Verdict(
            decision=Reject(reason=reason[:2_000]), fingerprint=record.fingerprint, decided_by=(by,), decided_at=at
        )
        await _settle(transaction, record, Proposal.model_validate(record.proposal), "superseded", verdict, by, "")


async def _settle(
    transaction: Transaction,
    record: ApprovalRecord,
    proposal: Proposal,
    status: FinalStatus,
    verdict: Verdict,
    actor: str,
    comment: str,
) -> None:
    """pending -> final, and the run moves on; raises AlreadyDecided or Clash when either has been moved by somebody else."""
    at = verdict.decided_at
    if not await approvals.decide(transaction, record.id, status, verdict.model_dump(mode="json"), at=at):
        raise AlreadyDecided(f"{record.id} has been decided by somebody else")
    if not await runs.resume(transaction, record.run_id, f"decision:{record.id}", at=at):
        raise Clash(f"the run {record.run_id} does not wait for a decision any more")
    told = {
        "approval": record.id,
        "status": status,
        "by": list(verdict.decided_by),
        "fingerprint": record.fingerprint,
        "decision": verdict.decision.model_dump(mode="json"),
        "comment": comment,
    }
    _tell(transaction, proposal, "approval.decided", told, actor, at)


def _tell(transaction: Transaction, proposal: Proposal, name: str, data: dict[str, Any], actor: str, at: datetime) -> None:
    events.append(transaction, proposal.incident_id, name, data, at=at, run_id=proposal.run_id)
    audit.append(transaction, at=at, actor=actor, action=name, subject=proposal.incident_id, data=data)


def _check_words(decision: Decision, comment: str) -> None:
    if isinstance(decision, Reject) and not decision.reason.strip():
        raise Invalid("a rejection says why", errors=(FieldError(field="decision.reason", detail="say why"),))
    said = {"comment": comment, "decision": json.dumps(decision.model_dump(), ensure_ascii=False)}
    for field, words in said.items():
        # JSON spells a NUL out, so it is looked for as it is spelt.
        if not storable(words) or "\\u0000" in words:
            raise Invalid(f"{field} holds what is no text", errors=(FieldError(field=field, detail="remove the NUL"),))


def _check_open(record: ApprovalRecord, fingerprint: str | None, now: datetime) -> None:
    if record.status == "expired" or (record.status == "pending" and now >= record.expires_at):
        raise Expired(f"the time to decide ended at {record.expires_at.isoformat()}")
    if record.status == "superseded":
        raise AlreadyDecided(f"{record.id} was superseded: the world has moved, and there is a newer proposal or none")
    if record.status != "pending":
        by = ", ".join((record.verdict or {}).get("decided_by", ()))
        raise AlreadyDecided(f"{record.id} was {record.status} by {by}")
    if fingerprint is not None and fingerprint != record.fingerprint:
        raise WrongFingerprint(f"{record.id} is about {record.fingerprint}, not what was decided on")


def _status(decision: Decision) -> FinalStatus:
    match decision:
        case Approve():
            return "approved"
        case Edit():
            return "edited"
        case Reject():
            return "rejected"
        case unknown:
            assert_never(unknown)
