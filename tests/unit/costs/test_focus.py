"""FOCUS files are read back by others' readers, and add up to the bill."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet
import pytest

from tests.twins.costs import TwinCosts
from tools.costs.apportioning import total
from tools.costs.focus import COLUMNS, Biller, Format, export, stream
from tools.costs.port import Component, Dimension, Owner, Pricing, Question, Usage
from tools.costs.prices import PriceBook
from tools.costs.pricing import priced
from tools.costs.units import METERED, Resource, multiples
from tools.errors import TemporaryError
from tools.values import Window

START = datetime(2026, 2, 27, 22, 30, tzinfo=UTC)
WINDOW = Window(start=datetime(2026, 2, 1, tzinfo=UTC), end=datetime(2026, 4, 1, tzinfo=UTC))
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
BOOK = PriceBook.model_validate(
    {
        "currency": "USD",
        "prices": [
            {"resource": resource, "unit": unit, "price": "0.0316", "from": "2026-01-01T00:00:00Z"}
            for resource in Resource
            for unit in multiples(resource)[-1:]
        ]
        + [{"resource": "cpu", "pricing": "spot", "unit": "core-hour", "price": "0.011", "from": "2026-01-01T00:00:00Z"}],
    }
)


def usage(name: str, resource: Resource = Resource.CPU, hours: int = 1, quantity: str = "3600", **more: object) -> Usage:
    return Usage.model_validate(
        {
            "key": name,
            "resource": resource,
            "quantity": quantity,
            "window": Window(start=START, end=START + timedelta(hours=hours)),
            "owner": Owner(component=Component.TRAINING, workload="job", model='a "model", comma\nline', team="=ops"),
            **more,
        }
    )


async def ledger(*usages: Usage) -> TwinCosts:
    costs = TwinCosts()
    for each in usages:
        await costs.book([each], priced(each, BOOK))
    return costs


async def everything() -> TwinCosts:
    """Some of each resource, over the end of a month, spot, and corrected."""
    return await ledger(
        *(usage(f"{resource}/1", resource, 40, "123456789.987654321") for resource in Resource),
        usage("spot", pricing=Pricing.SPOT, owner=Owner(component=Component.SERVING)),
        usage("late", hours=60, quantity="7200"),
        usage("late", hours=50, quantity="3600", revision=1),
    )


async def written(costs: TwinCosts, kind: Format, biller: Biller | None = None, page: int = 100) -> list[dict[str, object]]:
    content = b"".join([part async for part in stream(costs, WINDOW, kind, biller, page=page)])
    if kind == "parquet":
        return pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()  # type: ignore[no-any-return]
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))  # type: ignore[arg-type]


def column(rows: Sequence[dict[str, object]], name: str) -> list[Decimal]:
    return [Decimal(str(row[name])) for row in rows]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("page", [31, 10_000])
async def test_what_is_read_back_adds_up_to_the_bill(kind: Format, page: int) -> None:
    costs = await everything()
    rows = await written(costs, kind, page=page)
    by_resource = await costs.breakdown(Question(window=WINDOW, by=(Dimension.RESOURCE,)))
    for name in ("BilledCost", "EffectiveCost", "ContractedCost", "ListCost"):
        assert total(column(rows, name)) == total(each.cost for each in by_resource)
    for each in by_resource:
        own = [row for row in rows if str(row["SkuId"]).partition("/")[0] == each.at[Dimension.RESOURCE]]
        assert total(column(own, "BilledCost")) == each.cost
        assert total(column(own, "ConsumedQuantity")) == each.quantity


async def test_both_formats_say_the_same() -> None:
    costs = await everything()
    parquet, text = await written(costs, "parquet"), await written(costs, "csv")
    assert [[*row] for row in parquet] == [[*row] for row in text] == [[*COLUMNS]] * len(text)
    for one, other in zip(parquet, text, strict=True):
        for name, value in one.items():
            if isinstance(value, Decimal):
                assert Decimal(str(other[name])) == value
            elif isinstance(value, datetime):
                assert datetime.fromisoformat(str(other[name])) == value
            else:
                assert other[name] == (value or "")


async def test_money_is_decimal_and_times_are_utc_in_parquet() -> None:
    content = b"".join([part async for part in stream(await everything(), WINDOW, "parquet")])
    read = pyarrow.parquet.read_schema(io.BytesIO(content))
    assert str(read.field("BilledCost").type) == "decimal128(38, 12)"
    assert str(read.field("ConsumedQuantity").type) == "decimal128(38, 9)"
    assert str(read.field("ChargePeriodStart").type) == "timestamp[us, tz=UTC]"
    assert read.metadata[b"focus_version"] == b"1.2"


async def test_a_charge_says_what_focus_wants() -> None:
    costs = await ledger(usage("a", Resource.STORAGE, quantity=str(2**30 * 3600), sku="ssd"))
    first, second = await written(costs, "parquet")
    assert (
        first
        | {
            "BillingAccountId": "oppen",
            "BillingCurrency": "USD",
            "BillingPeriodStart": datetime(2026, 2, 1, tzinfo=UTC),
            "BillingPeriodEnd": MARCH,
            "ChargeCategory": "Usage",
            "ChargeClass": None,
            "ChargeDescription": "storage/ssd for job, 0.0316 USD per GiB-month",
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": START,
            "ChargePeriodEnd": START + timedelta(minutes=30),
            "ConsumedQuantity": Decimal(2**29 * 3600),
            "ConsumedUnit": "B-Seconds",
            "PricingQuantity": Decimal("0.000684931506849315"),
            "PricingUnit": "GiB-Months",
            "PricingCategory": "Standard",
            "ListUnitPrice": Decimal("0.0316"),
            "ProviderName": "OPPEN",
            "ResourceId": "job",
            "ResourceType": "storage",
            "ServiceCategory": "Storage",
            "ServiceName": "Model training",
            "SkuId": "storage/ssd",
            "SkuPriceId": "storage/ssd/standard/GiB-month",
            "x_UsageKey": "a",
            "x_UsageRevision": "0",
        }
        == first
    )
    assert json.loads(str(first["Tags"])) == {"component": "training", "model": 'a "model", comma\nline', "team": "=ops"}
    assert second["ChargePeriodStart"] == START + timedelta(minutes=30)


async def test_spot_is_dynamic_and_what_has_no_workload_has_no_resource() -> None:
    (row,) = [row for row in await written(await everything(), "parquet") if row["x_UsageKey"] == "spot"][:1]
    assert (row["PricingCategory"], row["ResourceId"], row["ResourceType"]) == ("Dynamic", None, None)
    assert row["ServiceName"] == "Model serving"


async def test_corrections_are_such_of_months_that_have_been_invoiced() -> None:
    costs = await everything()
    assert {row["ChargeClass"] for row in await written(costs, "parquet")} == {None}
    rows = await written(costs, "parquet", Biller(invoiced=MARCH))
    corrections = [row for row in rows if row["ChargeClass"] == "Correction"]
    assert {row["BillingPeriodEnd"] for row in corrections} == {MARCH}
    assert {row["x_UsageKey"] for row in corrections} == {"late"}
    assert min(column(corrections, "BilledCost")) < 0
    assert {str(row["ChargeDescription"]).startswith("Taken back: ") for row in corrections} == {True, False}


@pytest.mark.parametrize("resource", list(Resource))
async def test_every_unit_has_its_name_in_focus(resource: Resource) -> None:
    for unit in multiples(resource):
        said = {"resource": resource, "unit": unit, "price": 1, "from": "2026-01-01T00:00:00Z"}
        book = PriceBook.model_validate({"currency": "EUR", "prices": [said]})
        costs, each = TwinCosts(), usage("a", resource)
        await costs.book([each], priced(each, book))
        row, *_ = await written(costs, "csv")
        assert row["PricingUnit"]
        assert row["SkuMeter"] == METERED[resource]


@pytest.mark.parametrize("kind", ["parquet", "csv"])
async def test_a_window_without_charges_is_a_file_without_rows(kind: Format) -> None:
    assert await written(TwinCosts(), kind) == []


@pytest.mark.parametrize("kind", ["parquet", "csv"])
async def test_a_file_is_there_whole_or_not_at_all(kind: Format, tmp_path: Path) -> None:
    costs, path = await everything(), tmp_path / f"costs.{kind}"
    await export(costs, WINDOW, path, kind)
    before = path.read_bytes()
    assert before == b"".join([part async for part in stream(costs, WINDOW, kind)])
    costs.go_down()
    with pytest.raises(TemporaryError):
        await export(costs, WINDOW, path, kind)
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_bytes() == before


async def test_parquet_is_handed_on_page_by_page() -> None:
    parts = [part async for part in stream(await everything(), WINDOW, "parquet", page=50)]
    assert len(parts) > 5
    assert max(len(part) for part in parts) < 60_000
