"""What is said of a source on a command line: the same for `oppen data ingest` and `python -m pipelines ingest`."""

import functools
import inspect
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from tools.sources.reading import HttpReading, Lookback, Reading, S3Reading, SqlReading

SOURCE = (
    "A file, a folder or a quoted glob of .parquet, .csv, .jsonl, .ndjson (here or s3://BUCKET/...), a database "
    "(sqlite:///FILE, postgresql://...), an API (https://...) or simulated://NAME. A password is written ${NAME} or "
    "${file:PATH}, in single quotes."
)
_SQL = "Of a database"
_HTTP = "Of an API"
_S3 = "Of object storage"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN = re.compile(r"(\d+)([smhd])")


def _reading(
    batch_rows: Annotated[int, typer.Option(min=1, max=10_000_000, help="In memory at a time.")] = 65_536,
    key: Annotated[str, typer.Option(help="Of the one file, in place of its name, size and content.")] = "",
    commit_rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of a batch of what has no files, about; default: 1,000,000, of an API 10,000.", show_default=False
        ),
    ] = None,
    from_table: Annotated[str, typer.Option("--from", help="The table: NAME or SCHEMA.NAME.", rich_help_panel=_SQL)] = "",
    query: Annotated[str, typer.Option(help="Or a SELECT.", rich_help_panel=_SQL)] = "",
    watermark: Annotated[
        str,
        typer.Option(
            help="A column that rises with every row or change; what is above its last is read.", rich_help_panel=_SQL
        ),
    ] = "",
    lookback: Annotated[
        str,
        typer.Option(help="Look so far below the last for rows that came late: 10m, or a number.", rich_help_panel=_SQL),
    ] = "",
    lag: Annotated[str, typer.Option(help="Leave rows younger than that for later: 5m.", rich_help_panel=_SQL)] = "",
    items: Annotated[
        str, typer.Option(metavar="PATH", help="Dotted, to the list in the body; default: the body.", rich_help_panel=_HTTP)
    ] = "",
    paging: Annotated[
        str,
        typer.Option(
            help="How pages follow: link, next=PATH, cursor=PATH:PARAMETER, page=PARAMETER[:FIRST], "
            "offset=PARAMETER[:LIMIT:SIZE]. Oldest first.",
            rich_help_panel=_HTTP,
        ),
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option(help="'Authorization: Bearer ${TOKEN}' or ${file:PATH}; may be repeated.", rich_help_panel=_HTTP),
    ] = None,
    silence: Annotated[str, typer.Option(help="How long the server may say nothing.", rich_help_panel=_HTTP)] = "30s",
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Of a server not Amazon's.", rich_help_panel=_S3)] = "",
    region: Annotated[str, typer.Option(rich_help_panel=_S3)] = "",
    anonymous: Annotated[bool, typer.Option(help="Without credentials.", rich_help_panel=_S3)] = False,
) -> Reading:
    return Reading(
        batch_rows=batch_rows,
        key=key or None,
        commit_rows=commit_rows,
        sql=SqlReading(from_table, query, watermark, _lookback(lookback), _span("--lag", lag or "0s")),
        http=HttpReading(items, paging, tuple(header or ()), _span("--silence", silence)),
        s3=S3Reading(endpoint, region, anonymous),
    )


def takes_reading(command: Callable[..., None]) -> Callable[..., None]:
    """A command with a parameter `reading` gets these options in its place."""
    own, said = (inspect.signature(each, eval_str=True) for each in (command, _reading))

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        options = {name: given.pop(name) for name in said.parameters}
        command(**given, reading=_reading(**options))

    kept = [each for each in own.parameters.values() if each.name != "reading"]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*kept, *said.parameters.values())]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def _lookback(text: str) -> Lookback:
    return int(text or "0") if not text or text.isdecimal() else _span("--lookback", text)


def _span(option: str, text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{option} {text!r}: a time is written 90s, 10m, 2h or 1d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
