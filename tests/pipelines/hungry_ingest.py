"""`python -m tests.pipelines.hungry_ingest SOURCE LAKE [TABLE WATERMARK]`: prints the rows stored, and the MiB it needed beyond
its imports. TABLE and WATERMARK: of a database."""

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
    from tools.sources.opening import open_source
    from tools.sources.reading import Reading, SqlReading

    reading = Reading(sql=SqlReading(table=sys.argv[3], watermark=sys.argv[4])) if len(sys.argv) > 3 else Reading()
    source = open_source(sys.argv[1], reading)
    before = peak_mib()
    with ParquetLake(Path(sys.argv[2])).open("t") as table:
        found = ingest(source, table)
    sys.stdout.write(f"{found.rows_written} {peak_mib() - before}\n")


if __name__ == "__main__":
    main()
