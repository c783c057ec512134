"""`python -m tests.pipelines.hungry_ingest SOURCE LAKE`: prints the rows stored, and the MiB it needed beyond its imports."""

import sys
from pathlib import Path

from benchmarks.memory import peak_mib
from tools.tables.memory import frugal


def main() -> None:
    frugal()
    import pyarrow.compute
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet  # noqa: F401 - part of the baseline

    from pipelines.ingest import ingest
    from tools.lake.parquet import ParquetLake
    from tools.sources.opening import Reading, open_source

    before = peak_mib()
    with ParquetLake(Path(sys.argv[2])).open("t") as table:
        found = ingest(open_source(sys.argv[1], Reading()), table)
    sys.stdout.write(f"{found.rows_written} {peak_mib() - before}\n")


if __name__ == "__main__":
    main()
