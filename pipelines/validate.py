"""A schema enforced on a table, batch by batch: which rows are quarantined and why, whether the batch is accepted, partly
accepted or refused, and what was measured of it.

A row is looked at in this order: its types (when it is fitted to the table), the rules of and between its columns, outliers,
uniqueness. The last is asked of rows that are good otherwise, so that a bad row takes nobody's place.
"""

import contextlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import pyarrow as pa

from pipelines.checked import NOTHING, Checked, Concluded, Numbers
from pipelines.fitting import Misfit
from pipelines.validation import outliers
from pipelines.validation.acceptance import notes, refusals
from pipelines.validation.enforcing import Enforcer
from pipelines.validation.keys import Digests, Keys, Mask, digests_of, repeated
from pipelines.validation.spool import Spool
from pipelines.validation.tally import Tally, apart
from pipelines.validation.types import newest, wanted
from pipelines.validation.uniqueness import Uniqueness
from tools.clock import Clock
from tools.lake.port import LakeReader
from tools.quality import statistics
from tools.quality.schema import TableSchema, Unique
from tools.quality.statistics import BatchStatistics
from tools.quality.summarising import Summary
from tools.values import Frozen

HISTORY = 20
"""The latest batches that tell what is usual: older ones may tell of another time."""

Verdict = Literal["accepted", "partly accepted", "refused"]


class Outcome(Frozen):
    """Of one batch."""

    batch: str
    verdict: Verdict
    refused: str | None
    """Why."""
    statistics: BatchStatistics
    notes: tuple[str, ...] = ()


