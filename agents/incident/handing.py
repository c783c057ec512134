"""An accuracy below its promise about which the incident specialist can only tell people: whether a training would help is the
drift specialist's to judge, and broken values are its to keep out of one."""

from agents.actions import Notify
from agents.evidence import Cause, Recommendation
from agents.incident.observations import Observations
from agents.requests import request_of
from agents.routing import HandOver, Specialist

_NO_REASON = (Cause.LABELS, Cause.MODEL_REGRESSION)
"""To train: wrong labels prove nothing, and what is worse than the version before it is not mended by more of its data."""
_PROMISE = "promise.accuracy"


def hand_over(recommended: Recommendation, observations: Observations, least: int) -> HandOver | None:
    """None: it stays here. `least`: labelled answers without which a promise is not judged."""
    finding = recommended.finding
    if not isinstance(recommended.action, Notify) or finding.model is None or finding.cause in _NO_REASON:
        return None
    if request_of(observations.alerts) is not None:
        return None
    promise = next((each for each in finding.evidence if each.id == _PROMISE), None)
    if promise is None or (promise.sample_size or 0) < least:
        return None
    value, limit = promise.value, promise.limit
    if not isinstance(value, float) or limit is None or value >= limit:
        return None
    return HandOver(to=Specialist.DRIFT, reason=f"accuracy is below its promise, {value:.1%} of {limit:.1%}")
