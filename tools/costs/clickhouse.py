"""The cost ledger in ClickHouse, in the same store as the predictions: the embedded engine lets one process in.

What goes there and what comes back are columns; values are made of them here, in a thread.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from tools.costs import booking, questions
from tools.costs.packing import pack
from tools.costs.port import Amount, Booked, Dimension, Line, Question, Told, Usage
from tools.costs.schema import line, line_place, moment
from tools.predictions.clickhouse import Elsewhere
from tools.values import Window


class ClickHouseLedger:
    """`CostLedger`. `engine`: of the prediction store."""

    def __init__(self, engine: Elsewhere) -> None:
        self._engine = engine

    async def ping(self) -> None:
        await self._engine.call(questions.ping)

    async def book(self, usages: Sequence[Usage], lines: Sequence[Line]) -> Booked:
        packed = await asyncio.to_thread(pack, usages, lines)
        return await self._engine.call(booking.book, packed)

    async def told(self, keys: Sequence[str]) -> Mapping[str, Told]:
        return await self._engine.call(booking.told, tuple(keys))

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:
        cells = await self._engine.call(questions.breakdown, question)
        return await asyncio.to_thread(_amounts, question, cells)

    async def lines(self, window: Window, *, after: str = "", most: int = 1_000) -> tuple[tuple[str, Line], ...]:
        cells = await self._engine.call(questions.lines, window, after, most)
        return await asyncio.to_thread(_lines, cells)

    async def last(self) -> datetime | None:
        return await self._engine.call(questions.last)


def _amounts(question: Question, cells: questions.Cells) -> tuple[Amount, ...]:
    if not cells or not cells[0]:
        return ()
    count = len(cells[0])
    columns = list(cells)
    starts = [moment(step) for step in columns.pop(0)] if question.step is not None else [None] * count
    quantities = columns.pop() if Dimension.RESOURCE in question.by else [None] * count
    costs, (currencies, *words) = columns.pop(), columns
    ats = [dict(zip(question.by, each, strict=True)) for each in zip(*words, strict=True)] if words else [{}] * count
    return tuple(
        Amount(start=start, at=at, cost=cost, currency=currency, quantity=quantity)
        for start, at, cost, currency, quantity in zip(starts, ats, costs, currencies, quantities, strict=True)
    )


def _lines(cells: questions.Cells) -> tuple[tuple[str, Line], ...]:
    found = ((row[0], line(row)) for row in zip(*cells, strict=True))
    return tuple((line_place(id, each.window.start), each) for id, each in found)
