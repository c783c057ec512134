"""`oppen costs`: what it all costs, as a table whose levels add up, and over time as a plot. Over the REST API."""

from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from agents.cost.sharing import Rule
from api import cli_cost_signals, cli_reconciliation
from api.cli_remote import URL, Key, Url, call, download
from api.moments import moment
from api.terminal import JsonFlag, WrongUse, emit, show
from tools.costs.port import Dimension, Step

costs = typer.Typer(invoke_without_command=True, help="What it all costs, by whom and by what.")
cli_cost_signals.register(costs)
cli_reconciliation.register(costs)

_EIGHTHS = " ▏▎▍▌▋▊▉"
_WIDTH = 40
_NOBODY = "(nobody's in particular)"


class Sharing(StrEnum):
    PROPORTIONAL = "proportional"
    EVEN = "even"
    NONE = "none"

    @property
    def rule(self) -> Rule:
        return self.value


@costs.callback()
def show_costs(
    context: typer.Context,
    by: Annotated[
        list[Dimension] | None, typer.Option(help="The outermost first; repeat it. Default: component, then part.")
    ] = None,
    step: Annotated[Step | None, typer.Option(help="Also over time, in UTC.")] = None,
    start: Annotated[
        str,
        typer.Option("--from", help="A day, which begins at midnight UTC, or RFC 3339; default: seven days before the end."),
    ] = "",
    end: Annotated[str, typer.Option("--to", help="The first moment that is not in it any more; default: now.")] = "",
    share: Annotated[
        Sharing, typer.Option(help="How what is nobody's is shared out among the models, versions, teams asked for.")
    ] = Sharing.PROPORTIONAL,
    model: Annotated[list[str] | None, typer.Option(help="Only of this one; repeat it for more.")] = None,
    version: Annotated[list[str] | None, typer.Option(help="The same.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="The same.")] = None,
    component: Annotated[list[str] | None, typer.Option(help="The same: training, serving, monitoring.")] = None,
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """A table of the parts, each level adding up to the cent; with --step a plot over time."""
    if context.invoked_subcommand is not None:
        return
    asked = {
        "by": [each.value for each in by or ()],
        "step": step.value if step is not None else None,
        "start": moment(start, "--from"),
        "end": moment(end, "--to"),
        "share": share.rule,
        "per": None if team else "thousand_predictions",  # predictions are known by model and version
        "model": model,
        "version": version,
        "team": team,
        "component": component,
    }
    found = call(url, key, "GET", "/v1/costs", params={name: value for name, value in asked.items() if value})
    if as_json:
        emit(found, as_json, "")
        return
    for bill in found["bills"]:
        show(_table(found, bill), whole=True)
        if bill["steps"]:
            emit(found, as_json, "\n".join(_plot(bill["steps"], found["step"], bill["currency"])))
    emit(found, as_json, "\n".join(_notes(found)))


@costs.command("export")
def export_costs(
    file: Annotated[Path, typer.Argument(help="To be written: .csv or .parquet.")],
    start: Annotated[str, typer.Option("--from", help="As of `oppen costs`.")] = "",
    end: Annotated[str, typer.Option("--to", help="The first moment that is not in it any more; default: now.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Every charge, in the columns of FOCUS 1.2, for finance tools. The file is there whole or not at all."""
    if (kind := file.suffix.removeprefix(".")) not in ("csv", "parquet"):
        raise WrongUse(f"{file.name}: name it .csv or .parquet")
    asked = {"start": moment(start, "--from"), "end": moment(end, "--to"), "format": kind}
    query = {name: value for name, value in asked.items() if value}
    size = download(url, key, "/v1/costs/export", query, file)
    emit({"file": str(file), "bytes": size}, as_json, f"{file}: {size:,} bytes")


def _table(found: dict[str, Any], bill: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, title=f"{_when(found)}, in {bill['currency']}", title_justify="left", pad_edge=False)
    table.add_column(", ".join(found["by"]))
    for column in ("cost", "exactly", "share", *(["1,000 predictions"] if found["predictions"] is not None else [])):
        table.add_column(column, justify="right")
    whole = Decimal(bill["total"]["exact"])

    def add(entry: dict[str, Any], depth: int) -> None:
        exact = Decimal(entry["exact"])
        name = "total" if not depth else entry["name"] or _NOBODY
        share = f"{exact / whole:.1%}" if whole else "-"
        cells = [entry["cost"], f"{exact.normalize():f}", share, entry["per_thousand"] or "-"]
        # A name comes from outside: it is text, and no markup.
        table.add_row(Text("  " * depth + name, style="" if depth else "bold"), *cells[: len(table.columns) - 1])
        for part in entry["parts"]:
            add(part, depth + 1)

    add(bill["total"], 0)
    return table


def _plot(steps: list[dict[str, Any]], step: str, currency: str) -> list[str]:
    """A bar for each step, of blocks: a terminal has no finer ones than eighths."""
    most = max((Decimal(each["exact"]) for each in steps), default=Decimal(0))
    lines = ["", f"by {step}, {currency}"]
    for each in steps:
        cost = Decimal(each["exact"])
        eighths = int(cost / most * _WIDTH * 8) if most > 0 and cost > 0 else 0
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        start = each["start"][: 10 if step != "hour" else 16].replace("T", " ")
        lines.append(f"{start}  {bar:<{_WIDTH}}  {each['cost'] if cost >= 1 else f'{cost:.6f}'}")
    return lines


def _notes(found: dict[str, Any]) -> list[str]:
    lines = [] if found["bills"] else [f"nothing was booked {_when(found)}"]
    until = found["metered_until"]
    lines.append(
        f"Metered until {_short(until)} UTC." if until else "Not all meters have been read since the service was started."
    )
    if found["unread"]:
        lines.append(f"Not read at the latest try, and missing since: {', '.join(found['unread'])}.")
    lines.append(f"Prices: {found['prices']}.")
    if found["unpriced"]:
        lines.append(f"Missing, because the book has no price of it: {', '.join(found['unpriced'])}.")
    return lines


def _when(found: dict[str, Any]) -> str:
    return f"from {_short(found['start'])} to {_short(found['end'])} UTC"


def _short(moment_: str) -> str:
    return moment_[:16].replace("T", " ")
