"""What is acceptable about cost, as policy: when it is unusual, and what may be spent."""

from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from agents.cost.reconciling import Reconciliation
from tools.costs.port import Currency, Dimension, Word
from tools.values import Duration, Frozen

Period = Literal["day", "month"]
Whose = Literal["whole", "team", "model"]


class Unusual(Frozen):
    """When a cost is unusual. Only what is too much is: a cost that falls wakes nobody."""

    min_excess: Annotated[float, Field(gt=0, le=10)] = 0.2
    """Over what was to be expected: the finance rule of thumb, which the plain rule has as well."""
    plain_days: Annotated[int, Field(ge=1, le=31)] = 7
    """The plain rule compares with the mean of so many days before: a week has each weekday once."""
    false_alarms: Annotated[float, Field(gt=0, le=30)] = 0.1
    """So many per series and month are put up with where nothing has happened: one in ten months."""
    min_day_share: Annotated[float, Field(ge=0, le=1)] = 0.02
    """An excess below this share of a usual day's cost is not worth anybody's time, however odd its hour is."""
    history_days: Annotated[int, Field(ge=28, le=182, multiple_of=7)] = 42
    """What is usual is learnt from so many days: six of each weekday, and the turn of one month at least."""
    min_history_days: Annotated[int, Field(ge=14, le=182)] = 21
    """With fewer, weekdays are not told from chance: the plain rule judges instead, and says so."""
    learn_after_days: Annotated[int, Field(ge=1, le=28)] = 3
    """What stays higher for so long has been reported and is the new usual."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_history_days > self.history_days:
            raise ValueError("min_history_days: has to be at most history_days")
        return self


class Budget(Frozen):
    """What may be spent in each day or month, in UTC."""

    of: Whose = "whole"
    name: Word = ""
    """Of the team or the model; empty for the whole."""
    amount: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=2)]
    currency: Currency
    every: Period = "month"

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.of == "whole") != (not self.name):
            raise ValueError("name: of the team or the model; leave it out for the whole")
        return self

    @property
    def where(self) -> dict[Dimension, tuple[str, ...]]:
        return {} if self.of == "whole" else {Dimension(self.of): (self.name,)}


class CostSignals(Frozen):
    """Money as a signal: what is looked at without anybody asking."""

    enabled: bool = True
    every: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(hours=1)
    """Looks at multiples of it."""
    settle: Duration = timedelta(hours=2)
    """Younger hours are not judged yet: meters are read once an hour, and the slowest of them is late by one."""
    by: tuple[Literal[Dimension.COMPONENT, Dimension.MODEL, Dimension.TEAM], ...] = (Dimension.MODEL,)
    """Beside the whole, each of these is watched by itself: what one model costs more is lost in the sum of many."""
    most_series: Annotated[int, Field(ge=1, le=5_000)] = 500
    """Watched of one dimension, the dearest first: a look takes about 20 ms of a core for each."""
    unusual: Unusual = Unusual()
    budgets: tuple[Budget, ...] = ()
    """None by default: only who pays knows them."""
    interval: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    """How surely a forecast's interval holds what will have been spent."""
    reconciliation: Reconciliation = Reconciliation()
    """When our bill and OpenCost's are the same."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        whose = [(each.of, each.name, each.currency, each.every) for each in self.budgets]
        if len(set(whose)) < len(whose):
            raise ValueError("budgets: one for each of its kind, name, currency and period")
        return self
