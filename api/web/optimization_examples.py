"""An answer about what was saved, shortened."""

from collections.abc import Mapping
from typing import Any

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "CostReviewBody": {"model": "flights", "reason": "before the budget is set"},
    "OptimizationView": {
        "id": "opt_019a0f2b3c4d7e5f8a9b0c1d2e3f4a5b",
        "model": "flights",
        "kind": "quantize",
        "status": "kept",
        "what": "Version 6 of flights is served as it was trained for USD 39.98 a day (USD 0.28 per 1,000 predictions): INT8 "
        "may take up to 67.0% less, which an experiment measures",
        "expected": {"low": "19.100000", "high": "20.900000", "currency": "USD"},
        "trial": {
            "job": "oppen-quantization-run-019a0f2b-3f6a9d0c1b2e4f58",
            "pays": True,
            "reason": "INT8 (static) of flights 6 pays: a prediction takes 50.1% less than the original in batches of 1.",
            "low": 0.478,
            "high": 0.523,
            "figures": [{"name": "size", "before": 1048576.0, "after": 270336.0, "unit": "bytes"}],
            "cost": "0.012000",
            "currency": "USD",
        },
        "version": "7",
        "saved": {
            "claim": "holds",
            "per": "day",
            "value": "19.870000000",
            "low": "18.900000000",
            "high": "20.840000000",
            "currency": "USD",
            "before": "0.277600000",
            "after": "0.139500000",
            "unit": "1,000 predictions",
            "hours_before": 168,
            "hours_after": 6,
            "paired": 6,
            "level": 0.016666666666666666,
        },
        "freed": None,
        "roi": {"cost": "0.012000", "currency": "USD", "payback_days": "0.00", "per_month": "49674.00"},
        "outcome": "resolved",
        "found_at": "2026-11-24T12:00:00Z",
        "began_at": "2026-11-24T12:20:00Z",
        "applied_at": "2026-11-24T15:21:00Z",
        "run_id": "run_019a0f2b3c4d7e5f8a9b0c1d2e3f4a5b",
        "incident_id": "inc_019a0f2b3c4d7e5f8a9b0c1d2e3f4a00",
    },
}
"""By the name of the schema."""
