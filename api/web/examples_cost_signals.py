"""Answers about unusual costs, forecasts and budgets, shortened."""

from collections.abc import Mapping
from typing import Any

_TRAINING = {
    "at": {"component": "training", "part": "GPU hours"},
    "before": "0.000000",
    "after": "21.600000",
    "change": "21.600000",
    "by_price": "0.000000",
    "by_usage": "21.600000",
}

COST_SIGNALS: Mapping[str, dict[str, Any]] = {
    "CostAnomaliesView": {
        "until": "2026-11-25T04:00:00Z",
        "looked_from": "2026-10-21T00:00:00Z",
        "series": 7,
        "items": [
            {
                "dimension": "model",
                "name": "churn",
                "currency": "USD",
                "start": "2026-11-24T22:00:00Z",
                "end": "2026-11-25T04:00:00Z",
                "seen": "2026-11-25T01:00:00Z",
                "actual": "33.480000",
                "expected": "11.930000",
                "excess": "21.550000",
                "share": 1.8064,
                "rule": "seasonal",
                "open": True,
                "learnt": False,
                "summary": "Model churn cost USD 33.48 in the 6 h to 2026-11-25 04:00 UTC, where USD 11.93 were to be expected "
                "(180.6% more), by the seasonal rule.",
                "origin": {
                    "start": "2026-11-24T22:00:00Z",
                    "end": "2026-11-25T04:00:00Z",
                    "compared_with": ["2026-11-17T22:00:00Z", "2026-11-10T22:00:00Z", "2026-11-03T22:00:00Z"],
                    "before": "11.880000",
                    "after": "33.480000",
                    "by_price": "0.000000",
                    "by_usage": "21.600000",
                    "aspects": [{"by": ["component", "part"], "explained": 1.0, "contributors": [_TRAINING]}],
                    "sentences": [
                        "3 training runs of churn in parallel: oppen-retrain-0a, oppen-retrain-1b, oppen-retrain-2c.",
                        "By component and part, 100.0% of the rise: training GPU hours (USD 21.60 more).",
                        "It is usage (USD 21.60 more); prices are as they were.",
                    ],
                },
            }
        ],
        "plainly": [
            {
                "dimension": "model",
                "name": "eta",
                "currency": "USD",
                "reason": "not enough history: 9 whole days of 22 for the seasonal rule; plain rule: more than 20% over the "
                "mean of 7 days",
            }
        ],
    },
    "CostForecastsView": {
        "start": "2026-11-01T00:00:00Z",
        "end": "2026-12-01T00:00:00Z",
        "until": "2026-11-29T12:00:00Z",
        "items": [
            {
                "currency": "USD",
                "spent": "1410.220000000000",
                "to_come": [
                    {"start": "2026-11-29T12:00:00Z", "end": "2026-11-30T00:00:00Z", "cost": "21.15"},
                    {"start": "2026-11-30T00:00:00Z", "end": "2026-12-01T00:00:00Z", "cost": "50.80"},
                ],
                "expected": "1482.170000000000",
                "low": "1477.910000000000",
                "high": "1486.700000000000",
                "interval": 0.9,
                "going_on": "0",
                "method": "seasonal",
                "reason": "by the rhythm of hours, weekdays and months in 42 days",
            }
        ],
        "budgets": [
            {
                "of": "whole",
                "name": "",
                "amount": "1450.00",
                "currency": "USD",
                "every": "month",
                "start": "2026-11-01T00:00:00Z",
                "end": "2026-12-01T00:00:00Z",
                "spent": "1410.220000000000",
                "left": "39.780000000000",
                "used": 0.97257,
                "rate": 1.0238,
                "expected": "1482.170000000000",
                "exhausted_at": "2026-11-30T08:48:00Z",
                "standing": "will not do",
                "summary": "Of USD 1,450.00 a month for everything, 97.3% is spent (USD 1,410.22); USD 1,482.17 are to be "
                "expected by the end (USD 1,477.91 to USD 1,486.70 at 90%); it is used up at 2026-11-30 08:48 UTC.",
            }
        ],
    },
}
"""By the name of the schema."""
