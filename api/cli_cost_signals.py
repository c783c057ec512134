"""`oppen costs anomalies | forecast`: what is unusual, what will have been spent, what of budgets is left; over REST."""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import typer

from api.cli_remote import URL, Key, Url, call
from api.terminal import JsonFlag, emit

_BAR = 40


class Period(StrEnum):
    DAY = "day"
    MONTH = "month"


def register(costs: typer.Typer) -> None:
    costs.command("anomalies")(anomalies)
    costs.command("forecast")(forecast)


def anomalies(url: Url = URL, key: Key = "", as_json: JsonFlag = False) -> None:
    """What was unusual in the last weeks, the latest first, and where it comes from."""
    found = call(url, key, "GET", "/v1/costs/anomalies")
    lines = []
    for each in found["items"]:
        standing = "goes on" if each["open"] else "is the new usual" if each["learnt"] else "over"
        lines.append(f"{_short(each['start'])}  {standing:16}  {each['summary']}")
        lines += [f"    {sentence}" for sentence in (each["origin"] or {}).get("sentences", ())]
    if not found["until"]:
        lines.append("Nothing is booked yet.")
    else:
        lines += [] if found["items"] else ["Nothing was unusual."]
        lines.append(f"{found['series']} series were judged, until {_short(found['until'])} UTC.")
    lines += [f"{_whose(each)}: {each['reason']}." for each in found["plainly"]]
    emit(found, as_json, "\n".join(lines))


def forecast(
    every: Annotated[Period, typer.Option(help="The day or the month of now, in UTC.")] = Period.MONTH,
    team: Annotated[str, typer.Option(help="Only what is this team's own.")] = "",
    model: Annotated[str, typer.Option(help="Only what is this model's own.")] = "",
    url: Url = URL,
    key: Key = "",
    as_json: JsonFlag = False,
) -> None:
    """What will have been spent by the end, with an interval, and what of the budgets is left."""
    asked = {"every": every.value, "team": team, "model": model}
    found = call(url, key, "GET", "/v1/costs/forecast", params={name: value for name, value in asked.items() if value})
    lines = [] if found["until"] else ["Nothing is booked yet."]
    for each in found["items"]:
        lines.append(f"{each['currency']}: {_cents(each['spent'])} spent until {_short(found['until'])} UTC")
        if each["expected"] is not None:
            told = f", {_cents(each['low'])} to {_cents(each['high'])} at {each['interval']:.0%}" if each["low"] else ""
            lines.append(f"  {_cents(each['expected'])} to be expected by {_short(found['end'])} UTC{told}")
        lines.append(f"  {each['reason']}")
    for each in found["budgets"]:
        full = min(_BAR, round(each["used"] * _BAR))
        lines.append(f"{'█' * full}{'░' * (_BAR - full)}  {each['standing']}: {each['summary']}")
    emit(found, as_json, "\n".join(lines))


def _whose(each: dict[str, Any]) -> str:
    return f"{each['dimension']} {each['name']}" if each["dimension"] else "everything"


def _cents(cost: str) -> str:
    return f"{Decimal(cost):,.2f}"


def _short(moment: str) -> str:
    return moment[:16].replace("T", " ")
