"""What something cost in each hour, or each day: numbers to judge by, no money to add up."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import model_validator

from tools.costs.port import Amount, Step
from tools.values import Frozen, Instant

LENGTHS: dict[Step, timedelta] = {Step.HOUR: timedelta(hours=1), Step.DAY: timedelta(days=1)}
Finely = Literal[Step.HOUR, Step.DAY]


class Series(Frozen):
    """From a midnight (UTC) on, without gaps: what is not known is None."""

    step: Finely
    start: Instant
    costs: tuple[float | None, ...]
    """In one currency. None: nothing is booked, which may be because nothing was told yet."""

    @model_validator(mode="after")
    def _aligned(self) -> "Series":
        at = self.start.astimezone(UTC)
        if (at.hour, at.minute, at.second, at.microsecond) != (0, 0, 0, 0):
            raise ValueError("start: a midnight in UTC")
        return self

    @property
    def length(self) -> timedelta:
        return LENGTHS[self.step]

    @property
    def per_day(self) -> int:
        return 24 if self.step is Step.HOUR else 1

    @property
    def end(self) -> datetime:
        return self.at(len(self.costs))

    def at(self, place: int) -> datetime:
        """The start of a step."""
        return self.start + place * self.length

    def until(self, end: datetime) -> "Series":
        """Without the steps that end later."""
        return self.model_copy(update={"costs": self.costs[: max(0, (end - self.start) // self.length)]})


def midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def series_of(amounts: Sequence[Amount], step: Finely, start: datetime, end: datetime) -> Series:
    """Of amounts by `step` in one currency; those of one step add up. Begins at the midnight before `start`, ends with the last
    step that is over at `end`."""
    begin, length = midnight(start), LENGTHS[step]
    sums: dict[int, float] = defaultdict(float)
    for each in amounts:
        if each.start is None:
            raise ValueError(f"amounts: ask for them by {step.value}")
        sums[(each.start - begin) // length] += float(each.cost)
    count = max(0, (end - begin) // length)
    return Series(step=step, start=begin, costs=tuple(sums.get(place) for place in range(count)))


def summed(series: Sequence[Series]) -> Series:
    """Of series over the same steps. Raises ValueError for others."""
    first = series[0]
    if any((each.step, each.start, len(each.costs)) != (first.step, first.start, len(first.costs)) for each in series):
        raise ValueError("series: of the same steps only")
    costs = tuple(
        sum(known) if (known := [cost for cost in column if cost is not None]) else None
        for column in zip(*(each.costs for each in series), strict=True)
    )
    return first.model_copy(update={"costs": costs})
