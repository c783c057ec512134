"""`python -m pipelines ingest`: what a job runs to bring raw data into a lake."""

import json
import os
import sys
import time
from typing import Annotated

import typer

from pipelines.options import SOURCE, takes_reading
from tools.sources.reading import Reading


@takes_reading
def command(
    reading: Reading,
    source: Annotated[str, typer.Argument(help=SOURCE)],
    to: Annotated[str, typer.Option("--to", help="The lake: a folder, chdb://FOLDER or clickhouse://user@host:port/database.")],
    table: Annotated[str, typer.Option(help="In the lake; default: what the source is called.")] = "",
    batches: Annotated[int | None, typer.Option(min=1, help="End after so many new ones.")] = None,
    keep_not_finite: Annotated[bool, typer.Option(help="Store NaN and infinities instead of quarantining their rows.")] = False,
) -> None:
    """Store what the source has and the lake has not. Prints one line of JSON."""
    from tools.tables.memory import frugal

    frugal()
    from contextlib import closing

    from pipelines.cancelling import by_signals
    from pipelines.ingest import Options, ingest
    from tools.clickhouse.connection import without_password
    from tools.lake.opening import local_folder, open_lake
    from tools.sources.opening import open_source

    started = time.perf_counter()

    def progress(text: str) -> None:
        typer.echo(f"{time.perf_counter() - started:6.1f} s  {text}", err=True)

    with (
        by_signals() as cancellation,
        closing(open_source(source, reading, without=local_folder(to))) as opened,
        closing(open_lake(to, os.environ.get("OPPEN_LAKE_PASSWORD"))) as lake,
    ):
        name = table or opened.label
        with lake.open(name) as target:
            options = Options(finite=not keep_not_finite, most_batches=batches)
            found = ingest(opened, target, options=options, progress=progress, cancellation=cancellation)
    typer.echo(json.dumps({"ok": found.ok, "table": name, "to": without_password(to), **found.model_dump(mode="json")}))
    sys.stdout.flush()
    if not found.ok:
        raise typer.Exit(1)
