"""The ledger of actions in memory, with the rules of the real one."""

from datetime import datetime

from agents.actions import CHANGES_NOTHING, WorldState
from agents.claims import claim_of
from agents.naming import versions_of
from agents.proposals import Failure, GivenUp, Proposal, Receipt
from tools.clock import Clock
from tools.errors import Claimed, PermanentError


class TwinLedger:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.times: dict[str, datetime] = {}
        self.intents: dict[str, tuple[Proposal, WorldState]] = {}
        self.receipts: dict[str, Receipt] = {}
        self.failures: dict[str, str] = {}
        self.kinds: dict[str, Failure] = {}
        self.claims: dict[str, str] = {}
        """Claim -> who has it."""
        self.at: dict[str, set[str]] = {}
        """Model -> versions that runs beside this one are at."""

    async def intend(self, proposal: Proposal, before: WorldState) -> tuple[WorldState, Receipt | None]:
        claim = claim_of(proposal.action)
        if claim is not None and proposal.id not in self.intents:
            holder = self.claims.setdefault(claim, proposal.id)
            if holder != proposal.id:
                raise Claimed(claim, holder, pending=holder not in self.receipts and holder not in self.failures)
        self.times.setdefault(proposal.id, self._clock.now())
        known, first = self.intents.setdefault(proposal.id, (proposal, before))
        if known.fingerprint != proposal.fingerprint:
            raise PermanentError(f"{proposal.id} stands for another action")
        if proposal.id in self.failures:
            raise PermanentError(f"{proposal.id} was given up: {self.failures[proposal.id]}")
        return first, self.receipts.get(proposal.id)

    async def intended(self, key: str) -> datetime | None:
        return self.times.get(key)

    async def named(self, model: str) -> frozenset[str]:
        """Of what was intended, as if its run had not ended, and of what a test has others be at."""
        actions = [proposal.action for proposal, _ in self.intents.values()]
        about = [each for each in actions if not isinstance(each, CHANGES_NOTHING) and each.model == model]
        return frozenset({*self.at.get(model, ()), *(version for each in about for version in versions_of(each))})

    async def complete(self, receipt: Receipt) -> None:
        if receipt.key not in self.intents or receipt.key in self.failures:
            raise PermanentError(f"{receipt.key} cannot be done")
        self.receipts.setdefault(receipt.key, receipt)

    async def fail(self, key: str, error: str, *, kind: GivenUp = "broke", route: int | None = None) -> None:
        if key in self.intents and key not in self.receipts:
            self.failures.setdefault(key, error)
            self.kinds.setdefault(key, Failure(kind=kind, reason=error, route=route))
            await self.release(key)

    async def failure(self, key: str) -> Failure | None:
        return self.kinds.get(key)

    async def release(self, key: str) -> None:
        self.claims = {claim: holder for claim, holder in self.claims.items() if holder != key}
