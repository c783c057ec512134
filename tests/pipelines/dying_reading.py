"""`python -m tests.pipelines.dying_reading SOURCE LAKE SAID [SQL]`: an ingestion of an ordered source that is killed when its
progress ends with SAID. SQL: what of a database, as JSON."""

import json
import os
import signal
import sys
from pathlib import Path

from pipelines.ingest import ingest
from tools.lake.parquet import ParquetLake
from tools.sources.opening import open_source
from tools.sources.reading import Reading, SqlReading


def main() -> None:
    source, lake, said = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    sql = SqlReading(**json.loads(sys.argv[4])) if len(sys.argv) > 4 else SqlReading()

    def progress(text: str) -> None:
        if text.endswith(said):
            os.kill(os.getpid(), signal.SIGKILL)

    with ParquetLake(lake).open("t") as table:
        ingest(open_source(source, Reading(batch_rows=1_000, commit_rows=1_000, sql=sql)), table, progress=progress)


if __name__ == "__main__":
    main()
