"""A record of 48 hours as a run leaves it, cut down to what the timeline and the report read."""

from datetime import UTC, datetime, timedelta
from typing import Any

from simulations.hours48.record import Record

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


def at(hour: float) -> str:
    return (START + timedelta(hours=hour)).isoformat()


def record(**other: Any) -> Record:
    """As the seed tells it, but for what is named."""
    incident = {
        "id": "inc_1",
        "title": "Concept drift: x moved <as well>",
        "status": "resolved",
        "summary": "version 6 serves",
        "opened_at": at(6.8),
        "alerts": [{"labels": {"monitor": "drift"}}],
        "approvals": [
            {
                "status": "approved",
                "proposal": {"finding": {"evidence": [{"id": "evaluation.held_out.accuracy", "value": 0.971}]}},
            }
        ],
    }
    stages = [(8.1, 0.1), (9.2, 0.5), (11.3, 1.0)]
    return Record(
        **{
            "seed": 7,
            "start": START.isoformat(),
            "answered": {str(hour): _split(hour) for hour in range(48)},
            "right": {str(hour): _right(hour) for hour in range(48)},
            "incidents": [incident],
            "events": [
                {"incident_id": "inc_1", "name": "rollout.stage", "at": at(hour), "data": {"weight": weight}}
                for hour, weight in stages
            ],
            "jobs": [{"name": "oppen-run-1", "submitted_at": at(6.9)}],
            "rollouts": [{"incident_id": "inc_1", "version": "6", "from_version": "5", "status": "promoted"}],
            "decisions": [{"action": "retrain", "decision": "approved"}],
            "aliases": {"champion": "6"},
            "drift": [{"hour": 8, "scores": {"x": 3.0, "age": 0.02}}],
            "audit": {"ok": True},
            "seconds": 120.0,
            **other,
        }
    )


def _split(hour: int) -> dict[str, int]:
    return {"5": 1000} if hour < 8 else {"5": 900, "6": 100} if hour < 9 else {"5": 500, "6": 500} if hour < 11 else {"6": 1000}


def _right(hour: int) -> dict[str, int]:
    of_five = 0.96 if hour < 6 else 0.8
    return {version: round(count * (0.967 if version == "6" else of_five)) for version, count in _split(hour).items()}
