"""Rows that guard against doing something twice go when they have served, and no others."""

from datetime import datetime, timedelta

from agents.policies import Retention
from api.store.database import Database
from api.store.notifications import SentMessages
from api.work.tidying import BATCH, Tidying
from tests.twins.clock import SteppedClock
from tools.notify.port import Message

MESSAGE = Message(title="Look", body="It drifts.")


class Moves:
    """Ends of moves, as an engine keeps them."""

    def __init__(self, *ended: datetime) -> None:
        self.ended = sorted(ended)
        self.asked: list[int] = []

    async def forget(self, before: datetime, limit: int) -> int:
        gone = [at for at in self.ended if at < before][:limit]
        self.asked.append(len(gone))
        self.ended = self.ended[len(gone) :]
        return len(gone)


async def test_the_old_goes_and_the_young_stays(database: Database) -> None:
    clock = SteppedClock()
    sent, moves = SentMessages(database, clock), Moves(clock.now(), clock.now() + timedelta(days=85))
    tidying = Tidying(moves, sent, Retention, clock)
    await sent.record("old", "ops", MESSAGE)
    clock.pass_(timedelta(days=89))
    await sent.record("young", "ops", MESSAGE)
    assert await tidying.once() == 1
    assert await sent.already("old")
    clock.pass_(timedelta(days=1, seconds=1))
    assert await tidying.once() == 1
    assert not await sent.already("old")
    assert await sent.already("young")
    assert len(moves.ended) == 1
    assert tidying.dropped == {"moves": 1, "messages": 1}
    assert await tidying.once() == 0


async def test_what_has_gone_is_sent_again_under_its_key(database: Database) -> None:
    clock = SteppedClock()
    sent = SentMessages(database, clock)
    await sent.record("key", "ops", MESSAGE)
    assert await sent.forget(clock.now() + timedelta(seconds=1), limit=10) == 1
    assert not await sent.already("key")
    await sent.record("key", "ops", MESSAGE)
    assert await sent.already("key")


async def test_many_go_in_batches(database: Database) -> None:
    clock = SteppedClock()
    moves = Moves(*(clock.now() - timedelta(days=8, seconds=each) for each in range(BATCH * 2 + 1)))
    assert await Tidying(moves, SentMessages(database, clock), Retention, clock).once() == BATCH * 2 + 1
    assert moves.asked == [BATCH, BATCH, 1]
