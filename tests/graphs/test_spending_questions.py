"""What is asked of the ledger is never more than it answers, whatever policy wants to look at."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from agents.cost.rules import CostSignals, Unusual
from graphs.spending import parts, read_window, wholes
from tests.twins.costs import TwinCosts
from tools.costs.port import MOST_CELLS, Amount, Dimension, Question
from tools.errors import PermanentError

END = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MODEL = Dimension.MODEL


class Wide(TwinCosts):
    """So many models, with a cent in each hour and currency; refuses what the ledger refuses."""

    def __init__(self, models: int, *currencies: str) -> None:
        super().__init__()
        self._models, self._currencies = [f"m{n:03}" for n in range(models)], currencies
        self.asked: list[int] = []

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:
        hours = question.window.length // HOUR if question.step is not None else 1
        names = question.where.get(MODEL, self._models) if question.by else [""]
        self.asked.append(hours * len(names) * len(self._currencies))
        if self.asked[-1] > MOST_CELLS:
            raise PermanentError(f"by: more than {MOST_CELLS:,} cells")
        return tuple(
            Amount(
                start=question.window.start + hour * HOUR if question.step is not None else None,
                at={MODEL: name} if question.by else {},
                cost=Decimal("0.01"),
                currency=currency,
            )
            for hour in range(hours)
            for currency in self._currencies
            for name in names
        )


@pytest.mark.parametrize(
    ("unusual", "models", "currencies"),
    [(Unusual(history_days=182), 25, ("USD",)), (Unusual(), 40, ("EUR", "USD"))],
    ids=["half a year of history", "two currencies"],
)
async def test_series_are_asked_for_as_many_at_a_time_as_are_answered(
    unusual: Unusual, models: int, currencies: tuple[str, ...]
) -> None:
    rules = CostSignals(unusual=unusual)
    window = read_window(END, rules)
    costs = Wide(models, *currencies)
    found = await parts(costs, window, MODEL, await wholes(costs, window), rules.most_series)
    assert len({(each.name, each.currency) for each in found}) == len(found) == models * len(currencies)
    assert len(costs.asked) == 4
    assert max(costs.asked) <= MOST_CELLS
