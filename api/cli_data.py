"""`oppen data`: raw data on its way into the lake, without a server."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api import cli_quality
from api.terminal import JsonFlag, Refused, WrongUse, emit, show
from pipelines.options import SOURCE, takes_reading
from tools.sources.reading import Reading

if TYPE_CHECKING:
    from tools.tables.port import ColumnProfile, Value

data = typer.Typer(no_args_is_help=True, help="Raw data: brought in once, and looked at.")
cli_quality.register(data)


@data.command("ingest")
@takes_reading
def ingest(
    reading: Reading,
    source: Annotated[str, typer.Argument(help=SOURCE)],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="The lake: a folder, for Parquet; chdb://FOLDER, for the embedded ClickHouse; clickhouse://user@host:port/database,"
            " clickhouses://, http:// or https:// for a server, with its password in OPPEN_LAKE_PASSWORD.",
        ),
    ],
    table: Annotated[str, typer.Option(help="In the lake; default: what the source is called.")] = "",
    batches: Annotated[int | None, typer.Option(min=1, help="End after so many new ones.")] = None,
    schema: Annotated[
        Path | None, typer.Option(help="What the rows have to be: YAML, as `oppen data infer` writes it.")
    ] = None,
    keep_not_finite: Annotated[bool, typer.Option(help="Store NaN and infinities instead of quarantining their rows.")] = False,
    lineage: Annotated[
        str,
        typer.Option(
            envvar="OPPEN_LINEAGE",
            metavar="FILE|URL|off",
            help="Where to tell what came from where; default: _lineage.jsonl in a lake of Parquet, else lineage.jsonl in"
            " OPPEN_HOME. For a URL the key is OPPEN_KEY.",
        ),
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Store what the source has and the lake has not. The same batch twice is once; what is interrupted leaves nothing half.

    Exit code 0 also when rows were quarantined; 1 when a batch was refused or is broken, or somebody cancelled.
    """
    found = _ingested(source, to, table, reading, lineage, schema, keep_not_finite=keep_not_finite, batches=batches)
    words = found.pop("words", [])
    emit(found, as_json, "\n".join([_told(found), *words]))
    if not found["ok"]:
        raise typer.Exit(1)


def _ingested(
    url: str,
    to: str,
    table: str,
    reading: Reading,
    lineage: str,
    schema: Path | None,
    *,
    keep_not_finite: bool,
    batches: int | None,
) -> dict[str, Any]:
    from tools.tables.memory import frugal

    frugal()
    from contextlib import ExitStack, closing

    from api.telling import told
    from pipelines.cancelling import by_signals
    from pipelines.ingest import Options, ingest
    from pipelines.validate import Validation
    from tools.clickhouse.connection import without_password
    from tools.clock import SystemClock
    from tools.errors import Misused, PortError
    from tools.lake.opening import local_folder, open_lake
    from tools.sources.opening import open_source

    clock = SystemClock()
    options = Options(finite=not keep_not_finite, most_batches=batches)
    rules = cli_quality.read_schema(schema) if schema is not None else None
    try:
        with ExitStack() as stack:
            cancellation = stack.enter_context(by_signals())
            source = stack.enter_context(closing(open_source(url, reading, without=local_folder(to))))
            lake = stack.enter_context(closing(open_lake(to, os.environ.get("OPPEN_LAKE_PASSWORD"))))
            name = table or (rules.table if rules is not None else cli_quality.as_name(source.label))
            opened = stack.enter_context(lake.open(name))
            stored, ended = stack.enter_context(told(lineage, url, source.label, to, name, opened))
            checks = stack.enter_context(closing(Validation.of_table(rules, opened, clock))) if rules is not None else None
            found = ingest(
                source,
                opened,
                checks=checks,
                options=options,
                progress=cli_quality.progress,
                cancellation=cancellation,
                clock=clock,
                stored=stored,
            )
            ended(found)
    except Misused as error:
        raise WrongUse(str(error)) from error
    except PortError as error:
        raise Refused(str(error)) from error
    answer = {"ok": found.ok, "table": name, "to": without_password(to), **found.model_dump(mode="json")}
    if checks is not None and rules is not None:
        answer["validation"] = {"schema_version": rules.version, "batches": cli_quality.told(checks.outcomes)}
        answer["words"] = cli_quality.in_words(checks.outcomes)
    return answer


