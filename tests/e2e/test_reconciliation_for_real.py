"""From the settings to the answer: a real service on its own ledger, beside a server that answers as OpenCost does."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from simulations.processes import free_port
from tests.e2e.test_costs_for_real import LIMIT_S, service
from tests.opencost import opencost
from tools.costs.allocations import IDLE
from tools.costs.clickhouse import ClickHouseLedger
from tools.costs.list_prices import LIST_PRICES
from tools.costs.port import Component, Owner, Usage
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.predictions.clickhouse import open_store
from tools.values import Window


async def book(home: Path, day: datetime, hours: dict[str, int]) -> None:
    """Of cores, by workload. Before the service: the embedded engine lets one process in."""
    store = open_store(f"chdb://{home / 'predictions'}")
    try:
        usages = [
            Usage(
                key=workload,
                resource=Resource.CPU,
                quantity=Decimal(3600 * each),
                window=Window(start=day, end=day + timedelta(hours=24)),
                owner=Owner(component=Component.TRAINING, part="CPU hours", workload=workload),
            )
            for workload, each in hours.items()
        ]
        await ClickHouseLedger(store.engine).book(usages, [line for each in usages for line in priced(each, LIST_PRICES)])
    finally:
        await store.close()


@pytest.mark.timeout(LIMIT_S)
async def test_a_ledger_is_held_against_what_opencost_says(tmp_path: Path) -> None:
    home, day = tmp_path / "home", datetime.combine(datetime.now(UTC).date(), time(), UTC) - timedelta(days=1)
    home.mkdir()
    await book(home, day, {"same": 100, "dearer": 100, "ours": 100, "gateway": 50})
    async with opencost() as (url, cluster):
        cluster.token = "a-token"
        for controller, cost in {"same": 3.2, "dearer": 4.0, "theirs": 1.0, "oppen": 1.58, IDLE: 2.5}.items():
            cluster.spent(day, controller, cost)
        environment = {
            "OPPEN_HOME": str(home),
            "OPPEN_PORT": str(free_port()),
            "OPPEN_OPENCOST_URL": url,
            "OPPEN_OPENCOST_TOKEN": "a-token",
            "OPPEN_OPENCOST_CONTROLLERS": '{"gateway": "oppen"}',
        }
        async with service(environment, tmp_path / "service.log") as (_, client):
            query = {"start": day.isoformat(), "end": (day + timedelta(days=1)).isoformat()}
            answer = await client.get("/v1/costs/reconciliation", params=query)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert {each["workload"]: each["standing"] for each in found["items"]} == {
        "same": "matched", "dearer": "differs", "ours": "missing_there", "theirs": "missing_here", "oppen": "matched",
    }  # fmt: skip
    assert (found["currency"], found["apart"][0]["idle"], Decimal(found["there"])) == ("USD", "2.5", Decimal("12.28"))
    assert Decimal(found["here"]) == 350 * Decimal("0.031611")
    assert "a-token" not in (tmp_path / "service.log").read_text()
