"""What it costs, over HTTP."""

import csv
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from api.terminal import Refused, WrongUse
from api.web.cost_bills import MOST_CELLS
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform
from tests.e2e.terminal import Terminal
from tests.twins.costs import TwinCosts
from tools.costs.list_prices import LIST_PRICES
from tools.costs.port import Amount, Component, Dimension, Owner, Usage
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.predictions.records import PredictionRecord
from tools.values import Window

HOUR = timedelta(hours=1)


async def book(platform: Platform, n: int, hours: float, *, ago: timedelta = 2 * HOUR, **owner: Any) -> None:
    """So many hours of a core."""
    costs = platform.services.costs
    assert isinstance(costs, TwinCosts)
    start = platform.clock.now() - ago
    usage = Usage(
        key=f"u{n}",
        resource=Resource.CPU,
        quantity=Decimal(round(hours * 3600)),
        window=Window(start=start, end=start + timedelta(minutes=30)),
        owner=Owner(**{"component": Component.SERVING, "part": "CPU serving", **owner}),
    )
    await costs.book([usage], priced(usage, LIST_PRICES))


async def costs(platform: Platform, **query: Any) -> dict[str, Any]:
    answer = await platform.viewer.get("/v1/costs", params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def leaves(entry: dict[str, Any], *path: str) -> dict[tuple[str, ...], str]:
    if not entry["parts"]:
        return {path: entry["exact"]}
    return {name: cost for part in entry["parts"] for name, cost in leaves(part, *path, part["name"]).items()}


def sums_up(entry: dict[str, Any]) -> bool:
    if not entry["parts"]:
        return True
    whole = all(sum(Decimal(part[kind]) for part in entry["parts"]) == Decimal(entry[kind]) for kind in ("cost", "exact"))
    return whole and all(map(sums_up, entry["parts"]))


async def test_a_bill_is_a_tree_whose_every_level_adds_up(platform: Platform) -> None:
    for n in range(7):
        await book(platform, n, n / 3, model=f"m{n % 3}", part=f"p{n % 2}", component=list(Component)[n % 3])
    found = await costs(platform, by=["component", "part", "model"])
    (bill,) = found["bills"]
    assert bill["currency"] == "USD"
    assert sums_up(bill["total"])
    # Money is text, and exact: 21 thirds of an hour.
    assert Decimal(bill["total"]["exact"]) == Decimal("0.031611") * 7
    assert bill["total"]["cost"] == "0.22"
    assert found["metered_until"] is not None
    assert (found["unpriced"], found["predictions"], bill["total"]["per_thousand"]) == ([], None, None)


async def test_nothing_booked_is_no_bill(platform: Platform) -> None:
    assert (await costs(platform))["bills"] == []


async def test_what_is_nobodys_is_shared_as_it_is_asked_for(platform: Platform) -> None:
    await book(platform, 1, 3, model="a")
    await book(platform, 2, 1, model="b")
    await book(platform, 3, 4, part="load balancer")
    shares = {
        rule: {path: Decimal(cost) / Decimal("0.031611") for path, cost in leaves(found["bills"][0]["total"]).items()}
        for rule in ("proportional", "even", "none")
        for found in [await costs(platform, by="model", share=rule)]
    }
    assert shares["proportional"] == {("a",): 6, ("b",): 2}
    assert shares["even"] == {("a",): 5, ("b",): 3}
    assert shares["none"] == {("a",): 3, ("b",): 1, ("",): 4}


async def test_over_time_the_steps_add_up_too(platform: Platform) -> None:
    await book(platform, 1, 1, ago=50 * HOUR)
    await book(platform, 2, 2, ago=26 * HOUR, component="training")
    await book(platform, 3, 0.1, ago=2 * HOUR)
    (bill,) = (await costs(platform, step="day"))["bills"]
    assert [step["start"] for step in bill["steps"]] == sorted(step["start"] for step in bill["steps"])
    assert sum(Decimal(step["cost"]) for step in bill["steps"]) == Decimal(bill["total"]["cost"])
    assert all(sum(Decimal(part["cost"]) for part in step["parts"]) == Decimal(step["cost"]) for step in bill["steps"])
    assert {part["name"] for step in bill["steps"] for part in step["parts"]} == {"serving", "training"}
    by_workload = (await costs(platform, step="hour", by="workload"))["bills"][0]
    assert len(by_workload["steps"]) == 3


async def test_filters_and_windows_narrow_it(platform: Platform) -> None:
    await book(platform, 1, 1, model="a", team="search")
    await book(platform, 2, 2, model="b", team="ads")
    await book(platform, 3, 4, model="a", team="search", ago=timedelta(days=20))
    only = (await costs(platform, model=["a"], by="team"))["bills"][0]["total"]
    assert leaves(only) == {("search",): "0.031611000000"}
    start = (platform.clock.now() - timedelta(days=30)).isoformat()
    longer = (await costs(platform, model="a", by="team", start=start))["bills"][0]["total"]
    assert Decimal(longer["exact"]) == 5 * Decimal("0.031611")


async def test_a_thousand_predictions_have_a_cost(platform: Platform) -> None:
    for n in range(4):
        at = round((platform.clock.now() - HOUR).timestamp() * 1_000_000)
        platform.predictions.add(
            [PredictionRecord(id=str(n), model="a", version=str(n % 2), at=at, entity="", latency_us=1, features={"x": 1.0})]
        )
    await book(platform, 1, 1, model="a", version="0")
    await book(platform, 2, 3, model="a", version="1")
    found = await costs(platform, by=["model", "version"], per="thousand_predictions")
    total = found["bills"][0]["total"]
    assert found["predictions"] == 4
    assert Decimal(total["per_thousand"]) == 1000 * Decimal("0.031611")
    versions = {part["name"]: Decimal(part["per_thousand"]) for part in total["parts"][0]["parts"]}
    assert versions == {"0": 500 * Decimal("0.031611"), "1": 1500 * Decimal("0.031611")}


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"by": "colour"}, "by[0]"),
        ({"by": ["model", "model"]}, "by"),
        ({"step": "year"}, "step"),
        ({"share": "fair"}, "share"),
        ({"per": "dozen"}, "per"),
        ({"per": "thousand_predictions", "team": "search"}, "per"),
        ({"component": "kitchen"}, "component[0]"),
        ({"colour": "blue"}, "colour"),
        ({"model": "a\0"}, "model"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-03-03T00:00:00Z", "end": "2026-03-02T00:00:00Z"}, "start"),
        ({"start": "2010-03-03T00:00:00Z"}, "start"),
        ({"end": "1000-01-01T00:00:00Z"}, "end"),
        ({"start": "2025-03-03T00:00:00Z", "step": "hour"}, "step"),
    ],
)
async def test_a_question_that_is_none_is_named(platform: Platform, query: dict[str, Any], named: str) -> None:
    assert fields(refused(await platform.viewer.get("/v1/costs", params=query), 422, "invalid")) == [named]


