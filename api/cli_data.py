"""`oppen data`: raw data on its way into the lake, without a server."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.terminal import JsonFlag, Refused, WrongUse, emit

if TYPE_CHECKING:
    from tools.sources.opening import Reading

data = typer.Typer(no_args_is_help=True, help="Raw data: brought in, once.")


@data.callback()
def _group() -> None:
    """A group, also while it has one command."""


@data.command("ingest")
def ingest(
    source: Annotated[
        str,
        typer.Argument(
            help="A file, folder or glob of .parquet, .csv, .jsonl; s3://bucket/...; a SQLAlchemy URL with #table; "
            "https://... of an API; - for JSON lines from stdin; simulated://?seed=7."
        ),
    ],
    to: Annotated[
        str, typer.Option("--to", help="The lake: a folder (Parquet), chdb:///folder or clickhouse://host/database.")
    ],
    table: Annotated[str, typer.Option(help="In the lake; default: what the source is called.")] = "",
    watermark: Annotated[
        str, typer.Option(metavar="COLUMN", help="Of a database's table: only rows beyond the highest value stored.")
    ] = "",
    key: Annotated[str, typer.Option(help="Everything read now is one batch of this key; default: from the content.")] = "",
    batch_rows: Annotated[int, typer.Option(min=1, max=10_000_000, help="In memory at a time.")] = 65_536,
    follow: Annotated[bool, typer.Option("--follow", help="A file of JSON lines: wait for more until told to stop.")] = False,
    batches: Annotated[int | None, typer.Option(min=1, help="End after so many new batches.")] = None,
    keep_not_finite: Annotated[bool, typer.Option(help="Store NaN and infinities instead of quarantining their rows.")] = False,
    items: Annotated[str, typer.Option(metavar="PATH", help="API: where in an answer the items are, e.g. data.items.")] = "",
    next_page: Annotated[
        str, typer.Option("--next", metavar="PATH", help="API: where the next page's URL is, or `link`.")
    ] = "",
    cursor: Annotated[str, typer.Option(metavar="PATH", help="API: where the next page's cursor is.")] = "",
    cursor_parameter: Annotated[str, typer.Option(metavar="NAME", help="API: what a cursor is sent as.")] = "cursor",
    number_parameter: Annotated[str, typer.Option(metavar="NAME", help="API: pages have numbers, sent as this.")] = "",
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VARIABLE", help="API: a header, its value from the environment.")
    ] = None,
    private_hosts: Annotated[bool, typer.Option("--private-hosts", help="API: hosts that are not public, too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Store what the source has and the lake has not. The same batch twice is once; what is interrupted leaves nothing half.

    Exit code 0 also when rows were quarantined; 1 when a batch was refused or is broken, or somebody cancelled.
    """
    from tools.sources.opening import Paging, Reading

    paging = Paging(items, next_page, cursor, cursor_parameter, number_parameter, _headers(header or []), private_hosts)
    reading = Reading(batch_rows, table or None, watermark or None, key or None, follow, paging)
    found = _ingested(source, to, table, reading, keep_not_finite=keep_not_finite, batches=batches)
    emit(found, as_json, _told(found))
    if not found["ok"]:
        raise typer.Exit(1)


def _ingested(
    url: str, to: str, table: str, reading: "Reading", *, keep_not_finite: bool, batches: int | None
) -> dict[str, Any]:
    from contextlib import closing

    from pipelines.cancelling import by_signals
    from pipelines.ingest import Options, ingest
    from tools.clock import SystemClock
    from tools.errors import PortError
    from tools.lake.opening import open_lake
    from tools.sources.opening import open_source

    clock = SystemClock()
    options = Options(finite=not keep_not_finite, most_batches=batches)
    try:
        with by_signals() as cancellation, closing(open_source(url, reading)) as source, closing(open_lake(to)) as lake:
            name = table or _as_name(source.label)
            with lake.open(name, clock.now()) as opened:
                found = ingest(source, opened, options=options, progress=_progress, cancellation=cancellation, clock=clock)
    except PortError as error:
        raise Refused(str(error)) from error
    return {"ok": found.ok, "table": name, "to": _without_password(to), **found.model_dump(mode="json")}


def _headers(given: list[str]) -> dict[str, str]:
    import os

    headers = {}
    for each in given:
        name, _, variable = each.partition("=")
        if not name or variable not in os.environ:
            raise WrongUse(f"--header {each}: write NAME=VARIABLE, and set the variable")
        headers[name] = os.environ[variable]
    return headers


def _as_name(label: str) -> str:
    import re

    name = re.sub(r"\W", "_", label, flags=re.ASCII).strip("_")
    if not name:
        raise WrongUse("say with --table what the table is to be called")
    return name if name[0].isalpha() else f"t_{name}"


def _without_password(url: str) -> str:
    import re

    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def _told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['table']}: {found['rows_written']:,} of {found['rows_read']:,} rows written in {found['batches']:,} batches, "
        f"{found['rows_quarantined']:,} quarantined, {found['skipped']:,} batches there already; "
        f"{found['bytes']:,} bytes, {found['seconds']} s"
    ]
    lines += [f"{'refused' if each['refused'] else 'broken'}: {each['reason']}" for each in found["faulty"]]
    lines += [f"held back: {rows:,} rows {reason}" for reason, rows in found["held_back"].items()]
    if found["cancelled"]:
        lines.append("cancelled: what was committed stays, the next run goes on")
    return "\n".join(lines)
