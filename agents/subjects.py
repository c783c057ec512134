"""What an alert speaks of. Alerts on one subject make one incident."""

import hashlib
from typing import Literal

from pydantic import Field

from agents.alerts import Alert
from agents.policies import Intake
from agents.requests import COST_MONITOR, NAMES, REVIEW, SOURCE
from tools.values import Frozen

MAX_NAME = 200
"""The longest name a registry or the incident table takes."""
_BILL = "costs"
_BILLED = "costs:model:"


class Subject(Frozen):
    kind: Literal["model", "component"]
    name: str = Field(min_length=1, max_length=MAX_NAME)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def model(self) -> str | None:
        """The model that it is about, or whose cost; None: no model in particular."""
        if self.kind == "model":
            return self.name
        return self.name.removeprefix(_BILLED) if self.name.startswith(_BILLED) else None


def model_of(alert: Alert, intake: Intake) -> str | None:
    return _named(alert, intake.model_labels)


def version_of(alert: Alert, intake: Intake) -> str | None:
    return _named(alert, intake.version_labels)


def tried(model: str | None) -> Subject:
    """An experiment with the model."""
    return Subject(kind="component", name=_fitting(f"experiment:{model}"))


def billed(model: str | None) -> Subject:
    """What a model costs; without a model, all of the bill."""
    return Subject(kind="component", name=_fitting(f"{_BILLED}{model}") if model is not None else _BILL)


def subject_of(alert: Alert, intake: Intake) -> Subject:
    """The model; without one the component; without that the alert's own name, so that its repeats still meet.

    An experiment, which lasts for weeks, is a subject of its own: what happens to the model meanwhile is looked into as ever.
    So is what a model costs: it takes a day until the ledger shows what was saved.
    """
    if alert.source == SOURCE and alert.name == NAMES["experiment"]:
        return tried(model_of(alert, intake))
    about_cost = alert.labels.get("monitor") == COST_MONITOR or (alert.source == SOURCE and alert.name == NAMES[REVIEW])
    if about_cost and (model := model_of(alert, intake)) is not None:
        return billed(model)
    if (model := model_of(alert, intake)) is not None:
        return Subject(kind="model", name=model)
    return Subject(kind="component", name=_named(alert, intake.component_labels) or _fitting(alert.name) or "unnamed")


def _named(alert: Alert, keys: tuple[str, ...]) -> str | None:
    for source in (alert.labels, alert.annotations):
        for key in keys:
            if name := _fitting(source.get(key, "")):
                return name
    return None


def _fitting(name: str) -> str:
    """Longer names end in a digest, so that two of them with the same beginning stay two."""
    name = name.strip()
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 13]}~{hashlib.sha256(name.encode()).hexdigest()[:12]}"