class Watched(tuple[Amount, ...]):
    """Cells that know which threads have looked at them."""

    def __iter__(self) -> Iterator[Amount]:
        self.__dict__.setdefault("threads", set()).add(threading.get_ident())
        return super().__iter__()


def cells(count: int, **at: str) -> list[Amount]:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    named = {Dimension.COMPONENT: "serving", Dimension.MODEL: "a"} | {Dimension(name): word for name, word in at.items()}
    return [Amount(start=start + n * HOUR, at=named, cost=Decimal("0.01"), currency="USD") for n in range(count)]


async def test_making_a_bill_keeps_nobody_else_waiting(platform: Platform) -> None:
    amounts = Watched(cells(50))
    assert isinstance(platform.services.costs, TwinCosts)
    platform.services.costs.say(amounts)
    found = await costs(platform, by="model", step="hour")
    assert (found["bills"][0]["total"]["cost"], len(found["bills"][0]["steps"])) == ("0.50", 50)
    assert amounts.__dict__["threads"].isdisjoint({threading.get_ident()})


async def test_more_cells_than_make_a_table_are_refused_with_what_to_do(platform: Platform) -> None:
    assert isinstance(platform.services.costs, TwinCosts)
    platform.services.costs.say(tuple(cells(MOST_CELLS + 1)))
    problem = refused(await platform.viewer.get("/v1/costs", params={"by": "model", "step": "hour"}), 422, "invalid")
    assert fields(problem) == ["by"]
    assert problem["errors"][0]["detail"].startswith("40,001 cells, and at most 40,000; ask for fewer dimensions")
    # Few in the ledger, and many when each of two hundred models gets its part of each of three hundred workloads.
    nobodys = [each for n in range(300) for each in cells(1, model="", workload=f"w{n}")]
    platform.services.costs.say((*nobodys, *(each for n in range(200) for each in cells(1, model=f"m{n}", workload="own"))))
    query = {"by": ["workload", "model"], "share": "even"}
    problem = refused(await platform.viewer.get("/v1/costs", params=query), 422, "invalid")
    assert problem["errors"][0]["detail"].startswith("more than 40,000 cells; ask for fewer dimensions")


