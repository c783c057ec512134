"""The price book of an installation that has none of its own: so that what things cost is seen from the first day on.

Nobody's bill. They are like the list prices of a large cloud on demand, in a cheap region, as OpenCost assumes them where it
knows of no others (its `default.json`): $0.031611 for a core's hour, $0.004237 for a GiB's, $0.95 for a GPU's, $0.04 for a GiB
of disk a month. The hour of monitoring is that of a machine of two cores and 8 GiB at these; tokens are those of a small hosted
model. `infra/prices/default.yaml` is the same as a file, to begin one's own with.
"""

from datetime import UTC, datetime
from decimal import Decimal

from tools.costs.port import Pricing
from tools.costs.prices import Price, PriceBook
from tools.costs.units import Resource

SINCE = datetime(2000, 1, 1, tzinfo=UTC)
"""Before anything that could be metered."""

_LIST = (
    (Resource.CPU, Pricing.STANDARD, "core-hour", "0.031611"),
    (Resource.CPU, Pricing.SPOT, "core-hour", "0.006655"),
    (Resource.MEMORY, Pricing.STANDARD, "GiB-hour", "0.004237"),
    (Resource.MEMORY, Pricing.SPOT, "GiB-hour", "0.000892"),
    (Resource.GPU, Pricing.STANDARD, "gpu-hour", "0.95"),
    (Resource.STORAGE, Pricing.STANDARD, "GiB-month", "0.04"),
    (Resource.LOAD_BALANCER, Pricing.STANDARD, "hour", "0.025"),
    (Resource.MONITORING, Pricing.STANDARD, "hour", "0.0971"),
    (Resource.INPUT_TOKENS, Pricing.STANDARD, "million-tokens", "0.15"),
    (Resource.OUTPUT_TOKENS, Pricing.STANDARD, "million-tokens", "0.60"),
)

LIST_PRICES = PriceBook(
    currency="USD",
    prices=tuple(
        Price.model_validate({"resource": resource, "pricing": pricing, "unit": unit, "price": Decimal(price), "from": SINCE})
        for resource, pricing, unit, price in _LIST
    ),
)
