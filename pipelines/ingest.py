"""From a source, by way of a check, into the lake: batch by batch, each as a whole, once, in constant memory.

A batch of an unordered source (a file) that is broken or refused holds up no other; of an ordered one it ends the run, because
what comes after it must not be stored before it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
from pydantic import Field

from pipelines.cancelling import Cancellation, Cancelled
from pipelines.checked import BatchCheck, Check, Checks, Concluded, Plain
from pipelines.fitting import fit
from pipelines.staging import Refused, Staging
from tools.clock import Clock, SystemClock
from tools.errors import PermanentError
from tools.lake.port import LakeTable, Receipt, Staged
from tools.sources.port import Batch, Source
from tools.values import Frozen

T = TypeVar("T")

_ONLY_WHAT_IS_NEW = {"sql": "name a --watermark", "http": "name its --paging"}
"""How a source that can be read so is, by the kind that its name begins with. Of files a changed one is meant to be another."""


class Faulty(Frozen):
    """A batch of which nothing was stored."""

    batch: str
    reason: str
    refused: bool
    """By the check or because nothing of it fits; otherwise it could not be read."""


class Ingested(Frozen):
    """What a run did. Rows of batches that were there already, and of faulty ones, are in none of the counts."""

    source: str
    rows_read: int = 0
    rows_written: int = 0
    rows_quarantined: int = 0
    batches: int = 0
    skipped: int = 0
    """Batches that were there already."""
    faulty: tuple[Faulty, ...] = ()
    held_back: dict[str, int] = Field(default_factory=dict)
    """Rows left at their source for a later run, by reason."""
    warnings: tuple[str, ...] = ()
    """What may not be what was meant."""
    bytes: int = 0
    """Of the rows written, in memory as Arrow."""
    seconds: float = 0.0
    cancelled: bool = False

    @property
    def ok(self) -> bool:
        return not self.faulty and not self.cancelled


@dataclass(frozen=True)
class Options:
    finite: bool = True
    """Quarantine rows with NaN or infinity in a column of numbers; otherwise they are kept as they are."""
    most_batches: int | None = None
    """End after so many new ones."""


def ingest(
    source: Source,
    table: LakeTable,
    *,
    check: Check | None = None,
    checks: Checks | None = None,
    options: Options | None = None,
    progress: Callable[[str], None] = lambda _text: None,
    cancellation: Cancellation | None = None,
    clock: Clock | None = None,
    stored: Callable[[Receipt], None] = lambda _receipt: None,
) -> Ingested:
    """Everything that the source has and the table has not. `check` sees rows, `checks` whole batches; one of them at most.
    `stored` hears of each batch right after its commit.

    Raises PermanentError when the source or the table cannot be used at all, TemporaryError when one of them is away: what was
    committed before stays.
    """
    assert check is None or checks is None
    return _Run(
        source,
        table,
        checks or Plain(check),
        options or Options(),
        progress,
        cancellation or Cancellation(),
        clock or SystemClock(),
        stored,
    ).done()


class _Run:
    def __init__(
        self,
        source: Source,
        table: LakeTable,
        checks: Checks,
        options: Options,
        progress: Callable[[str], None],
        cancellation: Cancellation,
        clock: Clock,
        stored: Callable[[Receipt], None],
    ) -> None:
        self._stored = stored
        self._source = source
        self._table = table
        self._checks = checks
        self._options = options
        self._progress = progress
        self._cancellation = cancellation
        self._clock = clock
        self._counts = dict.fromkeys(("rows_read", "rows_written", "rows_quarantined", "batches", "skipped", "bytes"), 0)
        self._faulty: list[Faulty] = []
        self._warnings: list[str] = []
        self._names: dict[str, str] = {}
        """Of the batches of this run, by key."""
        last = table.last(source.name)
        self._mark = last.mark if last else None
        self._sequence = last.sequence if last else 0

    def done(self) -> Ingested:
        started, cancelled = time.perf_counter(), False
        try:
            self._all()
        except Cancelled:
            cancelled = True
        return Ingested(
            source=self._source.name,
            **self._counts,
            faulty=tuple(self._faulty),
            held_back=dict(self._source.held_back),
            warnings=tuple(self._warnings),
            seconds=round(time.perf_counter() - started, 3),
            cancelled=cancelled,
        )

    def _all(self) -> None:
        for batch in self._awaited(self._source.batches(self._mark)):
            fault = self._batch(batch)
            if fault is not None:
                self._faulty.append(fault)
                self._progress(f"{fault.batch}: {'refused' if fault.refused else 'broken'}: {fault.reason}")
                if self._source.ordered:
                    return
            if self._options.most_batches is not None and self._counts["batches"] >= self._options.most_batches:
                return

    def _batch(self, batch: Batch) -> Faulty | None:
        if batch.key is not None and (there := self._table.find(batch.key)) is not None:
            self._skip(batch, there)
            return None
        staged = self._table.stage()
        try:
            self._store(batch, staged)
        except Refused as refusal:
            self._table.refuse(self._receipt(batch, refused=str(refusal)))
            return Faulty(batch=batch.name, reason=str(refusal), refused=True)
        except PermanentError as error:
            return Faulty(batch=batch.name, reason=str(error), refused=False)
        finally:
            staged.discard()
        return None

    def _store(self, batch: Batch, staged: Staged) -> None:
        with self._cancellation.waiting():
            own = batch.schema()
        try:
            schema = self._checks.schema(own, self._table.schema())
            with self._checks.batch(batch.name, schema) as check:
                stored = Staging(staged, schema)
                concluded = self._rows(batch, schema, stored, check)
                self._cancellation.check()
                if stored.read and stored.misfits == stored.read:
                    raise Refused(f"none of its {stored.read:,} rows fits the table: {stored.example}")
                if concluded.refused is not None:
                    raise Refused(concluded.refused)
                self._commit(batch, staged, stored, check, concluded)
        except PermanentError as error:
            raise error if batch.name in str(error) else PermanentError(f"{batch.name}: {error}") from error

    def _rows(self, batch: Batch, schema: pa.Schema, stored: Staging, check: BatchCheck) -> Concluded:
        for chunk in self._awaited(batch.chunks(schema)):
            fitted = fit(chunk, schema, finite=self._options.finite, optional=self._checks.optional)
            stored.misfit(fitted.quarantined)
            check.misfits(fitted.quarantined.num_rows, fitted.misfits)
            if fitted.accepted.num_rows:
                stored.given += fitted.accepted.num_rows
                stored.take(check.rows(fitted.accepted, fitted.numbers))
            stored.read += len(chunk.numbers) + len(chunk.misread)
            self._progress(f"{batch.name}: {stored.read:,} rows")
        for checked in check.rest():
            self._cancellation.check()
            stored.take(checked)
        if stored.taken != stored.given:
            raise PermanentError(f"the check took {stored.given} rows and gave back {stored.taken}")
        return check.conclude()

    def _commit(self, batch: Batch, staged: Staged, stored: Staging, check: BatchCheck, concluded: Concluded) -> None:
        if concluded.statistics is not None:
            staged.describe(concluded.statistics)
        receipt = self._receipt(batch, rows=stored.written, quarantined=stored.quarantined, bytes=stored.bytes)
        again = self._is_stored_again(receipt)
        if not staged.commit(receipt):
            self._skip(batch)
            return
        if again:
            self._warn_of(receipt)
        self._names[receipt.key] = batch.name
        check.committed()
        self._stored(receipt)
        self._sequence = receipt.sequence
        for name, count in {
            "rows_read": stored.read,
            "rows_written": stored.written,
            "rows_quarantined": stored.quarantined,
            "batches": 1,
            "bytes": stored.bytes,
        }.items():
            self._counts[name] += count
        self._progress(f"{batch.name}: stored, {stored.written:,} rows, {stored.quarantined:,} quarantined")

    def _receipt(
        self, batch: Batch, *, rows: int = 0, quarantined: int = 0, bytes: int = 0, refused: str | None = None
    ) -> Receipt:
        if batch.key is None and refused is None:
            raise PermanentError(f"{batch.name} has been read and has no key")
        mark = batch.mark if refused is None else None
        return Receipt(
            key=batch.key or batch.name,
            source=self._source.name,
            name=batch.name,
            rows=rows,
            quarantined=quarantined,
            bytes=bytes,
            mark=mark,
            sequence=self._sequence + 1 if mark is not None else 0,
            at=self._clock.now(),
            refused=refused,
        )

    def _is_stored_again(self, receipt: Receipt) -> bool:
        """With other content."""
        if receipt.mark is not None or receipt.source.partition(":")[0] not in _ONLY_WHAT_IS_NEW:
            return False
        same = (each for each in self._table.receipts() if each.refused is None and each.key != receipt.key)
        return any((each.source, each.name) == (receipt.source, receipt.name) for each in same)

    def _warn_of(self, receipt: Receipt) -> None:
        how = _ONLY_WHAT_IS_NEW[receipt.source.partition(":")[0]]
        said = f"{receipt.name} was read whole before, and has changed: rows that were there then are stored again; {how}"
        self._warnings.append(said)
        self._progress(said)

    def _skip(self, batch: Batch, there: Receipt | None = None) -> None:
        self._counts["skipped"] += 1
        other = there.name if there is not None and there.name != batch.name else ""
        self._progress(f"{batch.name}: there already" + (f", as {other}" if other else ""))
        key = batch.key or batch.name
        if (twin := self._names.setdefault(key, batch.name)) != batch.name:
            self._warnings.append(f"{batch.name} is called the same and holds the same as {twin}: it is stored once")

    def _awaited(self, items: Iterator[T]) -> Iterator[T]:
        """The source may take its time; to stop is possible meanwhile."""
        while True:
            with self._cancellation.waiting():
                item = next(items, None)
            if item is None:
                return
            yield item
