"""Where alerts enter. When `accept` returns, everything that follows from them is on disk: alert, incident, run, event, audit.

Deliveries that arrive while a transaction is being committed share the next one: waiting for the disk is what costs, and it is
waited for once for all of them. Each caller still gets its own answer, and one that fails does not fail the others.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC

from agents.alerts import Alert
from agents.policies import Policies
from agents.subjects import Subject, subject_of
from api.problems import FieldError, Invalid, Overloaded
from api.store.alerts import Identity
from api.store.database import Database
from api.store.text import all_storable
from api.work.admission import Accepted, admit
from api.work.casebook import Delivery
from tools.clock import Clock
from tools.errors import Conflict, TemporaryError

_BATCH_ALERTS = 2_000
"""A transaction takes deliveries until it has this many alerts: on two cores that is about a tenth of a second of work."""
_ATTEMPTS = 5
"""Two replicas that open the same incident at once: the second one finds it at its next attempt."""
_HELD_ALERTS = 50_000
"""More than this waiting, and the sender is asked to come back: it has the alerts, and memory is bounded."""


@dataclass(frozen=True)
class _Waiting:
    delivery: Delivery
    answer: "asyncio.Future[Accepted]"


class Intake:
    """`policies` is asked anew for each batch, so that a change of policy holds at once."""

    def __init__(self, database: Database, policies: Callable[[], Policies], clock: Clock) -> None:
        self._database = database
        self._policies = policies
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._held = 0
        self._writer: asyncio.Task[None] | None = None

    async def accept(
        self, alerts: Sequence[Alert], *, actor: str, truncated: int = 0, about: Subject | None = None
    ) -> Accepted:
        """Returns after the commit. `truncated`: alerts that the sender says it left out. `about`: what they speak of, where
        whoever hands them in knows that.

        Raises Invalid for what cannot be stored, Overloaded when too much waits already, TemporaryError when the store is away.
        """
        delivery = Delivery(tuple(self._checked(alerts, about)), actor, truncated)
        if self._held and self._held + len(alerts) > _HELD_ALERTS:
            raise Overloaded(f"{self._held} alerts are waiting to be stored", retry_after_s=2)
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(delivery, answer))
        self._held += len(alerts)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="intake")
        return await answer

    def _checked(self, alerts: Sequence[Alert], about: Subject | None) -> Iterator[tuple[Identity, Subject, Alert]]:
        policy = self._policies().intake
        for index, alert in enumerate(alerts):
            flaw = _flaw(alert)
            if flaw is not None:
                field, detail = flaw
                raise Invalid(
                    f"alert {index} cannot be stored", errors=(FieldError(field=f"alerts[{index}].{field}", detail=detail),)
                )
            identity = Identity(alert.source, alert.fingerprint, alert.starts_at.astimezone(UTC))
            yield identity, about or subject_of(alert, policy), alert

    async def _write(self) -> None:
        while self._waiting:
            batch = [self._next()]
            size = len(batch[0].delivery.alerts)
            while self._waiting and size + len(self._waiting[0].delivery.alerts) <= _BATCH_ALERTS:
                batch.append(self._next())
                size += len(batch[-1].delivery.alerts)
            await self._answer(batch)

    def _next(self) -> _Waiting:
        waiting = self._waiting.popleft()
        self._held -= len(waiting.delivery.alerts)
        return waiting

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            accepted = await self._commit([waiting.delivery for waiting in batch])
        except BaseException as error:
            if len(batch) > 1 and isinstance(error, Exception) and not isinstance(error, TemporaryError):
                # One of them is to blame; alone, each gets its own answer.
                for waiting in batch:
                    await self._answer([waiting])
                return
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
            return
        for waiting, answer in zip(batch, accepted, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(answer)

    async def _commit(self, deliveries: list[Delivery]) -> list[Accepted]:
        attempt = 1
        while True:
            try:
                async with self._database.begin() as transaction:
                    return await admit(transaction, deliveries, self._policies(), self._clock.now())
            except (Conflict, TemporaryError) as error:
                # Somebody else wrote the same rows, or waited for ours while we waited for theirs: all of it was taken back.
                # A store that is away is tried once more and then said to be away: the sender has the alerts, and comes back.
                if attempt >= (_ATTEMPTS if isinstance(error, Conflict) else 2):
                    raise
                attempt += 1


def _flaw(alert: Alert) -> tuple[str, str] | None:
    """The field that no database takes, and why."""
    texts = {
        "source": (alert.source,),
        "fingerprint": (alert.fingerprint,),
        "name": (alert.name,),
        "labels": (*alert.labels, *alert.labels.values()),
        "annotations": (*alert.annotations, *alert.annotations.values()),
        "groupKey": (alert.group_key,),
        "link": (alert.link,),
    }
    for field, values in texts.items():
        if not all_storable(values):
            return field, "holds a NUL or half of a surrogate pair, which is no text"
    if len(alert.source) > 100:
        return "source", "is longer than 100 characters"
    for field, moment in (("startsAt", alert.starts_at), ("endsAt", alert.ends_at)):
        try:
            _ = moment and moment.astimezone(UTC)
        except OverflowError:
            return field, "is not within the years 1 to 9999 in UTC"
    return None
