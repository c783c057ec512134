"""`python -m tests.pipelines.dying_ingest SOURCE LAKE ROWS`: an ingestion that is killed after so many rows were staged."""

import os
import signal
import sys
from pathlib import Path

from pipelines.ingest import ingest
from tools.lake.parquet import ParquetLake
from tools.sources.opening import Reading, open_source


def main() -> None:
    source, lake, after = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

    def progress(text: str) -> None:
        if text.endswith(after):
            os.kill(os.getpid(), signal.SIGKILL)

    with ParquetLake(lake).open("t") as table:
        ingest(open_source(source, Reading(batch_rows=1_000)), table, progress=progress)


if __name__ == "__main__":
    main()
