"""A table that keeps nothing: what would be stored, without a lake."""

from collections.abc import Collection, Iterator

import pyarrow as pa

from tools.lake.port import Receipt


class DryTable:
    """`LakeTable`."""

    def schema(self) -> pa.Schema | None:
        return None

    def find(self, key: str) -> Receipt | None:
        del key
        return None

    def last(self, source: str) -> Receipt | None:
        del source
        return None

    def stage(self) -> "DryStaged":
        return DryStaged()

    def refuse(self, receipt: Receipt) -> None: ...

    def receipts(self) -> tuple[Receipt, ...]:
        return ()

    def rows(self, keys: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
        del keys
        yield from ()

    def quarantined(self) -> Iterator[pa.RecordBatch]:
        yield from ()

    def statistics(self) -> Iterator[tuple[Receipt, str]]:
        yield from ()


class DryStaged:
    """`Staged`."""

    def write(self, rows: pa.Table) -> None: ...

    def quarantine(self, rows: pa.Table) -> None: ...

    def describe(self, statistics: str) -> None: ...

    def commit(self, receipt: Receipt) -> bool:
        del receipt
        return True

    def discard(self) -> None: ...
