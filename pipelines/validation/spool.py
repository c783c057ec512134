"""Rows put aside until their batch has been seen as a whole: in a temporary file, so that memory does not grow with it."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipelines.checked import Numbers

_NUMBER = "_row"


class Spool:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema.append(pa.field(_NUMBER, pa.int64()))
        self._writer = pa.ipc.new_file(str(path), self._schema)

    def add(self, rows: pa.Table, numbers: Numbers) -> None:
        self._writer.write_table(rows.append_column(_NUMBER, pa.array(numbers, pa.int64())).cast(self._schema))

    def drain(self) -> Iterator[tuple[pa.Table, Numbers]]:
        """All of it, once, in the order that it came."""
        self._writer.close()
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file) as reader:
            for place in range(reader.num_record_batches):
                rows = pa.Table.from_batches([reader.get_batch(place)])
                yield rows.drop_columns([_NUMBER]), rows[_NUMBER].to_numpy()

    def close(self) -> None:
        self._writer.close()
