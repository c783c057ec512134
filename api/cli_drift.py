"""`oppen drift`: what can be said about two tables without a server."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.terminal import JsonFlag, Refused, WrongUse, emit, show
from tools.reports.port import MOST_ROWS

if TYPE_CHECKING:
    from agents.drift.rules import Method

drift = typer.Typer(no_args_is_help=True, help="How far data has moved from what a model was trained on.")

Table = Annotated[
    str,
    typer.Option(
        help="A file (.parquet, .csv, .jsonl, .ndjson), a folder of Parquet (a table of the lake), or a database's table: "
        "sqlite:///PATH#TABLE, postgresql://...#TABLE, clickhouse://...#TABLE, chdb:///FOLDER#TABLE."
    ),
]

Methods = Annotated[
    list[str] | None,
    typer.Option(
        help="For the kinds of columns that it is for, and may be repeated: wasserstein and ks (numbers), chi_squared "
        "(categories), psi and jensen_shannon (both)."
    ),
]


@drift.callback()
def _group() -> None:
    """A group, also while it has one command."""


@drift.command("compare")
def compare(reference: Table, current: Table, method: Methods = None, as_json: JsonFlag = False) -> None:
    """Compare two tables, feature by feature. Exit code 0 also when they differ: it is an answer, not a failure."""
    from tools.tables.memory import frugal

    frugal()
    from agents.drift.rules import DriftRules
    from agents.drift.verdicts import compare as judge
    from tools.errors import PortError
    from tools.tables.opening import open_table
    from tools.tables.profiling import profile_together

    started = time.perf_counter()
    try:
        profiled = profile_together(open_table(reference), open_table(current))
    except PortError as error:
        raise Refused(str(error)) from error
    if not profiled.pairs:
        raise Refused(f"the two tables have no column in common that can be compared: {_named(profiled.left_out)}")
    rules = DriftRules().by(_methods(method))
    found = judge(profiled.pairs.values(), rules).model_dump(mode="json")
    seconds = round(time.perf_counter() - started, 3)
    if as_json:
        emit({**found, "left_out": profiled.left_out, "seconds": seconds}, as_json, "")
        return
    show(_table(found))
    verdict = "The dataset has drifted" if found["dataset_drift"] else "The dataset has not drifted"
    typer.echo(
        f"{verdict}: {found['drifted_share']:.0%} of its features moved, and it counts as drift of the dataset from "
        f"{rules.dataset_share:.0%} on. Cause: {found['cause']} ({found['reason']})."
    )
    for name, reason in profiled.left_out.items():
        typer.echo(f"Not compared: {name} ({reason}).")
    typer.echo(f"{seconds} s")


@drift.command("report")
def report(
    reference: Table,
    current: Table,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    rows: Annotated[int, typer.Option(min=1_000, max=MOST_ROWS, help="Of each side, at most; a sample of more.")] = MOST_ROWS,
    as_json: JsonFlag = False,
) -> None:
    """Evidently's report of two tables as one HTML file, on a sample of each whose size it states."""
    import asyncio
    import tempfile

    from tools.errors import PortError
    from tools.reports.evidently import draw, require_evidently
    from tools.reports.sampling import sample
    from tools.tables.opening import open_table

    if not out.absolute().parent.is_dir():
        raise Refused(f"{out}: there is no folder {out.absolute().parent}; make it first")
    try:
        require_evidently()
        with tempfile.TemporaryDirectory(prefix="oppen-report-") as folder:
            paths = Path(folder) / "reference.parquet", Path(folder) / "current.parquet"
            sides = [
                sample(open_table(name), _without_password(name), rows, path)
                for name, path in zip((reference, current), paths, strict=True)
            ]
            made = asyncio.run(draw((paths[0], sides[0]), (paths[1], sides[1]), out.absolute()))
    except PortError as error:
        raise Refused(str(error)) from error
    except OSError as error:
        raise Refused(f"{out}: {error.strerror}") from error
    told = {"out": str(out), "reference": sides[0].model_dump(), "current": sides[1].model_dump(), **made.model_dump()}
    emit(told, as_json, f"{out}: {made.columns} columns. Reference: {sides[0]}. Current: {sides[1]}.")


_MOST_NAMED = 10


def _named(left_out: dict[str, str]) -> str:
    """Those that both have come first: of these something can be done about it."""
    told = sorted(left_out.items(), key=lambda each: each[1].startswith("only in"))
    more = f" and {len(told) - _MOST_NAMED} others" if len(told) > _MOST_NAMED else ""
    return ("; ".join(f"{name} ({reason})" for name, reason in told[:_MOST_NAMED]) or "they have none") + more


def _without_password(name: str) -> str:
    import re

    return re.sub(r"(://[^/@]*?):[^/]*@", r"\1:***@", name)


def _methods(names: list[str] | None) -> "list[Method]":
    from typing import get_args

    from agents.drift.rules import Method

    known = get_args(Method)
    if unknown := [name for name in names or () if name not in known]:
        raise WrongUse(f"--method {unknown[0]}: not one of {', '.join(known)}")
    return [known[known.index(name)] for name in names or ()]


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table as Grid

    grid = Grid("feature", "type", "method", "score", "p", "drifted", "rows", "what is wrong")
    for each in found["features"]:
        grid.add_row(
            each["name"],
            each["type"],
            each["method"],
            "-" if each["score"] is None else f"{each['score']:.3f}",
            "-" if each["p_value"] is None else f"{each['p_value']:.2g}",
            "yes" if each["drifted"] else "",
            f"{each['n_reference']:,} / {each['n_current']:,}",
            "; ".join(each["faults"]),
        )
    return grid