async def test_a_ledger_that_is_down_is_said(platform: Platform) -> None:
    assert isinstance(platform.services.costs, TwinCosts)
    platform.services.costs.go_down()
    refused(await platform.viewer.get("/v1/costs"), 503, "unavailable")


async def test_the_command_shows_the_tree_and_the_plot(platform: Platform) -> None:
    await book(platform, 1, 100, ago=26 * HOUR, model="a", version="1", component="training", part="GPU hours")
    await book(platform, 2, 50, model="a", version="1")
    await book(platform, 3, 50, part="load balancer")
    terminal = Terminal(platform, "viewer")
    shown = (await terminal.run("costs", "--step", "day")).stdout
    lines = {line.strip().split("  ")[0]: line.split() for line in shown.splitlines() if line.strip()}
    assert lines["total"][1:4] == ["6.32", "6.3222", "100.0%"]
    assert lines["GPU hours"][-4:-1] == ["3.16", "3.1611", "50.0%"]
    assert {"serving", "training", "CPU serving", "load balancer"} <= lines.keys()
    assert shown.count("█") >= 40
    assert "2026-03-01" in shown
    assert "Prices: list-like defaults." in shown
    assert "Metered until 2026-03-02 09:00 UTC." in shown
    by_model = await terminal.json("costs", "--by", "model", "--component", "serving", "--share", "even")
    assert [(part["name"], part["cost"]) for part in by_model["bills"][0]["total"]["parts"]] == [("a", "3.16")]


async def test_a_day_is_a_moment_of_the_command_and_a_name_is_no_markup(platform: Platform) -> None:
    await book(platform, 1, 1, model="[red]a", ago=26 * HOUR)
    terminal = Terminal(platform, "viewer")
    day = await terminal.json("costs", "--from", "2026-03-01", "--to", "2026-03-02")
    assert (day["start"], day["end"]) == ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    assert Decimal(day["bills"][0]["total"]["exact"]) == Decimal("0.031611")
    assert "[red]a" in (await terminal.run("costs", "--by", "model")).stdout
    none = (await terminal.run("costs", "--from", "2026-02-01", "--to", "2026-02-02")).stdout
    assert "nothing was booked from 2026-02-01 00:00 to 2026-02-02 00:00 UTC" in none
    wrong = await terminal.run("costs", "--from", "yesterday")
    assert isinstance(wrong.exception, WrongUse)
    assert "--from" in str(wrong.exception)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
async def test_every_charge_is_exported_for_finance_tools(platform: Platform, tmp_path: Path, kind: str) -> None:
    for n in range(3):
        await book(platform, n, n + 1, model="a")
    await book(platform, 4, 1, ago=timedelta(days=30))
    answer = await platform.viewer.get("/v1/costs/export", params={"format": kind})
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].endswith(f'.{kind}"')
    file = tmp_path / f"costs.{kind}"
    told = await Terminal(platform, "viewer").json("costs", "export", str(file))
    assert file.read_bytes() == answer.content
    assert told == {"file": str(file), "bytes": len(answer.content)}
    if kind == "csv":
        billed = [Decimal(row["BilledCost"]) for row in csv.DictReader(answer.text.splitlines())]
    else:
        billed = pyarrow.parquet.read_table(file)["BilledCost"].to_pylist()
    assert sum(billed) == 6 * Decimal("0.031611")
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


async def test_an_export_that_cannot_be_made_is_said_before_there_is_a_file(platform: Platform, tmp_path: Path) -> None:
    bad = {"format": "xlsx"}
    assert fields(refused(await platform.viewer.get("/v1/costs/export", params=bad), 422, "invalid")) == ["format"]
    assert isinstance(platform.services.costs, TwinCosts)
    platform.services.costs.go_down()
    refused(await platform.viewer.get("/v1/costs/export"), 503, "unavailable")
    file = tmp_path / "costs.csv"
    assert isinstance((await Terminal(platform, "viewer").run("costs", "export", str(file))).exception, Refused)
    assert isinstance((await Terminal(platform, "viewer").run("costs", "export", "costs.xlsx")).exception, WrongUse)
    assert list(tmp_path.glob("*costs*")) == []
