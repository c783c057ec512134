"""What requests and answers about experiments look like."""

from collections.abc import Mapping
from typing import Any

REQUEST: dict[str, Any] = {
    "model": "flights",
    "reason": "fewer wrong answers at night",
    "arms": [{"version": "2", "weight": 50}, {"version": "3", "weight": 50}],
    "goal": {"name": "wrong", "kind": "share", "better": "lower", "margin": 0.02},
    "guardrails": [
        {"name": "errors", "kind": "share", "better": "lower", "margin": 0.005},
        {"name": "slow", "kind": "share", "better": "lower", "margin": 0.01},
    ],
    "slow_ms": 250,
    "outcomes_after": "P1D",
}

_EFFECT: dict[str, Any] = {
    "goal": "wrong",
    "treatment": 0.112,
    "control": 0.153,
    "difference": -0.041,
    "low": -0.062,
    "high": -0.019,
    "units": 4_870,
    "control_units": 4_912,
}
_LOOK: dict[str, Any] = {
    "at": "2026-11-24T15:00:00Z",
    "units": {"2": 5_402, "3": 5_377},
    "mixed": 11,
    "anonymous": 840,
    "outcome": {
        "call": "running",
        "reason": "3: 3.5 days of at most 28 days: wrong -0.041 (-0.062 to -0.019).",
        "mismatch": 1.0,
        "leading": "3",
        "arms": [
            {
                "name": "3",
                "call": "running",
                "reason": "3.5 days of at most 28 days: wrong -0.041 (-0.062 to -0.019).",
                "effect": _EFFECT,
                "guardrails": [],
            }
        ],
        "at": "2026-11-24T15:00:00Z",
    },
}
_EXPERIMENT: dict[str, Any] = {
    "id": "exp_0198c0ffee00700080000000000000aa",
    "model": "flights",
    "control": "2",
    "plan": {
        "treatments": [{"version": "3", "weight": 50}],
        "goal": REQUEST["goal"],
        "guardrails": REQUEST["guardrails"],
        "slow_ms": 250,
        "outcomes_after": "P1D",
        "shortest": None,
        "longest": None,
    },
    "rules": {"wrong_winners": 0.05, "wrong_stops": 0.05, "min_units": 200, "shortest": "P7D", "longest": "P28D"},
    "status": "running",
    "ending": "",
    "look": _LOOK,
    "reason": "3: 3.5 days of at most 28 days: wrong -0.041 (-0.062 to -0.019).",
    "ordered": None,
    "ordered_by": None,
    "order_reason": None,
    "proposal_id": "run_0198c0ffee00700080000000000000aa/1",
    "run_id": "run_0198c0ffee00700080000000000000aa",
    "incident_id": "inc_0198c0ffee00700080000000000000aa",
    "began_at": "2026-11-21T03:00:00Z",
    "updated_at": "2026-11-24T15:00:00.204611Z",
    "ended_at": None,
}

EXAMPLES: Mapping[str, Any] = {
    "ExperimentView": _EXPERIMENT,
    "LookView": {"at": "2026-11-24T15:00:00Z", "look": _LOOK},
}
"""By the name of the schema."""
