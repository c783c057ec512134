"""One investigation of drift: what was measured, and what is known of the model it was measured on."""

from agents.alerts import Alert
from agents.drift.causes import DriftFinding
from agents.drift.performance import Performance
from agents.drift.verdicts import Comparison
from agents.evidence import Missing
from tools.jobs.port import JobState
from tools.predictions.port import VersionWindow
from tools.registry.port import TrainingRun
from tools.values import Frozen, Instant, LeftOut, Window


class Rollout(Frozen):
    """The champion's last change, where it lies within the current window, and how versions answered around it."""

    version: str
    previous: str
    at: Instant
    before: tuple[VersionWindow, ...] = ()
    """In the current window, until the change."""
    since: tuple[VersionWindow, ...] = ()


class DriftCase(Frozen):
    alerts: tuple[Alert, ...]
    model: str | None
    """None: the alerts name no model."""
    reference: Window
    current: Window
    measured: DriftFinding | None = None
    """None where the traffic could not be read."""
    before: Performance | None = None
    """How right the model was in the reference window."""
    champion: str | None = None
    skew: Comparison | None = None
    """The champion's inputs beside those it was trained on; None where its training left nothing, or too little came."""
    rollout: Rollout | None = None
    training: TrainingRun | None = None
    """The job that made the champion."""
    trainings: tuple[JobState, ...] = ()
    """Jobs of this model that are on record, newest first."""
    beside: tuple[str, ...] = ()
    """Versions that have a share of the traffic beside the champion, or copies of it, in a rollout or an experiment."""
    left_out: tuple[LeftOut, ...] = ()
    """What is quarantined of reference and current window, and of the same hours of earlier seasons."""
    broken_since: Instant | None = None
    """Of a fault of the data: when it began, as far as that shows."""
    missing: tuple[Missing, ...] = ()
