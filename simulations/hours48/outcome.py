"""What a run of the 48 hours has to show, by which of its stories it is."""

from dataclasses import dataclass
from typing import Any

from simulations.checks import Checks
from simulations.hours48.record import Record
from simulations.hours48.timeline import BEFORE, applied, daily, detected, judge, trainings

LIMIT_S = 150.0


@dataclass(frozen=True)
class Told:
    """Which story it is."""

    drift: bool = True
    refuse: bool = False
    quantization_pays: bool = True

    @property
    def usual(self) -> bool:
        return self.drift and not self.refuse and self.quantization_pays


def judged(record: Record, told: Told) -> tuple[Checks, dict[str, Any]]:
    checks = Checks()
    promoted = any(each["status"] == "promoted" for each in record.rollouts)
    if told.refuse and told.drift:
        _refused(record, checks)
    elif not told.drift:
        checks.equal("drift.detected", detected(record) is not None, False)
        checks.at_most("trainings", len(trainings(record)), 0, "jobs")
    else:
        rows = [each for each in judge(record) if told.quantization_pays or not each.name.startswith(("int8", "cost"))]
        checks.at_most("timeline.missed", sum(each.verdict == "missed" for each in rows), 0, "rows")
        checks.at_most("timeline.absent", sum(each.verdict == "absent" for each in rows), 0, "rows")
        checks.equal("promoted", promoted, True)
    if not told.quantization_pays:
        checks.equal("int8.applied", applied(record) is not None, False)
    checks.at_most("requests.failed", record.failed, 0, "rows")
    checks.equal("audit.verified", record.audit.get("ok"), True)
    if told.usual:
        checks.at_most("seconds", round(record.seconds, 1), LIMIT_S, "s")
    details: dict[str, Any] = {
        "seed": record.seed,
        "timeline": [vars(each) for each in judge(record)],
        "decisions": decisions(record),
        "champion": {"before": BEFORE, "after": record.aliases.get("champion")},
        "final": {"accuracy": record.accuracy(range(24, 48)), "cost_per_day": _last_cost(record)},
        "seconds": round(record.seconds, 1),
        "load": record.load,
    }
    return checks, details


def _refused(record: Record, checks: Checks) -> None:
    """Nothing is changed, and it is said that something would have to be: a stand-off, and not peace."""
    asked = [each for each in record.decisions if each["decision"] == "rejected"]
    checks.at_least("refused", len(asked), 1, "questions")
    checks.at_most("trainings", len(trainings(record)), 0, "jobs")
    checks.at_most("rollouts", len(record.rollouts), 0, "rollouts")
    checks.equal("champion.after", record.aliases.get("champion"), BEFORE)
    checks.equal("stand_off.stated", bool(stand_off(record)), True)


def stand_off(record: Record) -> list[str]:
    """What the platform says of an incident that it would have acted upon."""
    refused = [each for each in record.incidents if any(one["status"] == "rejected" for one in each["approvals"])]
    return [f"{each['status']}: {each['summary']}" for each in refused if each["status"] != "resolved" and each["summary"]]


def decisions(record: Record) -> list[str]:
    """What was decided, in order: the same seed gives the same. By hours and not by minutes, which are those of a machine."""
    told = [f"operator: {each['decision']} {each['action']}" for each in record.decisions]
    told += [
        f"rollout of {each['version']} beside {each['from_version']}: {each['status']}" for each in reversed(record.rollouts)
    ]
    told += [f"{alias}: version {version}" for alias, version in sorted(record.aliases.items())]
    return told


def _last_cost(record: Record) -> float | None:
    return daily(record, range(30, 48))
