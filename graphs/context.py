"""What a run carries with it: LangGraph's runtime context. Never checkpointed, handed in again on every resume."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

from agents.actions import WorldState
from agents.alerts import Alert
from agents.policies import Mode, Policies
from agents.proposals import Failure, GivenUp, Proposal, Receipt
from graphs.state import RunState
from tools.clock import Clock
from tools.costs.prices import PriceBook
from tools.toolbox import Toolbox


class Ledger(Protocol):
    """The record of intents and receipts; what makes an action happen once."""

    async def intend(self, proposal: Proposal, before: WorldState) -> tuple[WorldState, Receipt | None]:
        """Write the intent, or find it: the `before` that was first recorded, and the receipt if it is already done.

        What the action claims (`agents.claims`) is its own from now on. Raises Claimed when another action has it.
        """
        ...

    async def release(self, key: str) -> None:
        """What the action has begun is over, and another may claim the same. Repeating it is a no-op."""
        ...

    async def intended(self, key: str) -> datetime | None:
        """When the intent was recorded, whatever became of it; None while there is none."""
        ...

    async def complete(self, receipt: Receipt) -> None: ...

    async def fail(self, key: str, error: str, *, kind: GivenUp = "broke", route: int | None = None) -> None:
        """Give it up, for good; see `Failure`. A no-op for what is done, was given up before, or was never intended."""
        ...

    async def failure(self, key: str) -> Failure | None:
        """How it was given up; None: it was not."""
        ...

    async def named(self, model: str) -> frozenset[str]:
        """Versions of the model that somebody is still at: of what open runs have proposed, asked about or done, and of
        rollouts and experiments that are under way."""
        ...


class Order(NamedTuple):
    """What a person wants of a rollout in progress, or what a look has found while people were asked about it."""

    kind: Literal["pause", "abort", "worse"]
    by: str
    reason: str

    @property
    def ends(self) -> bool:
        return self.kind != "pause"


class Timeline(Protocol):
    """What the people of the run's incident read, in the order in which it happens. Repeating adds nothing."""

    async def tell(self, state: RunState) -> None:
        """How far the run has come. Whoever moves the run tells it wherever the run pauses; a step tells it before it acts, or
        before it overwrites what nobody has been told."""
        ...

    async def not_announced(self, channel: str, key: str, reason: str) -> None:
        """The message of that key did not reach the channel."""
        ...


@dataclass(frozen=True)
class Context:
    tools: Toolbox
    ledger: Ledger
    policies: Policies
    mode: Callable[[], Awaitable[Mode]]
    """The autonomy in force now; asked again right before acting, because the kill switch may have been thrown."""
    clock: Clock
    timeline: Timeline
    order: Callable[[str], Awaitable[Order | None]]
    """What stands ordered about the rollout that a run (by id) has under way, or ordered about one that has become champion
    since; None: it goes on by itself."""
    joined: Callable[[str], Awaitable[tuple[Alert, ...]]]
    """Alerts that have joined the incident of a run (by id) and that no run of it has read."""
    address: str
    """Where people reach the service, without a slash at the end."""
    prices: PriceBook | None = None
    """What things cost; None: nobody says, and then neither trainings nor what would be saved can be reckoned."""

    def incident_link(self, incident_id: str) -> str:
        return f"{self.address}/v1/incidents/{incident_id}"

    def approval_link(self, approval_id: str) -> str:
        return f"{self.address}/v1/approvals/{approval_id}"
