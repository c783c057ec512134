"""A schema from a sample: what its columns are, and what of them looks like a rule. A person then decides.

Whatever is claimed holds for every row of the sample that has the types of its columns, so that the schema accepts it.
"""

import itertools
import re
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.fitting import fit, plain
from pipelines.validation.evaluating import holds
from pipelines.validation.keys import Keys, digests_of, repeated
from pipelines.validation.types import newest, type_of
from tools.errors import PermanentError
from tools.quality.expressions import parse
from tools.quality.schema import ColumnType
from tools.quality.statistics import ColumnStatistics
from tools.quality.summarising import Summary
from tools.sources.port import Source

ENOUGH = 100
"""Rows; fewer say nothing of what is always so."""
_MOST_TIMES = 8
"""Columns of time that are compared with each other."""
_MOST_SHAPE = 60


@dataclass
class Sample:
    """What was seen of it."""

    rows: int = 0
    misfits: int = 0
    """Rows that do not have the types of their columns."""
    columns: list["SampledColumn"] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Columns of types that a schema has no word for."""
    orders: list[tuple[str, str]] = field(default_factory=list)
    """Of times: the first is never later than the second."""


@dataclass
class SampledColumn:
    name: str
    type: ColumnType
    statistics: ColumnStatistics
    unique: bool
    pattern: str | None
    longest: int
    newest: datetime | None


def sample(source: Source) -> Sample:
    """All of it, in constant memory. Raises PermanentError, naming the place, where it cannot be read or has no rows."""
    found: _Sampling | None = None
    with tempfile.TemporaryDirectory(prefix="oppen-infer-") as folder:
        for batch in source.batches(None):
            try:
                if found is None:
                    found = _Sampling(plain(batch.schema()), Path(folder))
                for chunk in batch.chunks(found.schema):
                    fitted = fit(chunk, found.schema, finite=True)
                    found.add(fitted.accepted, len(chunk.numbers) + len(chunk.misread))
                    found.misfit(batch.name, fitted.quarantined)
            except PermanentError as error:
                raise error if batch.name in str(error) else PermanentError(f"{batch.name}: {error}") from error
        if found is None or not found.seen:
            raise PermanentError("there are no rows to learn from" if found is None or not found.read else found.nothing)
        return found.sample()


class _Sampling:
    def __init__(self, schema: pa.Schema, folder: Path) -> None:
        self.nothing = "none of the rows has the types of its columns"
        self.schema = schema
        self._types = {each.name: kind for each in schema if (kind := type_of(each.type)) is not None}
        self._summary = Summary(schema)
        self._keys: dict[str, Keys] = {}
        for place, (name, kind) in enumerate(self._types.items()):
            if kind in ("integer", "text"):
                (own := folder / str(place)).mkdir()
                self._keys[name] = Keys(own)
        self._patterns: dict[str, str | None] = {}
        self._longest: dict[str, int] = {}
        times = [name for name, kind in self._types.items() if kind in ("time", "date") and "`" not in name][:_MOST_TIMES]
        self._orders = dict.fromkeys(itertools.permutations(times, 2), False)
        """Pair -> whether they ever differed."""
        self._newest: dict[str, datetime] = {}
        self.read = self.seen = self._misfits = 0

    def add(self, rows: pa.Table, read: int) -> None:
        self.read += read
        self.seen += rows.num_rows
        if not rows.num_rows:
            return
        self._summary.add(rows)
        for name in list(self._keys):
            digests, there = digests_of(rows, (name,))
            keys = self._keys[name]
            if not there.all() or repeated(digests).any() or keys.known(digests).any():
                del self._keys[name]  # once is enough: from here on it costs nothing
            else:
                keys.add(digests)
        for name, kind in self._types.items():
            if kind == "text":
                self._text(name, rows[name])
            if kind in ("time", "date") and (latest := newest(rows[name])) is not None:
                self._newest[name] = max(latest.replace(tzinfo=None), self._newest.get(name, datetime.min))  # noqa: DTZ901
        for pair in list(self._orders):
            first, second = pair
            if holds(parse(f"`{first}` <= `{second}`"), rows).false_count:
                del self._orders[pair]
            else:
                self._orders[pair] |= bool(holds(parse(f"`{first}` = `{second}`"), rows).false_count)

    def misfit(self, batch: str, quarantined: pa.Table) -> None:
        """The first is told, where there is nothing else."""
        if not self._misfits and quarantined.num_rows:
            row, reason = quarantined["_row"][0], quarantined["_reason"][0]
            self.nothing += f", such as row {row} of {batch}: {reason}"
        self._misfits += quarantined.num_rows

    def sample(self) -> Sample:
        columns = []
        for each in self._summary.statistics():
            kind = self._types[each.name]
            columns.append(
                SampledColumn(
                    name=each.name,
                    type=kind,
                    statistics=each,
                    unique=each.name in self._keys and self.seen >= ENOUGH,
                    pattern=self._patterns.get(each.name) if each.count >= ENOUGH else None,
                    longest=self._longest.get(each.name, 0),
                    newest=self._newest.get(each.name),
                )
            )
        left_out = {each.name: str(each.type) for each in self.schema if each.name not in self._types}
        orders = [pair for pair, differed in self._orders.items() if differed] if self.seen >= ENOUGH else []
        return Sample(self.seen, self.read - self.seen, columns, left_out, orders)

    def _text(self, name: str, values: pa.ChunkedArray) -> None:
        self._longest[name] = max(self._longest.get(name, 0), pc.max(pc.utf8_length(values)).as_py() or 0)
        if name not in self._patterns:
            first = next(iter(values.drop_null().slice(0, 1).to_pylist()), None)
            if first is None:
                return
            self._patterns[name] = _shape(first)
        pattern = self._patterns[name]
        if pattern is not None and not np.all(pc.match_substring_regex(values.drop_null(), f"^(?:{pattern})$").to_numpy()):
            self._patterns[name] = None


def _shape(text: str) -> str | None:
    """`AB-12` has the shape `[A-Z]{2}\\-[0-9]{2}`; None for what is long, or has nothing of the kind."""
    if not 1 < len(text) <= _MOST_SHAPE or not text.isascii() or not text.isprintable():
        return None
    kinds = {"[0-9]": str.isdigit, "[A-Z]": str.isupper, "[a-z]": str.islower}
    found = ""
    for kind, run in itertools.groupby(text, lambda sign: next((name for name, test in kinds.items() if test(sign)), sign)):
        count = len(list(run))
        found += (kind if kind in kinds else re.escape(kind)) + (f"{{{count}}}" if count > 1 else "")
    return found if any(kind in found for kind in kinds) else None
