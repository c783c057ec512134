"""An answer about a language model, shortened."""

from collections.abc import Mapping
from typing import Any

USAGE: Mapping[str, dict[str, Any]] = {
    "UsageView": {
        "model": "chat",
        "start": "2026-11-24T06:00:00Z",
        "end": "2026-11-25T06:00:00Z",
        "versions": [
            {
                "version": "7",
                "calls": 1204,
                "errors": 3,
                "latency_p95_ms": 2310.4,
                "counted": 1188,
                "prompt_tokens": 420112,
                "completion_tokens": 96350,
                "first_token_mean_ms": 141.7,
                "first_token_p50_ms": 118.2,
                "first_token_p95_ms": 402.9,
                "finishes": {"cancelled": 13, "length": 21, "stop": 1167},
                "costs": [
                    {
                        "currency": "USD",
                        "amount": "0.1208268",
                        "calls": 1188,
                        "per_call": "0.000101706",
                        "per_million_tokens": "0.233951777",
                    }
                ],
            }
        ],
    }
}
"""By the name of the schema."""
