"""Batches that know how often, and in which thread, somebody went through their columns."""

import threading
from collections.abc import Iterable, Iterator

from tools.quality.history import PastBatch
from tools.quality.statistics import ColumnStatistics


class Columns(tuple[ColumnStatistics, ...]):
    times = 0
    threads: set[str]

    def __iter__(self) -> Iterator[ColumnStatistics]:
        self.times += 1
        self.threads.add(threading.current_thread().name)
        return super().__iter__()


def watching(batches: Iterable[PastBatch], width: int = 1) -> tuple[list[PastBatch], list[Columns]]:
    """The batches with each column `width` times, under as many names."""
    found, all_columns = [], []
    for batch in batches:
        assert batch.statistics is not None
        columns = Columns(
            each.model_copy(update={"name": f"{each.name}{n}"}) for each in batch.statistics.columns for n in range(width)
        )
        columns.threads = set()
        all_columns.append(columns)
        found.append(batch.model_copy(update={"statistics": batch.statistics.model_copy(update={"columns": columns})}))
    return found, all_columns
