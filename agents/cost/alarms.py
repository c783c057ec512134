"""Which of what is unusual is said: the parts where a few of them are the cause, the whole where it is in many."""

from collections.abc import Sequence
from typing import Literal

from agents.cost.anomalies import Anomaly, Judgement
from agents.cost.budgets import Burn
from agents.cost.causes import Origin
from agents.cost.series import Series
from agents.monitoring import Check
from agents.narrative import plain
from agents.wording import moment, share, span
from tools.costs.port import Currency, Dimension
from tools.values import Frozen

_FEW = 3
_MOST_OF_IT = 0.8
_SURE = "seasonal"


class Spending(Frozen):
    """What one part, or the whole, cost by the hour."""

    dimension: Dimension | None
    """None: the whole."""
    name: str
    """Empty for the whole."""
    currency: Currency
    series: Series


class Judged(Frozen):
    spending: Spending
    judgement: Judgement

    @property
    def open(self) -> Anomaly | None:
        return self.judgement.open_at(self.judgement.end)


def told(judged: Sequence[Judged]) -> tuple[Judged, ...]:
    """Of one currency: those of which an anomaly is open and that say it. Others, unusual by the same cause, are silent."""
    unusual = [each for each in judged if each.open is not None]
    whole = next((each for each in unusual if each.spending.dimension is None), None)
    if whole is None or whole.open is None:
        return tuple(unusual)
    said = [whole]
    for dimension in dict.fromkeys(each.spending.dimension for each in unusual if each.spending.dimension is not None):
        parts = [each for each in unusual if each.spending.dimension is dimension]
        if len(parts) <= _FEW:
            said += parts
            if sum(each.open.excess for each in parts if each.open) >= _MOST_OF_IT * whole.open.excess and whole in said:
                said.remove(whole)
    return tuple(said)


def unusual(judged: Judged, origin: Origin | None, *, silent: bool) -> Check:
    """`silent`: it is unusual, and others say so."""
    judgement, found = judged.judgement, judged.open
    if judgement.rule is None or (found is not None and silent):
        why = judgement.reason if judgement.rule is None else "It is part of what is told elsewhere"
        return Check(monitor="cost", bad=None, summary=f"{why[0].upper()}{why[1:]}.")
    if found is None:
        last = judgement.anomalies[-1] if judgement.anomalies else None
        learnt = f" What began at {moment(last.start)} has stayed, and is the new usual." if last and last.learnt else ""
        return Check(monitor="cost", bad=False, summary=f"As usual by the {judgement.rule} rule.{learnt}")
    why = f" {' '.join(origin.sentences)}" if origin is not None and origin.sentences else ""
    return Check(monitor="cost", bad=True, summary=f"{described(judged.spending, found, judgement)}{why}")


def described(spending: Spending, found: Anomaly, judgement: Judgement) -> str:
    whose = (
        "Everything" if spending.dimension is None else plain(f"{spending.dimension.value.capitalize()} {spending.name}", 220)
    )
    more = f" ({share(found.share)} more)" if found.share is not None else ""
    by = f", by the {found.rule} rule" + ("" if judgement.rule == _SURE else f" ({judgement.reason})")
    return (
        f"{whose} cost {spending.currency} {found.actual:,.2f} in the {span(found.end - found.start)} to {moment(found.end)}, "
        f"where {spending.currency} {found.expected:,.2f} were to be expected{more}{by}."
    )


def strained(found: Burn) -> Check:
    """A budget is raised where it is certain enough: it is spent, or will not do by a forecast that has an interval."""
    bad: bool | None = found.standing == "spent" or (found.standing == "will not do" and found.forecast.low is not None)
    if not bad and (found.standing == "unknown" or found.forecast.low is None):
        bad = None
    severity: Literal["critical", "warning"] = "critical" if found.standing == "spent" else "warning"
    return Check(monitor="budget", bad=bad, summary=found.summary, severity=severity)
