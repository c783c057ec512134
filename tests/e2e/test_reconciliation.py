"""Our bill beside OpenCost's, over HTTP; OpenCost is a server on loopback that answers as it does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from agents.cost.reconciling import Reconciliation
from agents.cost.rules import CostSignals
from agents.policies import Policies
from api import doctor
from api.settings import Settings, WrongSettings, read
from api.store.database import Database
from api.terminal import Refused, WrongUse
from api.web.services import Auditor
from simulations.processes import free_port
from tests.e2e.bodies import fields, refused
from tests.e2e.running import Platform, running
from tests.e2e.terminal import Terminal
from tests.opencost import Cluster, opencost
from tests.twins.clock import SteppedClock
from tests.twins.costs import TwinCosts
from tools.costs.allocations import IDLE, UNALLOCATED
from tools.costs.opencost import OpenCost
from tools.costs.port import Component, Owner, Usage
from tools.costs.prices import PriceBook
from tools.costs.pricing import priced
from tools.costs.units import Resource
from tools.values import Window

DAY = datetime(2026, 3, 1, tzinfo=UTC)
"""The last whole one of the stepped clock."""
PATH = "/v1/costs/reconciliation"


@dataclass(frozen=True)
class Beside:
    platform: Platform
    cluster: Cluster

    async def book(self, workload: str, cost: str, *, day: datetime = DAY, currency: str = "USD") -> None:
        """A core costs one an hour here."""
        costs = self.platform.services.costs
        assert isinstance(costs, TwinCosts)
        usage = Usage(
            key=f"{workload} {day} {currency}",
            resource=Resource.CPU,
            quantity=Decimal(cost) * 3600,
            window=Window(start=day + timedelta(hours=9), end=day + timedelta(hours=10)),
            owner=Owner(component=Component.TRAINING, part="CPU hours", workload=workload),
        )
        one = {"resource": "cpu", "unit": "core-hour", "price": "1", "from": "2025-01-01T00:00:00Z"}
        book = PriceBook.model_validate({"currency": currency, "prices": [one]})
        await costs.book([usage], priced(usage, book))

    async def found(self, **query: Any) -> dict[str, Any]:
        answer = await self.platform.viewer.get(PATH, params=query)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def standings(found: dict[str, Any]) -> dict[str, str]:
    return {each["workload"]: each["standing"] for each in found["items"]}


@asynccontextmanager
async def held_beside(database: Database, clock: SteppedClock, **changes: Any) -> AsyncIterator[Beside]:
    async with opencost() as (url, cluster):
        reader = OpenCost(url)
        names = {"gateway": "oppen", "gateway (idle)": "oppen"}
        async with running(database, clock, auditor=Auditor(reader, "USD", names), **changes) as platform:
            yield Beside(platform, cluster)
        await reader.close()


@pytest.fixture
async def beside(database: Database, clock: SteppedClock) -> AsyncIterator[Beside]:
    async with held_beside(database, clock) as up:
        yield up


@pytest.fixture
async def compared(beside: Beside) -> Beside:
    for workload, cost in {"same": "10", "dearer": "10", "ours": "2", "gateway": "3", "gateway (idle)": "4", "": "0.5"}.items():
        await beside.book(workload, cost)
    for controller, cost in {
        "same": 10.9, "dearer": 12.5, "theirs": 0.75, "oppen": 7.2, IDLE: 9.87654, UNALLOCATED: 0.25,
    }.items():  # fmt: skip
        beside.cluster.spent(DAY, controller, cost)
    return beside


async def test_each_workload_of_each_day_is_told_with_its_standing(compared: Beside) -> None:
    found = await compared.found()
    assert standings(found) == {
        "dearer": "differs", "ours": "missing_there", "same": "matched", "theirs": "missing_here", "oppen": "matched",
    }  # fmt: skip
    assert found["counts"] == {"matched": 2, "differs": 1, "missing_here": 1, "missing_there": 1}
    # The greatest difference first. Money is text, and exact.
    assert [each["workload"] for each in found["items"]] == ["dearer", "ours", "same", "theirs", "oppen"]
    dearest = found["items"][0]
    assert (dearest["day"], Decimal(dearest["here"]), dearest["there"]) == ("2026-03-01", 10, "12.5")
    assert Decimal(dearest["difference"]) == Decimal("2.5")
    (apart,) = found["apart"]
    assert (apart["day"], apart["idle"], apart["unowned_there"]) == ("2026-03-01", "9.87654", "0.25")
    assert Decimal(apart["unowned_here"]) == Decimal("0.5")
    # Nothing is lost on either side.
    assert (Decimal(found["here"]), Decimal(found["there"])) == (Decimal("29.5"), Decimal("41.47654"))
    assert (found["start"], found["end"]) == ("2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z")
    assert (found["currency"], found["left_out"], found["uncompared"], found["metered_until"] is not None) == (
        "USD",
        0,
        [],
        True,
    )
    (asked,) = compared.cluster.asked
    assert (asked["window"], asked["aggregate"]) == ("2026-02-23T00:00:00Z,2026-03-02T00:00:00Z", "namespace,controller")


async def test_days_standings_and_namespaces_narrow_it(compared: Beside) -> None:
    await compared.book("older", "5", day=DAY - timedelta(days=1))
    compared.cluster.spent(DAY, "kube-proxy", 3.0, namespace="kube-system")
    assert set(standings(await compared.found())) >= {"older", "kube-proxy"}
    day = await compared.found(start=DAY.isoformat(), end="2026-03-02T01:00:00+01:00")
    assert "older" not in standings(day)
    of_models = await compared.found(namespace="models", standing=["missing_here", "missing_there"])
    assert standings(of_models) == {"older": "missing_there", "ours": "missing_there", "theirs": "missing_here"}
    # What is of no namespace stays, and so does the count of what is not shown.
    assert (of_models["apart"][0]["idle"], of_models["counts"]["matched"]) == ("9.87654", 2)
    first = await compared.found(limit=1)
    assert (list(standings(first)), first["left_out"]) == (["older"], 6)


async def test_what_is_put_up_with_is_policy(database: Database, clock: SteppedClock) -> None:
    strict = Policies(cost=CostSignals(reconciliation=Reconciliation(tolerance=0.0, least=Decimal(0))))
    async with held_beside(database, clock, policies=lambda: strict) as beside:
        await beside.book("same", "10")
        beside.cluster.spent(DAY, "same", 10.01)
        found = await beside.found()
    assert (found["counts"]["differs"], found["tolerance"], found["least"]) == (1, 0.0, "0")


async def test_two_currencies_are_never_compared(beside: Beside) -> None:
    await beside.book("same", "10")
    await beside.book("same", "7", currency="EUR")
    beside.cluster.spent(DAY, "same", 10.0)
    found = await beside.found()
    assert (found["counts"]["matched"], Decimal(found["here"])) == (1, 10)
    assert [(each["currency"], Decimal(each["cost"])) for each in found["uncompared"]] == [("EUR", 7)]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-02-28T06:00:00Z"}, "start"),
        ({"start": "2026-03-01T00:00:00+01:00"}, "start"),
        ({"end": "2026-03-03T00:00:00Z"}, "end"),
        ({"start": "2026-03-01T00:00:00Z", "end": "2026-03-01T00:00:00Z"}, "start"),
        ({"start": "2026-01-01T00:00:00Z"}, "start"),
        ({"end": "0001-01-01T00:00:00+14:00"}, "end"),
        ({"start": "9999-12-31T23:59:59-14:00"}, "start"),
        ({"standing": "odd"}, "standing[0]"),
        ({"namespace": "a\0"}, "namespace"),
        ({"limit": 0}, "limit"),
        ({"colour": "blue"}, "colour"),
    ],
)
async def test_a_question_that_is_none_is_named_and_not_passed_on(beside: Beside, query: dict[str, Any], named: str) -> None:
    assert fields(refused(await beside.platform.viewer.get(PATH, params=query), 422, "invalid")) == [named]
    assert beside.cluster.asked == []


async def test_without_an_opencost_it_says_which_setting(platform: Platform) -> None:
    assert "OPPEN_OPENCOST_URL" in refused(await platform.viewer.get(PATH), 404, "not-found")["detail"]
    done = await Terminal(platform, "viewer").run("costs", "reconcile")
    assert isinstance(done.exception, Refused)
    assert "OPPEN_OPENCOST_URL" in str(done.exception)


async def test_an_opencost_that_fails_is_said_with_its_reason(beside: Beside) -> None:
    beside.cluster.failure = (500, "error querying Prometheus")
    answer = await beside.platform.viewer.get(PATH)
    assert "500: error querying Prometheus" in refused(answer, 503, "unavailable")["detail"]
    assert answer.headers["retry-after"] == "30"
    beside.cluster.failure, beside.cluster.token = None, "another one"
    answer = await beside.platform.viewer.get(PATH)
    # To ask again would not help.
    assert "401: no token" in refused(answer, 503, "unavailable")["detail"]
    assert "retry-after" not in answer.headers


async def test_an_opencost_that_is_not_there_is_said_without_its_password(database: Database, clock: SteppedClock) -> None:
    reader = OpenCost(f"http://user:hidden@127.0.0.1:{free_port()}")
    async with running(database, clock, auditor=Auditor(reader, "USD", {})) as platform:
        detail = refused(await platform.viewer.get(PATH), 503, "unavailable")["detail"]
    await reader.close()
    assert ("does not answer" in detail, "hidden" in detail) == (True, False)


async def test_a_ledger_that_is_down_is_said(beside: Beside) -> None:
    assert isinstance(beside.platform.services.costs, TwinCosts)
    beside.platform.services.costs.go_down()
    refused(await beside.platform.viewer.get(PATH), 503, "unavailable")
    assert beside.cluster.asked == []


async def test_a_stranger_is_told_nothing(beside: Beside) -> None:
    refused(await beside.platform.anybody.get(PATH), 401, "unauthenticated")


async def test_the_command_shows_a_table_and_what_is_apart(compared: Beside) -> None:
    compared.cluster.spent(DAY, "[red]odd", 5.0)
    terminal = Terminal(compared.platform, "viewer")
    shown = (await terminal.run("costs", "reconcile", "--from", "2026-03-01", "--to", "2026-03-02")).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "from 2026-03-01 to 2026-03-02 UTC, in USD" in lines
    assert "2026-03-01 [red]odd missing here 0.00 5.00 +5.00" in lines
    assert "2026-03-01 ours missing there 2.00 0.00 -2.00" in lines
    assert "2026-03-01 dearer differs 10.00 12.50 +2.50" in lines
    assert "Workloads by day: 2 matched, 1 differs, 2 missing here, 1 missing there." in lines
    assert "Compared with nothing: USD 9.88 idle, as OpenCost says." in lines
    told = await terminal.json("costs", "reconcile", "--only", "differs", "--namespace", "models")
    assert standings(told) == {"dearer": "differs"}
    wrong = await terminal.run("costs", "reconcile", "--to", "tomorrow")
    assert isinstance(wrong.exception, WrongUse)
    assert "--to" in str(wrong.exception)


async def test_the_doctor_asks_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert "none (OPPEN_OPENCOST_URL)" in await doctor._opencost(Settings(home=tmp_path))
    monkeypatch.setenv("OPPEN_HOME", str(tmp_path))
    monkeypatch.setenv("OPPEN_OPENCOST_TOKEN", "secret\n")
    async with opencost() as (url, cluster):
        monkeypatch.setenv("OPPEN_OPENCOST_URL", url)
        cluster.token = "secret"
        (found,) = [each for each in await doctor.examine() if each.name == "OpenCost"]
        assert (found.ok, found.detail) == (True, "127.0.0.1 answers, reckoning in USD")
        cluster.token = "another one"
        (found,) = [each for each in await doctor.examine() if each.name == "OpenCost"]
    assert (found.ok, found.needed, "secret" in found.detail) == (False, False, False)
    assert "401: no token" in found.detail
    assert "OPPEN_OPENCOST_TOKEN" in found.detail


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPPEN_OPENCOST_URL", "ftp://user:hidden@opencost"),
        ("OPPEN_OPENCOST_URL", "http://user:hidden@host:port"),
        ("OPPEN_OPENCOST_TOKEN", "hid\nhidden"),
        ("OPPEN_OPENCOST_CURRENCY", "dollars"),
    ],
)
def test_a_setting_that_is_none_is_named_and_not_repeated(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(WrongSettings) as wrong:
        read()
    assert ([each for each, _ in wrong.value.faults], "hidden" in str(wrong.value)) == ([variable], False)


def test_an_empty_setting_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPPEN_OPENCOST_URL", "")
    monkeypatch.setenv("OPPEN_OPENCOST_TOKEN", "")
    assert (read().opencost_url, read().opencost_token) == (None, None)
