"""A cost ledger in memory, with the answers of the real one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tools.costs.apportioning import total
from tools.costs.packing import Fact, pack, said_of, sort_out
from tools.costs.port import MOST_CELLS, Amount, Booked, Dimension, Line, Question, Step, Told, Usage
from tools.costs.pricing import taken_back
from tools.costs.schema import line_id, line_place, place_of
from tools.errors import PermanentError, TemporaryError
from tools.values import Window


class TwinCosts:
    """`CostLedger`."""

    def __init__(self) -> None:
        self.usages: dict[str, Usage] = {}
        """The revision that is booked."""
        self._facts: dict[str, Fact] = {}
        self._lines: dict[str, Line] = {}
        self._down = False
        self._said: tuple[Amount, ...] | None = None

    # What a test does to it from outside.

    def go_down(self) -> None:
        self._down = True

    def come_back(self) -> None:
        self._down = False

    def say(self, amounts: tuple[Amount, ...]) -> None:
        """The answer to every breakdown from now on: booking as much would take a test too long."""
        self._said = amounts

    # The port.

    async def ping(self) -> None:
        if self._down:
            raise TemporaryError("the cost ledger does not answer")

    async def book(self, usages: Sequence[Usage], lines: Sequence[Line]) -> Booked:
        await self.ping()
        packed = pack(usages, lines)
        fresh, known, late = sort_out(packed.facts, self._facts)
        revisions = {fact.key: fact.revision for fact in fresh}
        added = {line_id(each): each for each in lines if revisions.get(each.key) == each.revision}
        added |= {
            line_id(back): back
            for each in self._lines.values()
            if each.key in revisions and not each.taken_back and each.revision == self._facts[each.key].revision
            for back in (taken_back(each, revisions[each.key]),)
        }
        self._lines |= {line_place(id, each.window.start): each for id, each in added.items()}
        self._facts |= {fact.key: fact for fact in fresh}
        self.usages |= {each.key: each for each in usages if revisions.get(each.key) == each.revision}
        return Booked(lines=len(added), known=known + packed.repeated, late=late)

    async def told(self, keys: Sequence[str]) -> Mapping[str, Told]:
        await self.ping()
        found = {}
        for key in keys:
            if (usage := self.usages.get(key)) is not None:
                found[key] = Told(revision=usage.revision, quantity=usage.quantity, window=usage.window, said=said_of(usage))
        return found

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:
        await self.ping()
        if self._said is not None:
            return self._said
        sums: defaultdict[tuple[datetime | None, str, tuple[str, ...]], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 2)
        for line in self._lines.values():
            if not question.window.start <= line.window.start < question.window.end:
                continue
            if any(_value(line, each) not in values for each, values in question.where.items()):
                continue
            key = _start(line, question.step), line.currency, tuple(_value(line, each) for each in question.by)
            sums[key] = [total(pair) for pair in zip(sums[key], (line.cost, line.quantity), strict=True)]
        if len(sums) > MOST_CELLS:
            raise PermanentError(
                f"by: more than {MOST_CELLS:,} cells; ask for fewer dimensions, longer steps or a shorter window"
            )
        known = Dimension.RESOURCE in question.by
        return tuple(
            Amount(
                start=start,
                at=dict(zip(question.by, values, strict=True)),
                cost=cost,
                currency=currency,
                quantity=quantity if known else None,
            )
            for (start, currency, values), (cost, quantity) in sorted(
                sums.items(), key=lambda each: (str(each[0][0]), each[0][1:])
            )
        )

    async def lines(self, window: Window, *, after: str = "", most: int = 1_000) -> tuple[tuple[str, Line], ...]:
        await self.ping()
        if after:
            place_of(after)
        within = {name: line for name, line in self._lines.items() if window.start <= line.window.start < window.end}
        return tuple((name, within[name]) for name in sorted(within) if name > after)[:most]

    async def last(self) -> datetime | None:
        await self.ping()
        return max((line.window.end for line in self._lines.values()), default=None)


def _value(line: Line, dimension: Dimension) -> str:
    match dimension:
        case Dimension.RESOURCE:
            return line.resource.value
        case Dimension.PRICING:
            return line.pricing.value
        case _:
            return str(getattr(line.owner, dimension.value))


def _start(line: Line, step: Step | None) -> datetime | None:
    start = line.window.start.astimezone(UTC)
    match step:
        case Step.HOUR:
            return start.replace(minute=0, second=0, microsecond=0)
        case Step.DAY:
            return start.replace(hour=0, minute=0, second=0, microsecond=0)
        case Step.MONTH:
            return start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        case None:
            return None