class Validation:
    """`Checks`, of one schema. To be closed."""

    def __init__(
        self,
        schema: TableSchema,
        clock: Clock,
        *,
        history: Iterable[str] = (),
        rows: Callable[[], Iterator[pa.RecordBatch]] | None = None,
    ) -> None:
        """`history`: statistics of the batches before, as they are kept. `rows`: all of the table."""
        self.table_schema = schema
        self.clock = clock
        self.outcomes: list[Outcome] = []
        """Of the batches that were concluded, in order; columns are described in the latest of them only."""
        self._rows = rows
        self._history = deque((statistics.read(each) for each in deque(history, HISTORY)), HISTORY)
        self._folder = contextlib.ExitStack()
        self._path = Path(self._folder.enter_context(tempfile.TemporaryDirectory(prefix="oppen-validate-")))
        self._keys: dict[Unique, Keys] | None = None

    @classmethod
    def of_table(cls, schema: TableSchema, table: LakeReader, clock: Clock) -> "Validation":
        return cls(schema, clock, history=(text for _, text in table.statistics()), rows=table.rows)

    def close(self) -> None:
        self._folder.close()

    @property
    def optional(self) -> frozenset[str]:
        return frozenset(each.name for each in self.table_schema.columns if not each.required)

    def schema(self, own: pa.Schema, table: pa.Schema | None) -> pa.Schema:
        return wanted(self.table_schema, own, table)

    @contextlib.contextmanager
    def batch(self, name: str, schema: pa.Schema) -> Iterator["BatchValidation"]:
        reference = outliers.before(self.table_schema, self._history)
        with tempfile.TemporaryDirectory(dir=self._path) as folder, contextlib.ExitStack() as stack:
            found = BatchValidation(self, name, schema, reference, Path(folder))
            stack.callback(found.close)
            yield found

    def known(self, unique: Unique, digests: Digests) -> Mask:
        """Which of them are in the table already."""
        if self._keys is None:
            self._keys = {}
            across = [each for each in self.table_schema.keys if each.across_batches]
            for place, each in enumerate(across):
                (folder := self._path / f"keys-{place}").mkdir()
                self._keys[each] = Keys(folder)
            for batch in self._rows() if self._rows is not None else ():
                rows = pa.Table.from_batches([batch])
                for each, keys in self._keys.items():
                    found, there = digests_of(rows, each.columns)
                    there &= ~repeated(found)
                    keys.add(found[there & ~keys.known(found)])
        return self._keys[unique].known(digests)

    def conclude(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if len(self.outcomes) > HISTORY:
            # A run may have thousands of batches: of earlier ones the verdict is enough.
            old = self.outcomes[-HISTORY - 1]
            bare = old.statistics.model_copy(update={"columns": ()})
            self.outcomes[-HISTORY - 1] = old.model_copy(update={"statistics": bare})

    def committed(self, measured: BatchStatistics, keys: dict[Unique, Keys]) -> None:
        self._history.append(measured)
        for unique, found in keys.items():
            if unique.across_batches and self._keys is not None:
                self._keys[unique].take(found)


class BatchValidation:
    """`BatchCheck`."""

    def __init__(
        self, validation: Validation, name: str, kinds: pa.Schema, reference: outliers.Reference | None, folder: Path
    ) -> None:
        self._validation = validation
        self._schema = schema = validation.table_schema
        self._name = name
        self._now = validation.clock.now()
        self._enforcer = Enforcer(schema, kinds, self._now)
        self._broken, self._odd = Tally(), Tally()
        self._read = self._accepted = 0
        self._reference = reference
        self._held: Spool | None = None
        self._seen = self._kept = Summary(kinds)
        if reference is None and outliers.wanted(schema):
            self._held = Spool(folder / "held", kinds)
            if schema.keys or any(schema.outliers_of(each).action == "quarantine" for each in schema.columns):
                self._kept = Summary(kinds)
        self._unique = Uniqueness(schema.keys, folder, validation.known)
        self._newest: datetime | None = None
        self._measured: BatchStatistics | None = None

    def rows(self, rows: pa.Table, numbers: Numbers) -> Checked:
        self._read += rows.num_rows
        good, numbers, bad = apart(rows, numbers, self._enforcer.broken(rows), self._broken)
        if self._held is None:
            accepted, worse = self._second(good, numbers)
            return Checked(accepted, _joined(bad, worse))
        self._seen.add(good)
        self._held.add(good, numbers)
        return Checked(good.slice(0, 0), _joined(bad, None))

    def misfits(self, rows: int, why: Sequence[Misfit]) -> None:
        self._read += rows
        for each in why:
            self._broken.add(each.column, each.rule, each.rows, each.example)

    def rest(self) -> Iterator[Checked]:
        if self._held is None:
            return
        self._reference = outliers.itself(self._schema, self._seen.statistics())
        for rows, numbers in self._held.drain():
            accepted, bad = self._second(rows, numbers)
            yield Checked(accepted, _joined(bad, None))

    def conclude(self) -> Concluded:
        broken = self._broken.counts()
        self._measured = measured = BatchStatistics(
            schema_version=self._schema.version,
            read=self._read,
            accepted=self._accepted,
            quarantined=self._read - self._accepted,
            broken=broken,
            odd=self._odd.counts(),
            newest=self._newest,
            columns=self._kept.statistics(),
        )
        refused = "; ".join(refusals(measured, self._schema, self._now)) or None
        verdict: Verdict = "refused" if refused else "partly accepted" if measured.quarantined else "accepted"
        noted = tuple(notes(measured, self._schema, self._now))
        outcome = Outcome(batch=self._name, verdict=verdict, refused=refused, statistics=measured, notes=noted)
        self._validation.conclude(outcome)
        return Concluded(refused, statistics.written(measured))

    def committed(self) -> None:
        assert self._measured is not None
        self._validation.committed(self._measured, self._unique.keys)

    def close(self) -> None:
        if self._held is not None:
            self._held.close()

    def _second(self, rows: pa.Table, numbers: Numbers) -> tuple[pa.Table, pa.Table | None]:
        """What is asked of rows that keep the rules."""
        odd = list(self._reference.odd(rows)) if self._reference is not None and rows.num_rows else []
        for each in odd:
            if each.action == "note":
                found = each.broken
                example = found.words(rows.slice(int(found.places[0]), 1).to_pylist()[0])
                self._odd.add(found.column, found.rule, len(found.places), example)
        apart_from = [each.broken for each in odd if each.action == "quarantine"]
        rows, numbers, strange = apart(rows, numbers, apart_from, self._broken)
        rows, numbers, twice = apart(rows, numbers, self._unique.broken(rows), self._broken)
        if self._held is None or self._kept is not self._seen:
            self._kept.add(rows)
        self._accepted += rows.num_rows
        self._date(rows)
        return rows, strange if twice is None else twice if strange is None else pa.concat_tables([strange, twice])

    def _date(self, rows: pa.Table) -> None:
        fresh = self._schema.freshness
        if fresh is None or not rows.num_rows:
            return
        if (latest := newest(rows[fresh.column])) is not None:
            self._newest = latest if self._newest is None else max(self._newest, latest)


def _joined(bad: pa.Table | None, worse: pa.Table | None) -> pa.Table:
    found = [each for each in (bad, worse) if each is not None]
    return pa.concat_tables(found) if found else NOTHING
