"""What people have ordered of what a run has under way on its model's traffic, or has made champion: whichever that is."""

from api.store.database import Database
from api.store.sessions import ReadSession
from api.work import experiments, rollouts
from graphs.context import Order


async def ordered(session: ReadSession, run_id: str) -> Order | None:
    return await rollouts.ordered(session, run_id) or await experiments.ordered(session, run_id)


class Orders:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def standing(self, run_id: str) -> Order | None:
        async with self._database.read() as session:
            return await ordered(session, run_id)
