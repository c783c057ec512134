"""`oppen costs reconcile`: our bill beside OpenCost's, over REST."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli_remote import URL, Key, Url, call
from api.moments import moment
from api.terminal import JsonFlag, emit, show

_SAID = {"matched": "matched", "differs": "differs", "missing_here": "missing here", "missing_there": "missing there"}


class Only(StrEnum):
    MATCHED = "matched"
    DIFFERS = "differs"
    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"


def register(costs: typer.Typer) -> None:
    costs.command("reconcile")(reconcile_costs)


def reconcile_costs(
    start: Annotated[str, typer.Option("--from", help="A day, in UTC; default: seven days before the end.")] = "",
    end: Annotated[
        str, typer.Option("--to", help="The first day that is not in it any more; default: today, which is not over.")
    ] = "",
    only: Annotated[list[Only] | None, typer.Option(help="Only what stands like this; repeat it for more.")] = None,
    namespace: Annotated[list[str] | None, typer.Option(help="Of the cluster; repeat it for more. Default: all.")] = None,
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Our bill beside OpenCost's, by workload and day, the greatest difference first."""
    asked = {
        "start": moment(start, "--from"),
        "end": moment(end, "--to"),
        "standing": [each.value for each in only or ()],
        "namespace": namespace,
    }
    query = {name: value for name, value in asked.items() if value}
    found = call(url, key, "GET", "/v1/costs/reconciliation", params=query)
    if as_json:
        emit(found, as_json, "")
        return
    if found["items"]:
        show(_table(found), whole=True)
    emit(found, as_json, "\n".join(_notes(found)))


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    title = f"from {found['start'][:10]} to {found['end'][:10]} UTC, in {found['currency']}"
    table = Table(box=None, title=title, title_justify="left", pad_edge=False)
    for column in ("day", "workload", "standing"):
        table.add_column(column)
    for column in ("here", "OpenCost", "difference"):
        table.add_column(column, justify="right")
    for each in found["items"]:
        costs = (_cents(each["here"]), _cents(each["there"]), f"{Decimal(each['difference']):+,.2f}")
        # A name comes from outside: it is text, and no markup.
        table.add_row(each["day"], Text(each["workload"]), _SAID[each["standing"]], *costs)
    return table


def _notes(found: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{found['counts'][standing]} {said}" for standing, said in _SAID.items())
    currency = found["currency"]
    lines = [
        f"Workloads by day: {counts}.",
        f"In all: {currency} {_cents(found['here'])} here, {_cents(found['there'])} as OpenCost says.",
    ]
    if found["left_out"]:
        lines.append(f"{found['left_out']:,} more, which differ by less, are not shown: ask for fewer days, or with --only.")
    for name, said in (
        ("idle", "idle, as OpenCost says"),
        ("unowned_here", "booked here for no workload in particular"),
        ("unowned_there", "of no controller there"),
    ):
        if cost := sum((Decimal(day[name]) for day in found["apart"]), Decimal(0)):
            lines.append(f"Compared with nothing: {currency} {cost:,.2f} {said}.")
    lines += [
        f"Not compared, being in another currency: {each['currency']} {_cents(each['cost'])}." for each in found["uncompared"]
    ]
    until = found["metered_until"]
    if not until:
        lines.append("The meters have not been read since the service was started: the last day may not be whole here.")
    elif until < found["end"]:
        lines.append(f"Metered until {until[:16].replace('T', ' ')} UTC: what came later is missing here.")
    return lines


def _cents(cost: str) -> str:
    return f"{Decimal(cost):,.2f}"
