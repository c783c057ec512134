"""A batch on its way into its table, counted: what a check accepts is written, the rest quarantined with its reasons."""

import pyarrow as pa

from pipelines.checked import Checked
from pipelines.fitting import as_record, quarantine
from tools.lake.port import Staged


class Refused(Exception):
    """Nothing of the batch may be stored."""


class Staging:
    """A batch on its way, counted."""

    def __init__(self, staged: Staged, schema: pa.Schema) -> None:
        self._staged = staged
        self._schema = schema
        self.read = self.misfits = self.given = self.taken = self.written = self.quarantined = self.bytes = 0
        self.example = ""
        """The first reason of a misfit."""

    def misfit(self, rows: pa.Table) -> None:
        if rows.num_rows:
            self.example = self.example or rows["_reason"][0].as_py()
            self.misfits += rows.num_rows
            self._apart(rows)

    def take(self, checked: Checked) -> None:
        if checked.refused is not None:
            raise Refused(checked.refused)
        accepted = checked.accepted.select(self._schema.names).cast(self._schema)
        self._staged.write(accepted)
        self.written, self.bytes = self.written + accepted.num_rows, self.bytes + accepted.nbytes
        self.taken += accepted.num_rows + checked.quarantined.num_rows
        if checked.quarantined.num_rows:
            self._apart(_apart(checked.quarantined))

    def _apart(self, rows: pa.Table) -> None:
        self._staged.quarantine(rows)
        self.quarantined += rows.num_rows


def _apart(rows: pa.Table) -> pa.Table:
    """What a check gave back, as QUARANTINE."""
    told = rows["_reason"].to_pylist()
    numbers = rows["_row"].to_pylist() if "_row" in rows.column_names else [None] * rows.num_rows
    records = rows.drop_columns([name for name in ("_reason", "_row") if name in rows.column_names]).to_pylist()
    return quarantine(
        (number, reason, as_record(record)) for number, reason, record in zip(numbers, told, records, strict=True)
    )
