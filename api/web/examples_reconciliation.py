"""An answer that holds our bill against OpenCost's, shortened."""

from collections.abc import Mapping
from typing import Any


def _compared(workload: str, standing: str, here: str, there: str, difference: str) -> dict[str, Any]:
    return {
        "workload": workload,
        "day": "2026-11-24",
        "standing": standing,
        "here": here,
        "there": there,
        "difference": difference,
    }


RECONCILIATION: Mapping[str, dict[str, Any]] = {
    "ReconciliationView": {
        "start": "2026-11-24T00:00:00Z",
        "end": "2026-11-25T00:00:00Z",
        "currency": "USD",
        "here": "20.010000000000",
        "there": "34.35",
        "tolerance": 0.1,
        "least": "0.05",
        "counts": {"matched": 1, "differs": 1, "missing_here": 1, "missing_there": 1},
        "items": [
            _compared("notebook", "missing_here", "0", "7.25", "7.25"),
            _compared("oppen", "differs", "7.101200000000", "9.60", "2.498800000000"),
            _compared("oppen-retrain-0a", "missing_there", "1.008800000000", "0", "-1.008800000000"),
            _compared("oppen-retrain-1b", "matched", "11.300000000000", "11.80", "0.500000000000"),
        ],
        "left_out": 0,
        "apart": [{"day": "2026-11-24", "idle": "5.70", "unowned_here": "0.600000000000", "unowned_there": "0"}],
        "uncompared": [],
        "metered_until": "2026-11-25T00:10:00Z",
    }
}
"""By the name of the schema."""