@data.command("profile")
def profile(
    file: Annotated[Path, typer.Argument(help=".parquet, .csv, .jsonl or .ndjson.")], as_json: JsonFlag = False
) -> None:
    """What is in a table, column by column, read once."""
    from tools.tables.memory import frugal

    frugal()
    from tools.errors import PermanentError
    from tools.tables.files import FileTable
    from tools.tables.profiling import profile as profiled

    try:
        table = FileTable(file)
        found = profiled(table)
    except PermanentError as error:
        raise Refused(str(error)) from error
    columns = [_column(each, table.schema.field(each.name).type) for each in found.values()]
    left_out = {field.name: str(field.type) for field in table.schema if field.name not in found}
    if as_json:
        emit({"file": str(file), "columns": columns, "left_out": left_out}, as_json, "")
        return
    show(_table(columns))
    typer.echo(f"{columns[0]['rows'] if columns else 0:,} rows.")
    for name, kind in left_out.items():
        typer.echo(f"Not profiled: {name} ({kind}).")


_TOP = 5


_FIGURES = ("minimum", "mean", "maximum")


def _column(profile: "ColumnProfile", type_: Any) -> dict[str, Any]:
    """Times are ISO 8601 in UTC, and their deviation is seconds. `distinct` is None where there are too many to be counted."""
    from functools import partial

    shown = partial(_shown, type_=type_)
    frequent = sorted(profile.values.items(), key=lambda each: (-each[1], str(each[0])))
    return {
        "name": profile.name,
        "type": profile.kind,
        "rows": profile.rows,
        "nulls": profile.nulls,
        "not_finite": profile.not_finite,
        "distinct": len(profile.values) if profile.grid is None and not profile.others else None,
        "minimum": shown(profile.minimum),
        "maximum": shown(profile.maximum),
        "mean": _time(profile.mean) if profile.kind == "datetime" and profile.mean is not None else profile.mean,
        "deviation": profile.deviation,
        "top": [{"value": shown(value), "count": count} for value, count in frequent[:_TOP]],
    }


def _shown(value: "Value | None", type_: Any) -> "Value | None":
    """As its column has it."""
    import pyarrow as pa

    if not isinstance(value, float):
        return value
    if pa.types.is_date(type_):
        told = _time(value)
        return told.partition("T")[0] if isinstance(told, str) else told
    if pa.types.is_timestamp(type_):
        return _time(value)
    return round(value) if pa.types.is_integer(type_) else value


def _time(seconds: float) -> str | float:
    """To the millisecond, which is as exact as a grid knows it; the number itself where no calendar reaches."""
    try:
        found = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(seconds * 1_000))
    except OverflowError:
        return seconds
    return found.isoformat(timespec="milliseconds" if found.microsecond else "seconds")


def _table(columns: list[dict[str, Any]]) -> Any:
    from rich.table import Table as Grid

    grid = Grid("column", "type", "nulls", "distinct", "minimum", "mean", "maximum", "most frequent")
    for each in columns:
        numbers = ["-" if each[name] is None else _brief(each[name]) for name in _FIGURES]
        top = ", ".join(f"{str(value['value'])[:25]} ({value['count'] / each['rows']:.0%})" for value in each["top"][:1])
        distinct = "many" if each["distinct"] is None else f"{each['distinct']:,}"
        grid.add_row(each["name"], each["type"], f"{each['nulls']:,}", distinct, *numbers, top)
    return grid


def _brief(value: "Value") -> str:
    """Times so that they are wrapped between day and hour."""
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("T", " ").replace("+00:00", "Z")


def _told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['table']}: {found['rows_written']:,} of {found['rows_read']:,} rows written in {found['batches']:,} batches, "
        f"{found['rows_quarantined']:,} quarantined, {found['skipped']:,} batches there already; "
        f"{found['bytes']:,} bytes, {found['seconds']} s"
    ]
    lines += [f"{'refused' if each['refused'] else 'broken'}: {each['reason']}" for each in found["faulty"]]
    lines += [f"held back: {rows:,} rows {reason}" for reason, rows in found["held_back"].items()]
    lines += [f"note: {each}" for each in found["warnings"]]
    if found["cancelled"]:
        lines.append("cancelled: what was committed stays, the next run goes on")
    return "\n".join(lines)
