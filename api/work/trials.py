"""Experiments as the meters know them: whose answers are an experiment's, from when to when."""

from collections.abc import Sequence

from agents.experiment_plans import Plan
from api.store import experiments
from api.store.database import Database
from tools.costs.meters.serving import Trial
from tools.values import Window


class Trials:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, model: str, window: Window) -> Sequence[Trial]:
        """Those of the model that ran in some of the window."""
        async with self._database.read() as session:
            found = await experiments.of_model_within(session, model, window)
        return [
            Trial(
                id=each.id,
                versions=frozenset(Plan.model_validate(each.plan).weights(each.control)),
                start=each.began_at,
                end=each.ended_at,
            )
            for each in found
        ]
