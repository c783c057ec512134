"""How much each kind of evidence says, and how pieces of it add up.

A score is 1 - (1 - w1 s1)(1 - w2 s2)... over what supports a hypothesis, times (1 - w)... over what speaks against it, where w
is the weight below and s the strength of what was measured (half at the policy's limit). So each piece of support can only
raise a score and each objection only lower it, none is counted twice, and a reason can be given for every factor. Scores are
comparable within one finding; they are not probabilities.

Only direct evidence carries a hypothesis. Circumstances (a rollout shortly before, inputs that stand still) strengthen one that
is carried and mean nothing alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from agents.evidence import Cause, Hypothesis

SAME_PERIOD = 0.9
"""Two versions side by side: only the version differs."""
OTHER_PERIOD = 0.75
"""The new version now, the old one before: the world may have changed with it."""
BROKEN_INPUT = 0.9
MOVED_INPUT = 0.75
UNEXPLAINED_LOSS = 0.55
"""The same version, on inputs that stand still, is worse: what it learnt may no longer hold. By exclusion, hence little."""
SERVICE = 0.75
"""Errors or latency, whatever version."""
BUSY_AND_BROKEN = 0.6
"""A promise is broken while workers are saturated, though nothing to compare with has got worse."""
TRAFFIC = 0.85
LABELS = 0.9
PROMISES_KEPT = 0.8

CIRCUMSTANCE = 0.2
STRONG_CIRCUMSTANCE = 0.35

DOUBT = 0.3
OBJECTION = 0.6
REFUTATION = 0.85


@dataclass(frozen=True)
class Argument:
    """One piece of evidence (by id), what it says, and how much."""

    evidence: str
    said: str
    weight: float


def weigh(
    cause: Cause, direct: Iterable[Argument], circumstances: Iterable[Argument], objections: Iterable[Argument], otherwise: str
) -> Hypothesis:
    """`otherwise` is the reason when nothing carries the hypothesis."""
    carried, against = tuple(direct), tuple(objections)
    supporting = (*carried, *circumstances) if carried else ()
    support = 1 - prod(1 - each.weight for each in supporting)
    score = support * prod(1 - each.weight for each in against)
    return Hypothesis(
        cause=cause,
        score=round(score, 4),
        reason=_reason(supporting, against, otherwise),
        supporting=_ids(supporting),
        against=_ids(against),
    )


def _reason(supporting: tuple[Argument, ...], against: tuple[Argument, ...], otherwise: str) -> str:
    said = _joined(supporting) if supporting else otherwise
    return said if not against else f"{said} Against it: {_joined(against)}"


def _joined(arguments: tuple[Argument, ...]) -> str:
    text = "; ".join(dict.fromkeys(each.said for each in arguments))
    return text[0].upper() + text[1:] + "."


def _ids(arguments: tuple[Argument, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.evidence for each in arguments))
