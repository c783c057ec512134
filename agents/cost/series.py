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


def by_day(series: Series) -> Series:
    """The whole days of it. A day of which some hours are unknown goes by the others."""
    days = []
    for place in range(len(series.costs) // series.per_day):
        known = [cost for cost in series.costs[place * series.per_day : (place + 1) * series.per_day] if cost is not None]
        days.append(sum(known) * series.per_day / len(known) if known else None)
    return Series(step=Step.DAY, start=series.start, costs=tuple(days))


def filled(whole: Series) -> Series:
    """Where an hour of everything is empty now and then, nobody told of it; where many are, that is how this is used: they cost
    nothing."""
    first = next((place for place, cost in enumerate(whole.costs) if cost is not None), None)
    if first is None:
        return whole
    known = sum(cost is not None for cost in whole.costs[first:]) / (len(whole.costs) - first)
    if known >= _TOLD:
        return whole
    costs = (cost if cost is not None or place < first else 0.0 for place, cost in enumerate(whole.costs))
    return whole.model_copy(update={"costs": tuple(costs)})


_TOLD = 0.9


def beside(part: Series, whole: Series) -> Series:
    """A part of the whole, over the same steps: where others cost something and it is not there, it cost nothing."""
    if (part.step, part.start, len(part.costs)) != (whole.step, whole.start, len(whole.costs)):
        raise ValueError("part: over the steps of the whole")
    first = next((place for place, cost in enumerate(part.costs) if cost is not None), len(part.costs))
    costs = (
        None if of_whole is None or place < first else cost or 0.0
        for place, (cost, of_whole) in enumerate(zip(part.costs, whole.costs, strict=True))
    )
    return part.model_copy(update={"costs": tuple(costs)})
