"""The cost ledger in ClickHouse, in the same store as the predictions: the embedded engine lets one process in."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from tools.costs import booking, questions
from tools.costs.port import Amount, Booked, Line, Question, Told, Usage
from tools.predictions.clickhouse import Elsewhere
from tools.values import Window


class ClickHouseLedger:
    """`CostLedger`. `engine`: of the prediction store."""

    def __init__(self, engine: Elsewhere) -> None:
        self._engine = engine

    async def ping(self) -> None:
        await self._engine.call(questions.ping)

    async def book(self, usages: Sequence[Usage], lines: Sequence[Line]) -> Booked:
        return await self._engine.call(booking.book, tuple(usages), tuple(lines))

    async def told(self, keys: Sequence[str]) -> Mapping[str, Told]:
        return await self._engine.call(booking.told, tuple(keys))

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:
        return await self._engine.call(questions.breakdown, question)

    async def lines(self, window: Window, *, after: str = "", most: int = 1_000) -> tuple[tuple[str, Line], ...]:
        return await self._engine.call(questions.lines, window, after, most)

    async def last(self) -> datetime | None:
        return await self._engine.call(questions.last)
