"""The commands about what is done to save money. All over the REST API."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from api.cli_remote import URL, Key, Url, call
from api.terminal import JsonFlag, emit

optimizations = typer.Typer(no_args_is_help=True, help="What is done to save money, and what the ledger shows of it.")


@optimizations.command("list")
def list_optimizations(
    model: Annotated[str, typer.Option(help="Only those of this model.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """Newest first."""
    asked = f"?model={quote(model, safe='')}" if model else ""
    found = call(url, key, "GET", f"/v1/optimizations{asked}")
    emit(found, as_json, "\n".join(map(_line, found["items"])) or "nothing was done to save money yet")


@optimizations.command("show")
def show_optimization(optimization: str, url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """What was expected, what the experiment said, and what the ledger shows."""
    found = call(url, key, "GET", f"/v1/optimizations/{quote(optimization, safe='')}")
    trial, roi = found["trial"], found["roi"]
    lines = [_line(found), found["what"], f"expected: {_range(found['expected'])} per day"]
    if trial is not None:
        cost = f" (it cost {trial['currency']} {trial['cost']})" if trial["cost"] is not None else ""
        lines.append(f"experiment {trial['job']}{cost}: {trial['reason']}")
    for name, shown in (("the ledger", found["saved"]), ("processor time freed", found["freed"])):
        if shown is not None:
            value = f"{shown['currency']} {float(shown['value']):,.2f} {_per(shown)}, {_range(shown)}"
            hours = f"{shown['hours_before']} hours before, {shown['hours_after']} since"
            lines.append(f"{name}: {shown['claim'].replace('_', ' ')}, {value} ({hours})")
    if roi is not None:
        back = f"earned back in {roi['payback_days']} days" if roi["payback_days"] is not None else "never earned back"
        lines.append(f"return: {back}")
    lines.append(f"incident: {found['incident_id']}")
    emit(found, as_json, "\n".join(lines))


def _line(each: dict[str, Any]) -> str:
    saved, freed = each["saved"], each["freed"]
    shown = f", {_claimed(saved)}" if saved is not None else ""
    if freed is not None and freed["claim"] == "holds":
        shown += f", frees processor time worth {_amount(freed)}"
    return f"{each['id']}  {each['status']:<12}  {each['model']}  {each['kind']}{shown}"


def _claimed(saved: dict[str, Any]) -> str:
    """What is not shown is no saving, whatever its middle is."""
    match saved["claim"]:
        case "holds":
            return f"saves {_amount(saved)}"
        case "worse":
            return f"costs {_amount({**saved, 'value': abs(float(saved['value']))})} more"
        case _:
            return "saving not shown"


def _amount(saved: dict[str, Any]) -> str:
    return f"{saved['currency']} {float(saved['value']):,.2f} {_per(saved)}"


def _per(saved: dict[str, Any]) -> str:
    return "a day" if saved["per"] == "day" else "in total"


def _range(saving: dict[str, Any]) -> str:
    return f"{saving['currency']} {float(saving['low']):,.2f} to {float(saving['high']):,.2f}"
