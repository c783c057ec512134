"""Where an unusual cost comes from: its contributors by each dimension, the price apart from the usage, and what jobs say.

Costs are compared with those of the same hours of the weeks before, so that nights and weekends cancel out.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal

from agents.cost.changes import Change, explain
from agents.narrative import plain
from agents.wording import counted, money, share
from tools.costs.port import MONEY_PLACES, Amount, Component, Currency, Dimension
from tools.values import Frozen, Instant, Window

ASPECTS: tuple[tuple[Dimension, ...], ...] = (
    (Dimension.COMPONENT, Dimension.PART),
    (Dimension.MODEL, Dimension.VERSION),
    (Dimension.TEAM,),
    (Dimension.EXPERIMENT,),
    (Dimension.RESOURCE,),
    (Dimension.WORKLOAD,),
)
"""From how many sides it is looked at."""
BY: tuple[Dimension, ...] = tuple(dict.fromkeys(each for aspect in ASPECTS for each in aspect))
"""What a breakdown has to be by."""
_PRICED = (Dimension.COMPONENT, Dimension.PART, Dimension.MODEL, Dimension.TEAM)
"""Within these, what a unit costs now is compared with what it cost: versions, experiments and jobs are new each time, and what
is new has no price before."""
WEEKS = 3
"""Before, of which the same hours are what was usual: one of them may have been odd itself."""
_MOSTLY = Decimal("0.8")
_HALF = Decimal("0.5")
_MOST_TOLD = 3


class Training(Frozen):
    """What a record of a job says of it."""

    name: str
    model: str
    start: Instant
    end: Instant | None
    """None: it runs."""
    data: Window | None = None
    """What it learns from; None: nobody knows."""


class Together(Frozen):
    """Trainings of one model that ran at the same time."""

    model: str
    window: Window
    """In which all of them ran."""
    names: tuple[str, ...]
    same_data: bool
    """Of all of them it is known what they learn from, and it is the same."""

    @property
    def sentence(self) -> str:
        told = " on the same data" if self.same_data else ""
        return plain(f"{counted(len(self.names), 'training run')} of {self.model} in parallel{told}: {', '.join(self.names)}")


class Aspect(Frozen):
    by: tuple[Dimension, ...]
    change: Change


class Origin(Frozen):
    """Of a rise, per length of the window."""

    window: Window
    compared_with: tuple[Window, ...]
    currency: Currency
    before: Decimal
    after: Decimal
    by_price: Decimal
    by_usage: Decimal
    aspects: tuple[Aspect, ...]
    """The one that says most with the fewest names first."""
    together: tuple[Together, ...] = ()
    sentences: tuple[str, ...] = ()
    """For people, the most telling first."""

    @property
    def rise(self) -> Decimal:
        return self.after - self.before


def weeks_before(window: Window) -> tuple[Window, ...]:
    """The same hours of the weeks before, so many weeks apart that none of them touches the window."""
    apart = -(-window.length // timedelta(days=7))
    return tuple(window.shifted(-timedelta(days=7) * apart * place) for place in range(1, WEEKS + 1))


def origin(
    window: Window,
    after: Sequence[Amount],
    before: Sequence[tuple[Window, Sequence[Amount]]],
    currency: Currency,
    trainings: Sequence[Training] = (),
) -> Origin:
    """Amounts by `BY`, of the window and of those before it for which there is a ledger at all."""
    now = [each for each in after if each.currency == currency]
    then = [each for _, amounts in before for each in amounts if each.currency == currency]
    scale = Decimal(1) / len(before) if before else Decimal(1)
    aspects = [Aspect(by=by, change=explain(then, now, by, scale)) for by in ASPECTS]
    aspects.sort(key=_telling)
    whole = explain(then, now, _PRICED, scale)
    found = Origin(
        window=window,
        compared_with=tuple(each for each, _ in before),
        currency=currency,
        before=_money(whole.before),
        after=_money(whole.after),
        by_price=_money(whole.by_price),
        by_usage=_money(whole.after) - _money(whole.before) - _money(whole.by_price),
        aspects=tuple(aspects),
        together=in_parallel(trainings, window),
    )
    return found.model_copy(update={"sentences": tuple(_sentences(found))})


def _money(cost: Decimal) -> Decimal:
    """A third of a cost is no decimal."""
    return cost.quantize(Decimal(1).scaleb(-MONEY_PLACES), ROUND_HALF_EVEN)


def in_parallel(trainings: Sequence[Training], window: Window) -> tuple[Together, ...]:
    """By model, the moment in the window at which most of its trainings ran at once; those of which only one ran are left out.
    Where some of them learn from the same data, these are told, and no others."""
    found = []
    for model in sorted({each.model for each in trainings}):
        running = [each for each in trainings if each.model == model and _within(each, window) is not None]
        twins = max((_alike(each, running) for each in running), key=len, default=[])
        same, all_of_them = _most_at_once(twins, window), _most_at_once(running, window)
        if len(same) > 1:
            found.append(_together(model, same, window, same_data=True))
        elif len(all_of_them) > 1:
            found.append(_together(model, all_of_them, window, same_data=False))
    return tuple(sorted(found, key=lambda each: (-len(each.names), each.model)))


def _alike(training: Training, others: Sequence[Training]) -> list[Training]:
    return [] if training.data is None else [each for each in others if each.data == training.data]


def _most_at_once(trainings: Sequence[Training], window: Window) -> list[Training]:
    spans = {each.name: span for each in trainings if (span := _within(each, window)) is not None}
    crowds = [
        [each for each in trainings if each.name in spans and spans[each.name].start <= at < spans[each.name].end]
        for at in sorted({span.start for span in spans.values()})
    ]
    return max(crowds, key=len, default=[])


def _together(model: str, trainings: Sequence[Training], window: Window, *, same_data: bool) -> Together:
    spans = [span for each in trainings if (span := _within(each, window)) is not None]
    shared = Window(start=max(each.start for each in spans), end=min(each.end for each in spans))
    return Together(model=model, window=shared, names=tuple(sorted(each.name for each in trainings)), same_data=same_data)


def _within(training: Training, window: Window) -> Window | None:
    start = max(training.start, window.start)
    end = min(training.end or window.end, window.end)
    return Window(start=start, end=end) if start < end else None


def _telling(aspect: Aspect) -> tuple[bool, int, int]:
    """Nobody in particular is no name."""
    change = aspect.change
    named = [each for each in change.contributors if any(each.at.values())]
    known = change.explained >= _MOSTLY and len(named) == len(change.contributors) > 0
    return not known, len(change.contributors), ASPECTS.index(aspect.by)


def _sentences(found: Origin) -> list[str]:
    if found.rise <= 0:
        return []
    told = []
    crowds = [each for each in found.together if _trainings_rose(found)]
    told += [f"{crowd.sentence}." for crowd in crowds]
    if found.by_price >= _HALF * found.rise:
        told.append(
            f"{share(float(min(found.by_price / found.rise, Decimal(1))))} of the rise is a change of price: the same usage "
            f"costs {money(found.by_price, found.currency)} more."
        )
    told += [_said(aspect, found) for aspect in found.aspects if _telling(aspect)[0] is False][:_MOST_TOLD]
    if found.by_price < _HALF * found.rise:
        part = "prices are as they were" if not found.by_price else f"{money(found.by_price, found.currency)} of it by price"
        told.append(f"It is usage ({money(found.by_usage, found.currency)} more); {part}.")
    return told


def _said(aspect: Aspect, found: Origin) -> str:
    names = [
        f"{plain(' '.join(filter(None, each.at.values())), 200)} ({money(each.change, found.currency)} more)"
        for each in aspect.change.contributors[:_MOST_TOLD]
    ]
    what = " and ".join(each.value for each in aspect.by)
    explained = share(float(min(aspect.change.explained, Decimal(1))))
    return f"By {what}, {explained} of the rise: {', '.join(names)}."


def _trainings_rose(found: Origin) -> bool:
    """Whether trainings are among what the rise comes from."""
    for aspect in found.aspects:
        if Dimension.COMPONENT in aspect.by:
            return any(each.at[Dimension.COMPONENT] == Component.TRAINING for each in aspect.change.contributors)
    return False
