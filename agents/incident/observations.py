"""What was read from the world for one investigation: the only input, beside policies, that the specialist decides on.

Filled from the ports by `graphs`. A source that could not be read is in `missing`, and its fields are empty: an empty field
alone never means "nothing there".
"""

from typing import Literal

from agents.alerts import Alert
from agents.evidence import Missing
from tools.predictions.port import Period
from tools.registry.port import Alias, AliasChange, TrainingRun
from tools.serving.port import Capacity, Route
from tools.values import Frozen


class Reading(Frozen):
    """One number from the metrics system, now and in the period before."""

    name: str
    kind: Literal["saturation", "other"] = "other"
    """Saturation: a share of 1 of something that runs out (CPU, memory, a queue's length of its limit)."""
    query: str
    unit: str = ""
    now: float
    before: float | None = None


class Observations(Frozen):
    alerts: tuple[Alert, ...]
    model: str | None
    """None: the alerts name no model, so there is nothing to compare."""
    now: Period
    before: Period
    """The same hours, one season earlier. All periods' profiles are on its bins."""
    preceding: Period | None = None
    """As long as `now`, right before the champion last changed; only where that change is recent."""
    lately: Period | None = None
    """Since the alerts began, and a little before; None where that is as long as `now`."""
    earlier: Period | None = None
    """One season before `before`: how much inputs move from season to season anyway."""
    champion: str | None = None
    history: tuple[AliasChange, ...] = ()
    """Moves of the model's aliases, oldest first."""
    training: TrainingRun | None = None
    """The job that made the champion."""
    route: Route | None = None
    capacity: Capacity | None = None
    readings: tuple[Reading, ...] = ()
    missing: tuple[Missing, ...] = ()

    @property
    def last_change(self) -> AliasChange | None:
        """The latest move of the champion alias."""
        moves = [change for change in self.history if change.alias is Alias.CHAMPION]
        return max(moves, key=lambda change: change.at, default=None)
