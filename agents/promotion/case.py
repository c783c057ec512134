"""What is known when somebody, or a training of ours, wants a version to serve."""

from typing import Literal

from agents.alerts import Alert
from agents.evidence import Missing
from agents.requests import Request
from tools.registry.evaluations import Evaluation
from tools.values import Frozen


class PromotionCase(Frozen):
    alerts: tuple[Alert, ...]
    model: str | None
    """None: nothing names a model."""
    candidate: str | None
    """None: nothing names a version."""
    champion: str | None = None
    evaluation: Evaluation | None = None
    """Of the candidate beside this champion, by a job of the platform's own; None where none has measured it."""
    claim: Evaluation | None = None
    """What the candidate's training says of it. Shown, and believed by nobody."""
    unproven: str = ""
    """Why there is no evaluation, where that is known."""
    request: Request | None = None
    """Who asked for it, where somebody did."""
    slow_ms: float | None = None
    """The champion's p99 lately; None where there is too little traffic to tell."""
    answers: Literal["classes", "numbers"] = "classes"
    """What the candidate gives, by its `serving.json`."""
    missing: tuple[Missing, ...] = ()
