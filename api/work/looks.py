"""Looks at rollouts about which people are asked meanwhile: their runs wait, and the challenger is served.

A run that waits for people moves for nobody else (docs/architecture.md, rule 2), so this looks from outside: it reads how far
the rollout has come, measures as its own look would, and where that finds it worse it orders its end, as a person does with an
abort. The order ends the question in the same transaction; the run carries the order out. Killed in between, nothing has
happened, or all of it is on record; found again by another replica, it stands already.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import structlog

from agents.policies import Policies
from agents.rollouts import Choice, Decision
from api.problems import Clash
from api.store import rollouts
from api.store.database import Database
from api.store.records import RolloutRecord
from api.work.rollouts import Rollouts
from tools.clock import Clock
from tools.errors import PortError, TemporaryError

log = structlog.get_logger()

LOOKS = "agent:looks"
"""In whose name the question is ended."""


class Seen(Protocol):
    @property
    def rollout(self) -> str:
        """Key of the proposal that began it."""
        ...

    @property
    def decision(self) -> Decision: ...


Glance = Callable[[str], Awaitable[Seen | None]]
"""By run; see `Runner.glance`."""


class Looks:
    def __init__(
        self,
        database: Database,
        orders: Rollouts,
        glance: Glance,
        dispatch: Callable[[str], Awaitable[None]],
        policies: Callable[[], Policies],
        clock: Clock,
    ) -> None:
        self._database = database
        self._orders = orders
        self._glance = glance
        self._dispatch = dispatch
        self._policies = policies
        self._clock = clock
        self._looked: dict[str, datetime] = {}

    async def once(self) -> int:
        """How many were looked at.

        Raises TemporaryError when the database is away; or, after all others were looked at, when one could not be.
        """
        async with self._database.read() as session:
            asked = await rollouts.asked_about(session)
        self._looked = {each.id: self._looked[each.id] for each in asked if each.id in self._looked}
        due = [each for each in asked if self._due(each)]
        delayed = []
        for record in due:
            try:
                await self._look(record)
            except PortError as error:
                # For now, or for good: the question expires, and one that cannot be seen keeps no other unseen.
                delayed.append(f"{record.id}: {error}")
                log.warning("rollout.unseen", rollout=record.id, reason=str(error))
        if delayed:
            told = "; ".join(delayed[:3])
            raise TemporaryError(f"{len(delayed)} that people are asked about cannot be seen for now ({told})")
        return len(due)

    def _due(self, record: RolloutRecord) -> bool:
        looked, every = self._looked.get(record.id), self._policies().rollouts_of(record.model).look_every
        return looked is None or self._clock.now() - looked >= every

    async def _look(self, record: RolloutRecord) -> None:
        seen = await self._glance(record.run_id)
        now = self._clock.now()
        self._looked[record.id] = now
        if seen is None or seen.rollout != record.proposal_id:
            return
        async with self._database.begin() as transaction:
            # Who decides sees how it stands now, not how it stood when they were asked.
            await rollouts.seen(transaction, record.id, seen.decision.model_dump(mode="json"), at=now)
        if seen.decision.choice is not Choice.ROLLBACK:
            return
        try:
            await self._orders.order(record.id, "worse", by=LOOKS, reason=seen.decision.reason)
        except Clash as known:
            log.info("rollout.ended_already", rollout=record.id, reason=str(known))
        else:
            log.warning("rollout.worse", rollout=record.id, reason=seen.decision.reason)
            await self._dispatch(record.run_id)
