"""What a model costs that it need not: what was found, ranked, as a finding; and the one to do something about."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from agents.actions import Action, NoAction
from agents.cost.case import CostCase
from agents.cost.changes import Change
from agents.cost.inefficiencies.duplicates import duplicate_trainings
from agents.cost.inefficiencies.heavy import heavy_model
from agents.cost.inefficiency import Inefficiency, Kind, Saving
from agents.cost.optimization import Optimization
from agents.cost.remedies import CAUSES, action_of
from agents.evidence import Cause, Evidence, Finding, Hypothesis, Recommendation
from agents.narrative import plain
from agents.policies import Policies
from agents.telling import tell
from agents.wording import between, money, share, span
from tools.costs.port import Dimension
from tools.values import Frozen

_LEADING = 0.9
"""What is dearest leads; the others follow in proportion to what they would save."""
_DOMINATES = 0.5
"""Of a change: what explains more of it than this is its cause."""
_NOTICEABLE = Decimal("0.05")
"""Of what a day cost before: a smaller rise is the difference between two days."""
_HALF = Decimal("0.5")
_COMPONENT: dict[Kind, str] = {
    "quantize": "serving",
    "scale_down": "serving",
    "set_batching": "serving",
    "consolidate_training": "training",
    "move_to_spot": "training",
    "expire_artifacts": "training",
}


class Reviewed(Frozen):
    recommendation: Recommendation
    optimization: Optimization | None
    """What the action is for; None: nothing is done to save money."""


def review(case: CostCase, policies: Policies, now: datetime) -> Reviewed:
    found = inefficiencies(case, policies, now)
    finding = _finding(case, found, now)
    action, reason, chosen = _choose(finding, case, found, policies, now)
    optimization = Optimization(inefficiency=chosen, found_at=now) if chosen is not None else None
    return Reviewed(recommendation=Recommendation(finding=finding, action=action, reason=reason), optimization=optimization)


def inefficiencies(case: CostCase, policies: Policies, now: datetime) -> tuple[Inefficiency, ...]:
    """Those worth anybody's minute, what would save most first; where a cost has risen, what is of the part that rose."""
    if case.model is None or case.currency is None:
        return ()
    rules = policies.optimizations_of(case.model)
    found = [
        duplicate_trainings(case.model, case.jobs, case.by_job, case.currency, rules, now),
        heavy_model(case, policies.quantization_of(case.model), now),
        *case.others,
    ]
    risen = _risen(case)
    worth = [each for each in found if each is not None and each.expected.high >= rules.min_saving]
    return tuple(sorted(worth, key=lambda each: (_COMPONENT[each.kind] != risen, -_middle(each.expected), each.kind)))


def _risen(case: CostCase) -> str | None:
    """The component that most of a rise comes from; None where nothing has risen."""
    change = case.change
    if change is None or not _rises(change) or not change.contributors:
        return None
    return change.contributors[0].at.get(Dimension.COMPONENT)


def _rises(change: Change) -> bool:
    return change.after - change.before > _NOTICEABLE * change.before


def _middle(saving: Saving) -> Decimal:
    return (saving.low + saving.high) / 2


def _finding(case: CostCase, found: Sequence[Inefficiency], now: datetime) -> Finding:
    changed = _changed(case)
    evidence = [each for one in found for each in one.evidence]
    evidence += [each for each in (changed, _risen_by(case)) if each is not None]
    most = max((_middle(each.expected) for each in found), default=Decimal(0)) or Decimal(1)
    hypotheses = [
        Hypothesis(
            cause=CAUSES[each.kind],
            score=_LEADING if place == 0 else round(min(_LEADING * float(_middle(each.expected) / most), _LEADING - 0.01), 3),
            reason=f"{each.what}; {_said(each.expected)} per day may be saved.",
            supporting=tuple(one.id for one in each.evidence),
        )
        for place, each in enumerate(found)
    ]
    if (dearer := _dearer(case)) is not None:
        by = ("change",) if changed is not None else ("rise",)
        priced = Hypothesis(cause=Cause.PRICE_CHANGE, score=_LEADING, reason=dearer, supporting=by)
        hypotheses = [priced, *(each.model_copy(update={"score": each.score / 2}) for each in hypotheses)]
    hypotheses.sort(key=lambda each: -each.score)
    cause = (
        hypotheses[0].cause if hypotheses else Cause.UNRESOLVED if case.alerts and case.request is None else Cause.FALSE_ALARM
    )
    summary = hypotheses[0].reason if hypotheses else _nothing(case)
    if changed is not None and cause is Cause.UNRESOLVED:
        summary = f"{summary} {changed.statement}"
    if case.rise is not None and case.rise.sentences and cause is not Cause.PRICE_CHANGE:
        summary = f"{summary} {' '.join(case.rise.sentences)}"
    return Finding(
        cause=cause,
        summary=summary,
        hypotheses=tuple(hypotheses),
        evidence=tuple(evidence),
        missing=case.missing,
        model=case.model,
        version=case.champion,
        assessed_at=now,
    )


