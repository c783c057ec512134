"""Whether it is too early to tell: what is unresolved while its alerts are young is looked at again as more comes in.

Right after a release there are too few answers of the new version to hold against the old one's, and labels come later still:
who gives up then, and hands the case to people for hours, does not see what every further minute would have shown.
"""

from datetime import datetime

from agents.actions import Notify
from agents.evidence import Cause, Recommendation
from agents.incident.observations import Observations
from agents.policies import Investigation
from agents.requests import request_of

_BLIND = ("predictions", "registry")
"""Sources without which another look sees no more."""


def again_at(recommended: Recommendation, observations: Observations, rules: Investigation, now: datetime) -> datetime | None:
    """When to look again; None: what is recommended stands."""
    finding = recommended.finding
    if finding.cause is not Cause.UNRESOLVED or not isinstance(recommended.action, Notify) or finding.model is None:
        return None
    if request_of(observations.alerts) is not None or any(each.source in _BLIND for each in finding.missing):
        return None
    firing = [alert.starts_at for alert in observations.alerts if alert.status == "firing"]
    if not firing or not observations.now.count:
        return None
    latest = max(firing) + rules.patience
    return min(now + rules.look_again, latest) if now < latest else None
