"""`oppen data infer | validate | quality`: what a table's rows have to be, whether they are, and how that has changed."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.terminal import JsonFlag, Refused, WrongUse, emit

if TYPE_CHECKING:
    from pipelines.validate import Outcome
    from tools.quality.schema import TableSchema

SchemaOption = Annotated[Path, typer.Option("--schema", help="YAML, as `oppen data infer` writes it.")]
Source = Annotated[str, typer.Argument(help="A file, a folder or a quoted glob of .parquet, .csv, .jsonl, .ndjson.")]


def register(data: typer.Typer) -> None:
    data.command("infer")(infer)
    data.command("validate")(validate)
    data.command("quality")(quality)


def infer(
    source: Source,
    table: Annotated[str, typer.Option(help="What the table is called; default: what the source is called.")] = "",
) -> None:
    """Write a schema that this sample keeps to stdout, with the reason for each line as a comment. Then edit it."""
    from tools.tables.memory import frugal

    frugal()
    from contextlib import closing

    from pipelines.validation.drafting import draft
    from pipelines.validation.inferring import sample
    from tools.clock import SystemClock
    from tools.errors import PortError
    from tools.sources.opening import Reading, open_source

    try:
        with closing(open_source(source, Reading())) as opened:
            name = table or as_name(opened.label)
            found = sample(opened)
    except PortError as error:
        raise Refused(str(error)) from error
    typer.echo(draft(found, name, Path(source).name, SystemClock().now()), nl=False)


def validate(
    source: Source,
    schema: SchemaOption,
    keep_not_finite: Annotated[bool, typer.Option(help="Take NaN and infinities for values.")] = False,
    strict: Annotated[bool, typer.Option(help="Exit code 1 also when rows would be quarantined.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Hold a source to a schema; nothing is stored.

    Exit code 0: every batch is accepted, or partly, as the schema allows; 1: one is refused or cannot be read; 2: the schema
    cannot be read.
    """
    from tools.tables.memory import frugal

    frugal()
    from contextlib import closing

    from pipelines.cancelling import by_signals
    from pipelines.ingest import Options
    from pipelines.validation.running import validate as validated
    from tools.clock import SystemClock
    from tools.errors import PortError
    from tools.sources.opening import Reading, open_source

    rules = read_schema(schema)
    options = Options(finite=not keep_not_finite)
    try:
        with by_signals() as cancellation, closing(open_source(source, Reading())) as opened:
            found, outcomes = validated(
                opened, rules, SystemClock(), options=options, progress=progress, cancellation=cancellation
            )
    except PortError as error:
        raise Refused(str(error)) from error
    read = sum(each.statistics.read for each in outcomes)
    accepted = sum(each.statistics.accepted for each in outcomes if each.verdict != "refused")
    broken = [{"batch": each.batch, "reason": each.reason} for each in found.faulty if not each.refused]
    result = {
        "ok": found.ok,
        "table": rules.table,
        "schema_version": rules.version,
        "rows_read": read,
        "rows_accepted": accepted,
        "rows_quarantined": sum(each.statistics.quarantined for each in outcomes if each.verdict != "refused"),
        "rows_refused": sum(each.statistics.read for each in outcomes if each.verdict == "refused"),
        "batches": told(outcomes),
        "broken": broken,
        "seconds": found.seconds,
    }
    emit(result, as_json, "\n".join([*in_words(outcomes), *(f"broken: {each['reason']}" for each in broken)]))
    if not found.ok or (strict and read > accepted):
        raise typer.Exit(1)


def quality(
    table: Annotated[str, typer.Argument(help="In the lake.")],
    lake: Annotated[str, typer.Option(help="As for `oppen data ingest --to`.")],
    batches: Annotated[int, typer.Option(min=1, max=1_000, help="Shown at most.")] = 20,
    policies: Annotated[Path | None, typer.Option(help="YAML; default: the documented defaults.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """What was measured of a table's batches, and whether they get worse. Exit code 0 also when they do: it is an answer."""
    import os
    from contextlib import closing

    from agents.datasets import judge
    from agents.policies import PolicyError
    from api import policy_file
    from api.web.routes.datasets import quality as shown
    from tools.clock import SystemClock
    from tools.errors import PortError
    from tools.lake.opening import open_lake
    from tools.quality.history import history

    try:
        rules = policy_file.load(policies).dataset_of(table)
    except PolicyError as error:
        raise WrongUse(f"{policies}: {error}") from error
    try:
        with closing(open_lake(lake, os.environ.get("OPPEN_LAKE_PASSWORD"))) as opened:
            if table not in opened.tables():
                raise Refused(f"{table}: there is no such table in the lake; it has {', '.join(opened.tables()) or 'none'}")
            found = history(opened.read(table), max(batches, rules.history))
    except PortError as error:
        raise Refused(str(error)) from error
    judgement = judge(found[-rules.history :], rules, SystemClock().now())
    view = shown(table, rules.model, judgement, found[-batches:])
    if as_json:
        emit(view.model_dump(mode="json"), as_json, "")
        return
    for each in view.batches:
        share = each.quarantined / (each.rows + each.quarantined) if each.rows + each.quarantined else 0.0
        typer.echo(f"{each.at:%Y-%m-%d %H:%M} {each.name}: {each.verdict}, {each.rows:,} rows, {share:.1%} quarantined")
    typer.echo(view.summary)
    typer.echo(view.freshness.summary)


def read_schema(path: Path) -> "TableSchema":
    from tools.errors import PermanentError
    from tools.quality.schema import load

    try:
        return load(path)
    except PermanentError as error:
        raise WrongUse(str(error)) from error


def told(outcomes: "Iterable[Outcome]") -> list[dict[str, Any]]:
    return [
        {
            "batch": each.batch,
            "verdict": each.verdict,
            "refused": each.refused,
            "rows_read": each.statistics.read,
            "rows_accepted": each.statistics.accepted,
            "rows_quarantined": each.statistics.quarantined,
            "reasons": [count.model_dump() for count in each.statistics.broken],
            "notes": list(each.notes),
        }
        for each in outcomes
    ]


def in_words(outcomes: "Iterable[Outcome]") -> list[str]:
    lines = []
    for each in outcomes:
        measured = each.statistics
        lines.append(f"{each.batch}: {each.verdict}, {measured.accepted:,} of {measured.read:,} rows keep the schema")
        if each.refused:
            lines.append(f"  because {each.refused}")
        lines += [f"  {count.rows:,} rows: {count.example}" for count in measured.broken]
        lines += [f"  note: {note}" for note in each.notes]
    return lines


def as_name(label: str) -> str:
    name = re.sub(r"\W", "_", label, flags=re.ASCII).strip("_")
    if not name:
        raise WrongUse("say with --table what the table is to be called")
    return name if name[0].isalpha() else f"t_{name}"


def progress(text: str) -> None:
    if sys.stderr.isatty():
        typer.echo(text, err=True)