def _said(saving: Saving) -> str:
    return between(saving.low, saving.high, saving.currency)


def _nothing(case: CostCase) -> str:
    if case.model is None:
        return "Nothing names a model whose cost could be looked through."
    unread = ", ".join(sorted({each.source for each in case.missing}))
    lacking = f" Not read: {unread}." if unread else ""
    if case.currency is None:
        return f"No cost of {case.model} is on record, so none can be saved.{lacking}"
    cost = money(case.spent, case.currency)
    return f"{case.model} has cost {cost} in {span(case.window.length)}, and nothing was found that would save enough.{lacking}"


def _dearer(case: CostCase) -> str | None:
    """Said where most of a rise that was told of is the price's: usage is as before, and no action makes that cheaper."""
    change, currency = case.change, case.currency
    if case.request is not None:
        return None
    if change is None and (rise := case.rise) is not None:
        if rise.by_price <= _HALF * rise.rise or rise.rise <= 0:
            return None
        part = min(float(rise.by_price / rise.rise), 1.0)
        what = f"{share(part)} of the rise by {money(rise.rise, rise.currency)} in {span(rise.window.length)}"
        return f"{what} is a change of prices, not of usage."
    if change is None or currency is None or not _rises(change):
        return None
    part = float(change.by_price / (change.after - change.before))
    if part <= _DOMINATES:
        return None
    more = money(change.after - change.before, currency)
    return f"{share(min(part, 1.0))} of the rise by {more} in the last day is a change of prices, not of usage."


def _risen_by(case: CostCase) -> Evidence | None:
    rise = case.rise
    if rise is None or not rise.sentences:
        return None
    before, after = money(rise.before, rise.currency), money(rise.after, rise.currency)
    return Evidence(
        id="rise",
        statement=f"{after} in {span(rise.window.length)}, and {before} in the same hours of the weeks before on average. "
        + " ".join(rise.sentences),
        source="costs",
        query="breakdown(by component, part, model, version, team, experiment, workload and resource)",
        value=float(rise.after),
        unit=rise.currency,
        limit=float(rise.before),
        window=rise.window,
    )


def _changed(case: CostCase) -> Evidence | None:
    change, currency = case.change, case.currency
    if change is None or currency is None:
        return None
    parts = [
        f"{', '.join(filter(None, each.at.values())) or 'nobody in particular'} {money(each.change, currency)}"
        for each in change.contributors[:3]
    ]
    what = f"; most of it: {'; '.join(parts)}" if parts else ""
    return Evidence(
        id="change",
        statement=f"The last day has cost {money(change.after, currency)}, a day before that {money(change.before, currency)} "
        f"on average{what}.",
        source="costs",
        query="breakdown(by component, workload and resource)",
        value=float(change.after),
        unit=f"{currency}/day",
        limit=float(change.before),
        window=case.window,
    )


def _choose(
    finding: Finding, case: CostCase, found: Sequence[Inefficiency], policies: Policies, now: datetime
) -> tuple[Action, str, Inefficiency | None]:
    if finding.cause is Cause.PRICE_CHANGE:
        return *tell(finding, case.alerts, policies, "prices are not ours to change"), None
    if found:
        best = found[0]
        return action_of(best.remedy), best.what, best
    if case.alerts and case.request is None and case.model is not None:
        return *tell(finding, case.alerts, policies, "nothing was found that would save it"), None
    if case.model is None:
        return *tell(finding, case.alerts, policies, "no model is named whose cost could be looked through"), None
    reason = plain(f"Looked at {now:%Y-%m-%d %H:%M} UTC: {finding.summary}", 2_000)
    return NoAction(reason=reason), "there is nothing to save", None
