"""The seed's timeline, row by row: what it says, how far the real one may be from it and why, and what came about.

A row is met, missed, or absent: absent where the platform measures nothing of the kind. What is absent is not met.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from agents.examination import is_evaluation
from agents.quantization_job import is_quantization
from simulations.hours48.record import Record
from simulations.hours48.world import SHIFT_HOUR

MODEL, BEFORE, AFTER = "shop", "5", "6"
Verdict = Literal["met", "missed", "absent"]


@dataclass(frozen=True)
class Row:
    hour: float
    says: str
    """The seed's words."""
    wanted: float
    tolerance: float
    """Either way."""
    unit: str
    reason: str
    """Of the tolerance."""
    found: Callable[[Record], float | None]
    name: str


@dataclass(frozen=True)
class Judged:
    name: str
    hour: float
    says: str
    wanted: float
    tolerance: float
    unit: str
    reason: str
    value: float | None
    verdict: Verdict


_SEEDS = (
    "what comes of chance, and the truth itself, differ from seed to seed; the best model of any is right in 96.9 to 98.9 %"
)
_HALF = "the operator releases at full hours, the rollout is looked at every ten minutes, and a step takes some minutes"
_PRICED = "processor time is measured, and differs by a fifth from run to run on one machine"


def _accuracy(hours: Sequence[int]) -> Callable[[Record], float | None]:
    def measured(record: Record) -> float | None:
        found = record.accuracy(hours)
        return 100 * found if found is not None else None

    return measured


def _first(moments: Iterator[float]) -> float | None:
    return min(moments, default=None)


def detected(record: Record) -> float | None:
    """When the drift monitor's first alert opened an incident."""
    return _first(
        record.hour(each["opened_at"])
        for each in record.incidents
        if any(alert["labels"].get("monitor") == "drift" for alert in each["alerts"])
    )


def retrained(record: Record) -> float | None:
    """When the first training was begun."""
    return _first(record.hour(each["submitted_at"]) for each in trainings(record))


def trainings(record: Record) -> list[dict[str, Any]]:
    return [each for each in record.jobs if is_training(each["name"])]


def is_training(name: str) -> bool:
    """Of a job, by its name: what evaluates or quantises has a name of its own kind."""
    return name.startswith("oppen-") and not is_evaluation(name) and not is_quantization(name)


def evaluated(record: Record) -> float | None:
    """What the platform's own evaluation measured of the candidate on held-out rows, in percent."""
    for incident in record.incidents:
        for approval in incident["approvals"]:
            for each in approval["proposal"]["finding"]["evidence"]:
                if each["id"] == "evaluation.held_out.accuracy" and isinstance(each["value"], int | float):
                    return 100 * float(each["value"])
    return None


def weight(record: Record, share: float, version: str = AFTER) -> float | None:
    """When the rollout of a version came to this share."""
    incident = next((each["incident_id"] for each in record.rollouts if each["version"] == version), None)
    return _first(
        record.hour(each["at"])
        for each in record.events
        if each["name"] == "rollout.stage" and each["data"]["weight"] == share and each["incident_id"] == incident
    )


def daily(record: Record, hours: Sequence[int]) -> float | None:
    """Cost of these hours, as dollars a day."""
    found = [Decimal(each["cost"]) for each in record.costs if each["hour"] in hours]
    return float(sum(found, Decimal(0)) * 24 / len(found)) if found else None


def training_cost(record: Record) -> float | None:
    """Of the trainings themselves; what evaluated them is paid as well, and is no part of it."""
    found = [Decimal(each["training"]) for each in record.costs if each["hour"] in range(SHIFT_HOUR, SHIFT_HOUR + 4)]
    return float(sum(found, Decimal(0))) if found else None


def applied(record: Record) -> float | None:
    """When what was made of version 6 in INT8 got all of the traffic."""
    found = (
        weight(record, 1.0, each["version"]) for each in record.optimizations if each["kind"] == "quantize" and each["version"]
    )
    return _first(moment for moment in found if moment is not None)


ROWS: tuple[Row, ...] = (
    Row(1, "v5 at about 96 %", 96.0, 1.0, "%", _SEEDS, _accuracy(range(6)), "accuracy.v5"),
    Row(
        6,
        "a 30 % shift in feature X is detected",
        6.0,
        1.25,
        "hour",
        "the shift has to last for two looks of a quarter of an hour, and the store and the clock are minutes apart",
        detected,
        "drift.detected",
    ),
    Row(
        6,
        "retraining of v6 is triggered",
        6.0,
        1.5,
        "hour",
        "after the detection somebody has to read and approve it",
        retrained,
        "training.begun",
    ),
    Row(
        8,
        "v6 is evaluated at about 97 %",
        97.0,
        1.5,
        "%",
        "two standard errors of some 900 held-out customers are 1.1, and seeds differ",
        evaluated,
        "accuracy.evaluated",
    ),
    Row(8, "canary at 10 %", 8.0, 0.5, "hour", _HALF, lambda record: weight(record, 0.1), "canary.10"),
    Row(9, "canary at 50 %", 9.0, 0.5, "hour", _HALF, lambda record: weight(record, 0.5), "canary.50"),
    Row(11, "v6 at 100 %", 11.0, 0.75, "hour", f"{_HALF}; two stages add up", lambda record: weight(record, 1.0), "canary.100"),
    Row(48, "day 2 steady at 96.7 %", 96.7, 1.0, "%", _SEEDS, _accuracy(range(24, 48)), "accuracy.day2"),
    Row(1, "cost $50 a day", 50.0, 4.0, "$ a day", _PRICED, lambda record: daily(record, range(6)), "cost.before"),
    Row(
        6,
        "the retraining costs about $5",
        5.0,
        2.5,
        "$",
        "a job is paid by the second, and a busy machine takes more of them",
        training_cost,
        "cost.training",
    ),
    Row(
        12,
        "cost is $55",
        55.0,
        5.0,
        "$ a day",
        f"{_PRICED}; of the 24 hours around it",
        lambda record: daily(record, range(24)),
        "cost.after",
    ),
    Row(
        12,
        "INT8 proposed, tried and applied",
        16.0,
        6.0,
        "hour",
        "the seed names the hour of the proposal; an experiment and a canary of hours come before all of the traffic",
        applied,
        "int8.applied",
    ),
    Row(
        48, "day 2 steady at about $45", 45.0, 4.0, "$ a day", _PRICED, lambda record: daily(record, range(30, 48)), "cost.day2"
    ),
)


def judge(record: Record, rows: Sequence[Row] = ROWS) -> list[Judged]:
    found = []
    for row in sorted(rows, key=lambda row: row.hour):
        value = row.found(record)
        near = value is not None and abs(value - row.wanted) <= row.tolerance
        verdict: Verdict = "absent" if value is None else "met" if near else "missed"
        shown = round(value, 3) if value is not None else None
        found.append(Judged(row.name, row.hour, row.says, row.wanted, row.tolerance, row.unit, row.reason, shown, verdict))
    return found
