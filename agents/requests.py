"""What somebody asks for, as opposed to what goes wrong: it enters as an alert does, so one path is deduplicated, ordered and
audited.

Only the platform itself makes alerts of this source: its routes, for a person who may, and its schedules.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from agents.actions import Name
from agents.alerts import Alert
from agents.experiment_plans import Plan
from tools.values import Frozen, Instant

SOURCE = "trigger"
REVIEW: Literal["cost-review"] = "cost-review"
"""Kind of the request that a model's cost be looked through for what it need not be."""
COST_MONITOR = "cost"
"""Value of the label `monitor` of alerts about money."""
NAMES = {
    "retrain": "RetrainingRequested",
    "promote": "PromotionRequested",
    "rollback": "RollbackRequested",
    "check": "CheckRequested",
    "experiment": "ExperimentRequested",
    REVIEW: "CostReviewRequested",
}
"""Kind -> the alert's name."""
SCHEDULED = "schedule:"
"""What the name of an asker begins with that is no person."""

Kind = Literal["retrain", "promote", "rollback", "check", "experiment", "cost-review"]


class Request(Frozen):
    kind: Kind
    model: Name
    version: Name | None = None
    """To be promoted, or to go back to."""
    by: Name
    """The person; or `schedule:cron`, `schedule:new_data`, `schedule:cost-review`."""
    reason: Annotated[str, Field(min_length=1, max_length=2_000)]
    window_start: Instant | None = None
    window_end: Instant | None = None
    """Of the data to train on; None: policy's."""
    plan: Plan | None = None
    """Of the experiment."""

    def comes_to(self, other: "Request") -> bool:
        """Whether the same would be done of it."""
        fields = ("kind", "version", "window_start", "window_end", "plan")
        ours, theirs = (tuple(getattr(each, name) for name in fields) for each in (self, other))
        return ours == theirs


def to_alert(request: Request, key: str, at: datetime) -> Alert:
    """`key` and `at` are its identity: the same again is the same request."""
    asked = request.model_dump(mode="json", exclude_none=True)
    return Alert(
        source=SOURCE,
        fingerprint=key,
        status="firing",
        name=NAMES[request.kind],
        severity="info",
        labels={name: str(asked[name]) for name in ("kind", "model", "version", "by") if name in asked},
        annotations={
            "summary": f"{request.by} asks: {request.reason}"[:1_000],
            **{name: str(asked[name]) for name in ("reason", "window_start", "window_end") if name in asked},
            **({"plan": json.dumps(asked["plan"], sort_keys=True)} if "plan" in asked else {}),
        },
        starts_at=at,
    )


def asker_of(alerts: Iterable[Alert]) -> str:
    """The person on whose request a run began; empty where nobody asked, and a schedule is nobody."""
    request = request_of(alerts)
    return request.by if request is not None and not request.by.startswith(SCHEDULED) else ""


def others_of(alerts: Iterable[Alert]) -> tuple[str, ...]:
    """Who else has asked for the same: what two have asked for neither of them approves."""
    asked = [alert for alert in alerts if alert.source == SOURCE and alert.status == "firing"]
    request = request_of(asked)
    if request is None:
        return ()
    same = {each.by for alert in asked if (each := request_of([alert])) is not None and each.comes_to(request)}
    return tuple(sorted(by for by in same if by != request.by and not by.startswith(SCHEDULED)))


def request_of(alerts: Iterable[Alert]) -> Request | None:
    """The newest request among them; one that only asks to look takes nothing from another."""
    asked = [alert for alert in alerts if alert.source == SOURCE and alert.status == "firing"]
    if not asked:
        return None
    newest = max(asked, key=lambda alert: (alert.name != NAMES["check"], alert.starts_at))
    names = ("reason", "window_start", "window_end")
    notes: dict[str, Any] = {name: newest.annotations[name] for name in names if name in newest.annotations}
    try:
        if "plan" in newest.annotations:
            notes["plan"] = json.loads(newest.annotations["plan"])
        return Request.model_validate({**newest.labels, **notes})
    except (ValidationError, json.JSONDecodeError):
        return None


def joins(request: Request, alerts: Iterable[Alert], *, begun: bool) -> bool:
    """Whether what is asked for comes of an incident that is open, with these alerts, all the same. Its run reads them when it
    begins, and never again: `begun`."""
    earlier = request_of(alerts)
    if request.kind == "check":
        return True
    if earlier is None or earlier.kind == "check":
        return not begun
    return request.comes_to(earlier)
