"""The world's warehouse: a folder of Parquet to which customers are added when their outcome is known, and not before.

Trainings and evaluations of the scenario read it as they would read a team's own: by time, and by when a label was known.
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulations.hours48.world import CLASSES, FEATURES, Rows

TIME, KNOWN, LABEL = "at", "known_at", "bought"


class Warehouse:
    """`start`: the moment that the rows' time is counted from."""

    def __init__(self, folder: Path, rows: Rows, start: datetime) -> None:
        self._folder = folder
        self._rows = rows.part(np.argsort(rows.known, kind="stable"))
        self._start = start
        self._stored = 0

    def store(self, until: datetime) -> int:
        """What has become known since the last call, as one more file; returns how many rows."""
        last = int(np.searchsorted(self._rows.known, (until - self._start) // timedelta(microseconds=1)))
        part = self._rows.part(slice(self._stored, last))
        if last > self._stored:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"known-{self._stored:08d}.parquet"
            draft = self._folder / f"_{name}"  # a reader passes it over
            pq.write_table(as_table(part, self._start), draft)
            draft.rename(self._folder / name)
        self._stored = max(self._stored, last)
        return len(part.at)


def as_table(rows: Rows, start: datetime) -> pa.Table:
    since = np.datetime64(start.replace(tzinfo=None), "us")
    moments = {
        name: pa.array(since + each.astype("timedelta64[us]")).cast(pa.timestamp("us", "UTC"))
        for name, each in ((TIME, rows.at), (KNOWN, rows.known))
    }
    features = {name: pa.array(rows.features[:, place]) for place, name in enumerate(FEATURES)}
    return pa.table({**moments, **features, LABEL: pa.array(np.array(CLASSES)[rows.positive.astype(int)])})


def learnable(folder: Path, start: datetime, end: datetime, known_by: datetime) -> pa.Table:
    """Rows of `start <= at < end` whose outcome was known at `known_by`, in the order of their time."""
    table = pq.read_table(folder)
    at, known = table[TIME].to_numpy(), table[KNOWN].to_numpy()
    first, last, by = (np.datetime64(each.replace(tzinfo=None), "us") for each in (start, end, known_by))
    return table.filter(pa.array((at >= first) & (at < last) & (known <= by))).sort_by(TIME)
