"""`oppen features`: what there is, brought up to date, looked up, and made into training sets, without a server.

Where things are comes from the settings; addresses that may hold a password come from there alone, because what is written on
a command line others can read.
"""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.terminal import JsonFlag, Refused, WrongUse, emit, show

if TYPE_CHECKING:
    from pipelines.feature_jobs import Job

features = typer.Typer(no_args_is_help=True, help="Features: the same values for training and for serving.")

StoreOption = Annotated[Path | None, typer.Option("--store", help="Folder of the feature store; default: OPPEN_FEATURES.")]
Definitions = Annotated[
    str, typer.Option(help="Module that has VIEWS, which is imported and run; default: OPPEN_FEATURE_DEFINITIONS.")
]
Moment = Annotated[str, typer.Option(metavar="TIME", help="RFC 3339, such as 2026-01-31T12:00:00Z; default: now.")]


@features.command("list")
def list_features(store: StoreOption = None, as_json: JsonFlag = False) -> None:
    """Every version of every view: what it has, how fresh it is, and how far it is online."""
    from pipelines.feature_jobs import reading

    with _refusing(), reading(_job(store).place) as found:
        states = found.states()
    if as_json:
        items = [{**each.model_dump(mode="json", exclude={"view"}), **each.view.model_dump(mode="json")} for each in states]
        emit({"items": items}, as_json, "")
        return
    from rich.table import Column, Table

    names = ("view, of what", "version", "", "rows", "newest fact", "online as of")
    grid = Table(*(Column(name, no_wrap=True) for name in names))
    for each in states:
        view = each.view
        moments = _at(each.newest), _at(each.materialized_until)
        current = "current" if each.current else ""
        grid.add_row(f"{view.name} ({', '.join(view.entities)})", view.version, current, f"{each.rows:,}", *moments)
    show(grid, whole=True)


@features.command("materialize")
def materialize(
    store: StoreOption = None,
    lake: Annotated[str, typer.Option(help="The lake with the raw data; default: OPPEN_LAKE.")] = "",
    definitions: Definitions = "",
    until: Moment = "",
    as_json: JsonFlag = False,
) -> None:
    """Compute what is new in the lake, and bring online what is so now. Exit code 1 when a view failed; the others are done."""
    from pipelines.cancelling import by_signals
    from pipelines.feature_jobs import run

    job = _job(store, lake=lake, definitions=definitions)
    if not job.lake:
        raise WrongUse("name the lake with --lake or OPPEN_LAKE")
    with _refusing(), by_signals() as cancellation:
        done = run(job, _not_ahead(_moment(until), job), cancellation=cancellation, progress=_progress)
    lines = [f"{each.view} {each.version}: {each.error or _done(each)}" for each in done.views]
    if done.cancelled:
        lines.append("cancelled: what was committed stays, the next run goes on")
    emit({"ok": done.ok, **done.model_dump(mode="json")}, as_json, "\n".join(lines))
    if not done.ok:
        raise typer.Exit(1)


