"""Lines of the ledger in the columns of FOCUS 1.2 (focus.finops.org), which finance tools read: Parquet or CSV, page by page.

Costs and quantities stay decimals. What the ledger does not know, FOCUS is not told: a list price beside the agreed one,
regions, invoices. Columns that FOCUS lacks begin with `x_`, as it wants.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from tools.costs.apportioning import EXACT
from tools.costs.port import MONEY_PLACES, QUANTITY_PLACES, Component, CostReader, Line, Pricing
from tools.costs.units import METERED, Resource, multiple
from tools.values import Frozen, Window

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["parquet", "csv"]

PAGE = 10_000
"""Lines of one question to the ledger, and of one row group."""
PRICING_PLACES = 18
"""A quantity in the unit of its price need not end (a byte's second in GiB months); so many decimals of it are kept."""

_CATEGORIES = {
    Resource.CPU: "Compute",
    Resource.MEMORY: "Compute",
    Resource.GPU: "Compute",
    Resource.STORAGE: "Storage",
    Resource.LOAD_BALANCER: "Networking",
    Resource.MONITORING: "Management and Governance",
    Resource.INPUT_TOKENS: "AI and Machine Learning",
    Resource.OUTPUT_TOKENS: "AI and Machine Learning",
}
_SERVICES = {
    Component.TRAINING: "Model training",
    Component.SERVING: "Model serving",
    Component.MONITORING: "Model monitoring",
}
_PRICINGS = {Pricing.STANDARD: "Standard", Pricing.SPOT: "Dynamic", Pricing.COMMITTED: "Committed"}
_UNITS = {
    "core-second": "Core-Seconds",
    "core-hour": "Core-Hours",
    "gpu-second": "GPU-Seconds",
    "gpu-hour": "GPU-Hours",
    "byte-second": "B-Seconds",
    "GiB-hour": "GiB-Hours",
    "GiB-month": "GiB-Months",
    "second": "Seconds",
    "hour": "Hours",
    "month": "Months",
    "token": "Tokens",
    "thousand-tokens": "1000 Tokens",
    "million-tokens": "1000000 Tokens",
}
_MONEY, _QUANTITY, _PRICING, _MOMENT, _TEXT = "money", "quantity", "pricing", "moment", "text"

COLUMNS = {
    "BilledCost": _MONEY,
    "BillingAccountId": _TEXT,
    "BillingAccountName": _TEXT,
    "BillingCurrency": _TEXT,
    "BillingPeriodEnd": _MOMENT,
    "BillingPeriodStart": _MOMENT,
    "ChargeCategory": _TEXT,
    "ChargeClass": _TEXT,
    "ChargeDescription": _TEXT,
    "ChargeFrequency": _TEXT,
    "ChargePeriodEnd": _MOMENT,
    "ChargePeriodStart": _MOMENT,
    "ConsumedQuantity": _QUANTITY,
    "ConsumedUnit": _TEXT,
    "ContractedCost": _MONEY,
    "ContractedUnitPrice": _MONEY,
    "EffectiveCost": _MONEY,
    "InvoiceIssuerName": _TEXT,
    "ListCost": _MONEY,
    "ListUnitPrice": _MONEY,
    "PricingCategory": _TEXT,
    "PricingQuantity": _PRICING,
    "PricingUnit": _TEXT,
    "ProviderName": _TEXT,
    "PublisherName": _TEXT,
    "ResourceId": _TEXT,
    "ResourceName": _TEXT,
    "ResourceType": _TEXT,
    "ServiceCategory": _TEXT,
    "ServiceName": _TEXT,
    "SkuId": _TEXT,
    "SkuMeter": _TEXT,
    "SkuPriceId": _TEXT,
    "Tags": _TEXT,
    "x_LineId": _TEXT,
    "x_UsageKey": _TEXT,
    "x_UsageRevision": _TEXT,
}
"""What FOCUS 1.2 demands, and of the rest what the ledger knows."""


class Biller(Frozen):
    """Who bills whom, as finance tools group by it."""

    account_id: str = "oppen"
    account_name: str = "OPPEN"
    provider: str = "OPPEN"
    """Also publisher and issuer of the invoice: the platform resells nobody's."""
    invoiced: datetime | None = None
    """Months that end by then have been invoiced: corrections of them have FOCUS's ChargeClass Correction. None: none has."""


async def stream(
    reader: CostReader, window: Window, kind: Format, biller: Biller | None = None, *, page: int = PAGE
) -> AsyncIterator[bytes]:
    """The charges that start within the window, in the order of time, as one file in parts. What is booked meanwhile may be in
    it or not. Raises what `CostReader.lines` raises."""
    writer = _Csv() if kind == "csv" else _Parquet()
    yield writer.begin()
    row = partial(_row, biller=biller or Biller())
    after = ""
    while lines := await reader.lines(window, after=after, most=page):
        if part := writer.write([row(id, line) for id, line in lines]):
            yield part
        after = lines[-1][0]
        if len(lines) < page:
            break
    yield writer.end()


async def export(reader: CostReader, window: Window, to: Path, kind: Format, biller: Biller | None = None) -> None:
    """Into a file, which is there whole or not at all."""
    unfinished = to.with_name(f".{to.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            async for part in stream(reader, window, kind, biller):
                file.write(part)
        unfinished.replace(to)
    finally:
        unfinished.unlink(missing_ok=True)


def schema() -> "pa.Schema":
    import pyarrow as pa

    kinds = {
        _MONEY: pa.decimal128(38, MONEY_PLACES),
        _QUANTITY: pa.decimal128(38, QUANTITY_PLACES),
        _PRICING: pa.decimal128(38, PRICING_PLACES),
        _MOMENT: pa.timestamp("us", "UTC"),
        _TEXT: pa.string(),
    }
    return pa.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()], {"focus_version": "1.2"})


