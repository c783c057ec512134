"""An answer about costs, shortened."""

from collections.abc import Mapping
from typing import Any


def _entry(name: str, cost: str, exact: str, per_thousand: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "cost": cost, "exact": exact, "per_thousand": per_thousand, "parts": list(parts)}


COSTS: Mapping[str, dict[str, Any]] = {
    "CostsView": {
        "start": "2026-11-24T00:00:00Z",
        "end": "2026-11-25T00:00:00Z",
        "by": ["component", "part"],
        "step": "day",
        "share": "proportional",
        "predictions": 1204000,
        "prices": "the price book prices.yaml",
        "metered_until": "2026-11-25T00:10:00Z",
        "unread": [],
        "unpriced": [],
        "bills": [
            {
                "currency": "USD",
                "total": _entry(
                    "",
                    "12.35",
                    "12.351200000000",
                    "0.010258472",
                    _entry(
                        "serving",
                        "7.10",
                        "7.101200000000",
                        "0.005898007",
                        _entry("CPU serving", "6.50", "6.501200000000", "0.005399668"),
                        _entry("load balancer", "0.60", "0.600000000000", "0.000498339"),
                    ),
                    _entry("training", "5.25", "5.250000000000", "0.004360465"),
                ),
                "steps": [
                    {
                        "start": "2026-11-24T00:00:00Z",
                        "cost": "12.35",
                        "exact": "12.351200000000",
                        "parts": [
                            {"name": "serving", "cost": "7.10", "exact": "7.101200000000", "per_thousand": None, "parts": []},
                            {"name": "training", "cost": "5.25", "exact": "5.250000000000", "per_thousand": None, "parts": []},
                        ],
                    }
                ],
            }
        ],
    }
}
"""By the name of the schema."""

EXPORTS: Mapping[str, str] = {
    "text/csv": "BilledCost,BillingAccountId,...\r\n0.031611,oppen,...\r\n",
    "application/vnd.apache.parquet": "PAR1...",
}
"""By media type."""