@features.command("lookup")
def lookup(
    names: Annotated[list[str], typer.Argument(metavar="VIEW[:FEATURE]...", help="Or VIEW@VERSION:FEATURE.")],
    entity: Annotated[list[str], typer.Option(help='As JSON: {"origin": "JFK", "dest": "LAX"}; may be repeated.')],
    at: Annotated[str, typer.Option(metavar="TIME", help="As if it were then; online is only what is latest.")] = "",
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """What is online for each entity. Null is what is unknown, or too old."""
    from pipelines.feature_jobs import reading

    keys = [_key(each) for each in entity]
    now = _moment(at) or datetime.now(UTC)
    with _refusing(), reading(_job(store).place) as found:
        answers = found.lookup(keys, names, now)
    items = [{"entity": key, **each.model_dump(mode="json")} for key, each in zip(keys, answers, strict=True)]
    lines = [f"{json.dumps(each['entity'])}\n" + "\n".join(f"  {k} = {v}" for k, v in each["values"].items()) for each in items]
    emit({"items": items}, as_json, "\n".join(lines))


@features.command("training-set")
def training_set(
    rows: Annotated[
        Path, typer.Argument(help="Parquet: the entities, a time with its zone, and what else a model is to learn from.")
    ],
    names: Annotated[list[str], typer.Option("--feature", metavar="VIEW[:FEATURE]", help="May be repeated.")],
    out: Annotated[Path, typer.Option(help="Parquet to write.")],
    time: Annotated[str, typer.Option(help="Column of `rows`: as of when each is to be seen.")] = "event_timestamp",
    label_time: Annotated[str, typer.Option(help="Column of `rows`: when its label was known.")] = "",
    known_by: Annotated[str, typer.Option(metavar="TIME", help="Leave out rows whose label was not known by then.")] = "",
    store: StoreOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Each row with its features as they were at its time: no feature sees what came later."""
    if bool(label_time) != bool(known_by):
        raise WrongUse("--label-time and --known-by go together")
    import pyarrow as pa
    import pyarrow.parquet as pq

    from pipelines.feature_jobs import reading
    from pipelines.training_sets import training_set as made

    if not rows.is_file():
        raise WrongUse(f"{rows}: there is no such file; it has the entities of the views, and the column {time}")
    try:
        given = pq.read_table(rows)
    except (OSError, pa.ArrowException) as error:
        raise Refused(f"{rows} cannot be read as Parquet: {error}") from error
    with _refusing(), reading(_job(store).place) as found:
        table = made(found, given, names, time=time, label_time=label_time or None, known_by=_moment(known_by))
    try:
        pq.write_table(table, out, compression="zstd")
    except OSError as error:
        raise Refused(f"{out} cannot be written: {error}") from error
    told = {
        "file": str(out),
        "rows": table.num_rows,
        "left_out": given.num_rows - table.num_rows,
        "columns": table.column_names,
    }
    emit(told, as_json, f"{out}: {table.num_rows:,} rows, {table.num_columns} columns, {told['left_out']:,} rows left out")


def _job(store: Path | None, *, lake: str = "", definitions: str = "") -> "Job":
    from api import settings

    try:
        found = settings.read()
    except settings.WrongSettings as error:
        raise WrongUse(str(error)) from error
    given: dict[str, Any] = {"features": store, "lake": lake, "feature_definitions": definitions}
    job = found.model_copy(update={name: value for name, value in given.items() if value}).feature_job
    if job is None:
        raise WrongUse("name the feature store with --store or OPPEN_FEATURES")
    return job


class _refusing:  # noqa: N801 - read as a statement
    """What a port refuses is what the command refuses."""

    def __enter__(self) -> None:
        from tools.tables.memory import frugal

        frugal()

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from tools.errors import PortError

        if isinstance(error, PortError):
            raise Refused(str(error)) from error


def _key(text: str) -> dict[str, Any]:
    try:
        key = json.loads(text)
    except ValueError as error:
        raise WrongUse(f"--entity {text}: this is no JSON") from error
    if not isinstance(key, dict):
        raise WrongUse(f'--entity {text}: write an object, such as {{"origin": "JFK"}}')
    return key


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongUse(f"{text}: write a time as 2026-01-31T12:00:00Z") from error
    if moment.tzinfo is None:
        raise WrongUse(f"{text}: a time needs its zone, such as Z")
    return moment


def _not_ahead(moment: datetime | None, job: "Job") -> datetime | None:
    """Refused here as wrong use; whoever else runs the job is refused by it."""
    from tools.clock import clock_from
    from tools.errors import PermanentError
    from tools.features.port import refuse_ahead

    try:
        if moment is not None:
            refuse_ahead(moment, clock_from(job.clock).now())
    except PermanentError as error:
        raise WrongUse(f"--{error}") from error
    return moment


def _done(each: Any) -> str:
    keys = each.online.keys if each.online else 0
    now = " (now current)" if each.published else ""
    return f"{each.rows_read:,} raw rows, {each.rows_written:,} rows, {keys:,} keys online in {each.seconds} s{now}"


def _at(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(text, err=True)