def _row(id: str, line: Line, biller: Biller) -> dict[str, Any]:
    start = line.window.start.astimezone(UTC)
    month = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    next_month = month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
    resource = _resource(line)
    return {
        **_costs(line),
        **_quantities(line),
        "BillingAccountId": biller.account_id,
        "BillingAccountName": biller.account_name,
        "BillingPeriodStart": month,
        "BillingPeriodEnd": next_month,
        "ChargeCategory": "Usage",
        "ChargeClass": "Correction" if _corrects(line) and biller.invoiced and next_month <= biller.invoiced else None,
        "ChargeDescription": _description(line),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": start,
        "ChargePeriodEnd": line.window.end.astimezone(UTC),
        "InvoiceIssuerName": biller.provider,
        "PricingCategory": _PRICINGS[line.pricing],
        "ProviderName": biller.provider,
        "PublisherName": biller.provider,
        "ResourceId": line.owner.workload or None,
        "ResourceName": line.owner.workload or None,
        "ResourceType": line.resource.value if line.owner.workload else None,
        "ServiceCategory": _CATEGORIES[line.resource],
        "ServiceName": _SERVICES[line.owner.component],
        "SkuId": resource,
        "SkuMeter": METERED[line.resource],
        "SkuPriceId": f"{resource}/{line.pricing.value}/{line.unit}",
        "Tags": _tags(line),
        "x_LineId": id,
        "x_UsageKey": line.key,
        "x_UsageRevision": str(line.revision),
    }


def _costs(line: Line) -> dict[str, Any]:
    """The book says what is agreed upon, and no other price."""
    costs = dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), line.cost)
    return {
        **costs,
        "BillingCurrency": line.currency,
        **dict.fromkeys(("ContractedUnitPrice", "ListUnitPrice"), line.unit_price),
    }


def _quantities(line: Line) -> dict[str, Any]:
    exact = EXACT.divide(line.quantity, multiple(line.resource, line.unit))
    return {
        "ConsumedQuantity": line.quantity,
        "ConsumedUnit": _UNITS[METERED[line.resource]],
        "PricingQuantity": exact.quantize(Decimal(1).scaleb(-PRICING_PLACES), ROUND_HALF_EVEN, EXACT),
        "PricingUnit": _UNITS[line.unit],
    }


def _corrects(line: Line) -> bool:
    return line.taken_back or line.revision > 0


def _resource(line: Line) -> str:
    return f"{line.resource.value}/{line.sku}" if line.sku else line.resource.value


def _description(line: Line) -> str:
    who = line.owner.workload or line.owner.part or line.owner.component.value
    what = f"{_resource(line)} for {who}, {line.unit_price.normalize():f} {line.currency} per {line.unit}"
    return f"Taken back: {what}" if line.taken_back else what


def _tags(line: Line) -> str:
    owner = line.owner
    tags = {
        "component": owner.component.value,
        "part": owner.part,
        "model": owner.model,
        "version": owner.version,
        "team": owner.team,
        "experiment": owner.experiment,
    }
    return json.dumps({name: word for name, word in tags.items() if word}, ensure_ascii=False, separators=(",", ":"))


class _Parquet:
    """One row group per page; what has been written so far is handed on, and forgotten."""

    def begin(self) -> bytes:
        from pyarrow import parquet

        self._to = io.BytesIO()
        self._sent = 0
        self._writer = parquet.ParquetWriter(_Forward(self._to), schema(), compression="zstd")
        return self._drained()

    def write(self, rows: Sequence[dict[str, Any]]) -> bytes:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(list(rows), schema()))
        return self._drained()

    def end(self) -> bytes:
        self._writer.close()
        return self._drained()

    def _drained(self) -> bytes:
        written = self._to.getvalue()
        self._to.seek(0)
        self._to.truncate()
        return written


class _Forward(io.RawIOBase):
    """A file that is written from its beginning to its end, and knows how far it is although nothing of it is kept."""

    def __init__(self, to: io.BytesIO) -> None:
        self._to = to
        self._at = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        written = self._to.write(data)
        self._at += written
        return written

    def tell(self) -> int:
        return self._at


class _Csv:
    """RFC 4180 in UTF-8; times as FOCUS writes them, what is not there as an empty field."""

    def begin(self) -> bytes:
        return self._lines([list(COLUMNS)])

    def write(self, rows: Sequence[dict[str, Any]]) -> bytes:
        return self._lines([_said(row[name], kind) for name, kind in COLUMNS.items()] for row in rows)

    def end(self) -> bytes:
        return b""

    @staticmethod
    def _lines(rows: Any) -> bytes:
        to = io.StringIO(newline="")
        csv.writer(to).writerows(cast("Iterator[list[str]]", rows))
        return to.getvalue().encode()


def _said(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if kind == _MOMENT:
        moment: datetime = value
        return f"{moment.replace(tzinfo=None).isoformat()}Z"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
