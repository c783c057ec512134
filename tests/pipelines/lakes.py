"""A lake of one table, and what is in it."""

from pathlib import Path
from typing import Any

from pipelines.ingest import Ingested, ingest
from tools.lake.parquet import ParquetLake
from tools.sources.opening import open_source
from tools.sources.port import Source
from tools.sources.reading import Reading


class Lake:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lake = ParquetLake(folder)

    def ingest(self, source: Path | str | Source, reading: Reading | None = None, **how: Any) -> Ingested:
        """`clock`: the source's as well."""
        opened = (
            source
            if isinstance(source, Source)
            else open_source(str(source), reading or Reading(1_000), how.get("clock"), without=self.folder)
        )
        with self.lake.open("t") as table:
            return ingest(opened, table, **how)

    def rows(self) -> list[dict[str, Any]]:
        with self.lake.open("t") as table:
            return [row for batch in table.rows() for row in batch.to_pylist()]

    def quarantined(self) -> list[tuple[int, str]]:
        with self.lake.open("t") as table:
            return [(row["_row"], row["_reason"]) for batch in table.quarantined() for row in batch.to_pylist()]

    def refused(self) -> list[str]:
        with self.lake.open("t") as table:
            return [each.refused for each in table.receipts() if each.refused is not None]

    def text(self) -> str:
        """Of everything that is kept beside the rows: no secret may be in it."""
        return "\n".join(path.read_text() for path in self.folder.rglob("*.json"))
