"""A version in INT8 as a shadow: it goes on by the guardrails of any challenger, and by what its copies say of INT8; pure.

The guardrails may be looked at as often as one likes. What the copies say is a test of fixed size, so it is not looked at
minute by minute: when the stage's time is up, and whenever the time that is looked at has doubled, each time at half the level
of the time before. All together it is wrong no more often than policy allows.
"""

import math
from datetime import datetime, timedelta

from agents.cost.quantization import Decision as Verdict
from agents.cost.quantization_rules import Margins
from agents.cost.quantization_traffic import OnTraffic
from agents.promotion_rules import Stage
from agents.rollouts import Choice, Decision
from tools.values import Window

_LEAST = timedelta(minutes=1)
"""Of copies, where an edit has the stage hold for no time."""
_TOLD = (Choice.ADVANCE, Choice.EXTEND, Choice.ASK)
"""What a look says of a stage whose time is up, unless something is worse already."""


def is_weighed(stage: Stage, decision: Decision) -> bool:
    """Whether the copies are looked at after what the guardrails have decided."""
    return stage.weight == 0 and decision.choice in _TOLD


def look_at(stage: Stage, begun: datetime, now: datetime, margins: Margins) -> tuple[Window, Margins]:
    """Which copies count at this look, and at which level. The same until the time that is looked at has doubled."""
    first = max(stage.hold, _LEAST)
    doubled = math.floor(math.log2(max((now - begun) / first, 1.0)))
    level = margins.significance / 2 ** (doubled + 1)
    window = Window(start=begun, end=begun + first * 2**doubled)
    return window, margins.model_copy(update={"significance": level})


def joined(decision: Decision, found: OnTraffic) -> Decision:
    """What does not pay is worse. What is not clear is looked at again for as long as guardrails that are not, then people are
    asked."""
    if found.decision is Verdict.DOES_NOT_PAY:
        return _changed(decision, Choice.ROLLBACK, f"On live traffic INT8 does not pay. {found.reason}")
    if found.decision is Verdict.PAYS:
        return _changed(decision, decision.choice, f"{decision.reason} {found.reason}")
    over = decision.asks_at is None or decision.at >= decision.asks_at
    if decision.choice is Choice.ADVANCE:
        unclear = f"Whether INT8 pays on live traffic is not clear{'' if over else ' yet'}. {found.reason}"
        return _changed(decision, Choice.ASK if over else Choice.EXTEND, unclear)
    return _changed(decision, decision.choice, f"{decision.reason} {found.reason}")


def _changed(decision: Decision, choice: Choice, reason: str) -> Decision:
    return decision.model_copy(update={"choice": choice, "reason": reason})
