"""A cost ledger in memory, with the answers of the real one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from tools.costs.port import Amount, Booked, Dimension, Line, Question, Step, Told, Usage
from tools.costs.pricing import taken_back
from tools.costs.schema import line_id
from tools.errors import Conflict, TemporaryError
from tools.values import Window


class TwinCosts:
    """`CostLedger`."""

    def __init__(self) -> None:
        self.usages: dict[str, Usage] = {}
        """The revision that is booked."""
        self._lines: dict[str, Line] = {}
        self._down = False

    # What a test does to it from outside.

    def go_down(self) -> None:
        self._down = True

    def come_back(self) -> None:
        self._down = False

    # The port.

    async def ping(self) -> None:
        if self._down:
            raise TemporaryError("the cost ledger does not answer")

    async def book(self, usages: Sequence[Usage], lines: Sequence[Line]) -> Booked:
        await self.ping()
        fresh: dict[str, Usage] = {}
        known = late = 0
        for usage in usages:
            before = fresh.get(usage.key) or self.usages.get(usage.key)
            if before is None or usage.revision > before.revision:
                late += usage.key in fresh
                fresh[usage.key] = usage
            elif usage.revision < before.revision:
                late += 1
            elif usage != before:
                raise Conflict(f"{usage.key}: revision {usage.revision} is booked otherwise")
            else:
                known += 1
        added = [each for each in lines if (said := fresh.get(each.key)) is not None and each.revision == said.revision]
        added += [
            taken_back(each, fresh[each.key].revision)
            for each in self._lines.values()
            if each.key in fresh and not each.taken_back and each.revision == self.usages[each.key].revision
        ]
        self._lines |= {line_id(each): each for each in added}
        self.usages |= fresh
        return Booked(lines=len(added), known=known, late=late)

    async def told(self, keys: Sequence[str]) -> Mapping[str, Told]:
        await self.ping()
        found = {}
        for key in keys:
            if (usage := self.usages.get(key)) is not None:
                found[key] = Told(revision=usage.revision, quantity=usage.quantity, window=usage.window)
        return found

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:
        await self.ping()
        sums: defaultdict[tuple[datetime | None, str, tuple[str, ...]], list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 2)
        for line in self._lines.values():
            if not question.window.start <= line.window.start < question.window.end:
                continue
            if any(_value(line, each) not in values for each, values in question.where.items()):
                continue
            key = _start(line, question.step), line.currency, tuple(_value(line, each) for each in question.by)
            sums[key][0] += line.cost
            sums[key][1] += line.quantity
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
