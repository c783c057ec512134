"""Tables of raw data whose batches come day by day."""

import random
from datetime import UTC, datetime, timedelta
from math import exp

from agents.datasets import Judgement, judge
from agents.policies import Dataset
from tools.quality.history import PastBatch
from tools.quality.statistics import POINTS, BatchStatistics, ColumnStatistics

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Dataset()
Z = [-4.0, *(-2.05 + 4.1 * n / (POINTS - 3) for n in range(POINTS - 2)), 4.0]
"""Quantiles of something like the normal, near enough."""


class Table:
    """Daily batches that differ among each other as real ones do: in rows, level and nulls, by more than chance."""

    def __init__(self, seed: int = 1, rows: int = 2_000) -> None:
        self.chance = random.Random(seed)
        self.rows = rows
        self.batches: list[PastBatch] = []

    def come(
        self,
        count: int = 1,
        *,
        rows: float = 1.0,
        bad: float = 0.002,
        nulls: float = 0.01,
        level: float = 10.0,
        spread: float = 2.0,
        kinds: tuple[str, ...] = ("bus", "car"),
    ) -> "Table":
        for _ in range(count):
            read = round(self.rows * rows * exp(self.chance.gauss(0, 0.1)))
            lost = sum(self.chance.random() < bad for _ in range(read))
            kept = read - lost
            middle, wide = level + self.chance.gauss(0, 0.2), spread * exp(self.chance.gauss(0, 0.05))
            empty = sum(self.chance.random() < nulls * exp(self.chance.gauss(0, 0.2)) for _ in range(kept))
            columns = [
                ColumnStatistics(
                    name="far",
                    kind="numeric",
                    rows=kept,
                    nulls=empty,
                    quantiles=tuple(middle + wide * z for z in Z) if kept > empty else (),
                ),
                ColumnStatistics(
                    name="kind",
                    kind="categorical",
                    rows=kept,
                    distinct=len(kinds),
                    top=tuple((kind, kept // len(kinds)) for kind in kinds),
                    complete=True,
                ),
            ]
            measured = BatchStatistics(read=read, accepted=kept, quarantined=lost, columns=tuple(columns))
            self._add(PastBatch(key="", name="", at=START, rows=kept, quarantined=lost, statistics=measured))
        return self

    def refused(self, count: int = 1) -> "Table":
        for _ in range(count):
            self._add(PastBatch(key="", name="", at=START, rows=0, quarantined=0, refused="too many bad rows"))
        return self

    def judged(self, policy: Dataset = POLICY, later: timedelta = timedelta(hours=1)) -> Judgement:
        return judge(self.batches[-policy.history :], policy, self.batches[-1].at + later)

    def _add(self, batch: PastBatch) -> None:
        number = len(self.batches)
        self.batches.append(batch.model_copy(update={"key": str(number), "name": str(number), "at": START + number * DAY}))
