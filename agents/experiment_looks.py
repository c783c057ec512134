"""From what was measured to what is judged, and to what people are told of it: pure."""

from datetime import datetime, timedelta

from agents.actions import StartExperiment
from agents.evidence import Cause, Evidence, Finding, Hypothesis
from agents.experiment_facts import Exposed, Observed
from agents.experiments import Arm, Call, Outcome, judge
from agents.promotion_rules import Experiments
from agents.rollout_facts import Values
from agents.wording import counted
from tools.predictions import port
from tools.predictions.port import Exposures
from tools.values import Frozen, Instant, Window


class Look(Frozen):
    """One look at an experiment."""

    at: Instant
    outcome: Outcome
    units: dict[str, int]
    """By arm: entities that were exposed."""
    mixed: int
    anonymous: int

    @property
    def calls(self) -> dict[str, Call]:
        return {each.name: each.call for each in self.outcome.arms}


def rules_of(action: StartExperiment) -> Experiments:
    """As they were approved."""
    own = {name: value for name in ("shortest", "longest") if (value := getattr(action.plan, name)) is not None}
    rules = action.rules.model_copy(update=own)
    # Either may have been given alone, and what policy says of the other stands beside it.
    return rules if rules.longest >= rules.shortest else rules.model_copy(update={"shortest": rules.longest})


def take(action: StartExperiment, found: Exposures, window: Window, now: datetime) -> Look:
    """`window`: what was counted, from the beginning of the experiment on."""
    seen = observed(action, found, window)
    units = {arm: sum(each[arm].units for each in seen.periods if arm in each) for arm in seen.weights}
    return Look(
        at=now,
        outcome=judge(rules_of(action), seen, now),
        units=units,
        mixed=found.mixed,
        anonymous=found.anonymous,
    )


def observed(action: StartExperiment, found: Exposures, window: Window) -> Observed:
    plan, step = action.plan, action.rules.look_every
    due_until = window.end - plan.outcomes_after
    periods: dict[datetime, dict[str, Exposed]] = {}
    for each in found.steps:
        periods.setdefault(each.start, {})[each.version] = _exposed(action, each, due=each.start + step <= due_until)
    return Observed(
        goal=plan.goal,
        guardrails=plan.guardrails,
        control=action.from_version,
        weights={version: float(weight) for version, weight in action.weights.items()},
        started=window.start,
        mixed=found.mixed,
        periods=tuple(periods[start] for start in sorted(periods)),
    )


def _exposed(action: StartExperiment, step: port.Exposed, *, due: bool) -> Exposed:
    """`due`: whether its labels and values have had their time."""
    hits: dict[str, int] = {}
    known: dict[str, int] = {}
    values: dict[str, Values] = {}
    for goal in action.plan.goals:
        match goal.name:
            case "errors":
                hits["errors"] = step.failed
            case "slow" if step.slow is not None:
                hits["slow"] = step.slow
            case "wrong" if due:
                hits["wrong"], known["wrong"] = step.wrong, step.labelled
            case "latency_ms":
                sums = step.latency_ms
                values["latency_ms"] = Values(count=sums.count, total=sums.total, squares=sums.squares)
            case "slow" | "wrong":
                pass
            case name if due and goal.kind == "share":
                hits[name] = step.positive.get(name, 0)
            case name if due:
                # Who has brought nothing has brought nought.
                brought = step.values.get(name, Values())
                values[name] = Values(count=step.entities, total=brought.total, squares=brought.squares)
            case _:
                pass
    return Exposed(units=step.entities, hits=hits, known=known, values=values)


def harmful(look: Look) -> tuple[Arm, ...]:
    """Any arm that harms ends the experiment: whom it has answered cannot be given to another arm and still be counted."""
    return tuple(each for each in look.outcome.arms if each.call is Call.HARMFUL)


def winner(look: Look) -> Arm | None:
    """The arm to be made champion: of several, the one that is better by most."""
    if look.outcome.call is not Call.WINNER:
        return None
    return next(each for each in look.outcome.arms if each.name == look.outcome.leading)


def finding(action: StartExperiment, look: Look, arm: Arm, asked: Finding) -> Finding:
    """That a treatment has won. `asked`: of the request that the experiment began with."""
    evidence = tuple(_evidence(action, look, each) for each in look.outcome.arms)
    summary = f"Version {arm.name} has won its experiment beside champion {action.from_version}: {arm.reason}"
    if arm.name not in asked.examined:
        summary += " It has not been evaluated by a job of the platform's own, or its files have not passed the checks."
    own = tuple(each.id for each in evidence if each.id == f"experiment.{arm.name}")
    return Finding(
        cause=Cause.CANDIDATE_BETTER,
        summary=summary,
        hypotheses=(Hypothesis(cause=Cause.CANDIDATE_BETTER, score=0.9, reason=summary, supporting=own),),
        evidence=evidence,
        missing=asked.missing,
        model=action.model,
        version=arm.name,
        previous_version=action.from_version,
        examined=asked.examined,
        assessed_at=look.at,
    )


def _evidence(action: StartExperiment, look: Look, arm: Arm) -> Evidence:
    units = look.units.get(arm.name, 0)
    return Evidence(
        id=f"experiment.{arm.name}"[:200],
        statement=f"Version {arm.name}, {counted(units, 'entity').replace('entitys', 'entities')}: {arm.effect}.",
        source="predictions",
        query=f"exposures({action.model}, {', '.join(action.weights)})",
        value=arm.effect.difference,
        sample_size=units,
    )


def told(look: Look) -> str:
    """For the notification that something has come of it."""
    lines = [look.outcome.reason, ""]
    lines += [
        f"- version {each.name}: {each.effect}; {'; '.join(map(str, each.guardrails)) or 'no guardrails'}"
        for each in look.outcome.arms
    ]
    total = sum(look.units.values())
    lines += [f"- entities: {', '.join(f'version {arm} {count:,}' for arm, count in look.units.items())}"]
    lines += [f"- split as assigned: p = {look.outcome.mismatch:.2g}; answered by two arms: {look.mixed:,} beside {total:,}"]
    return "\n".join(lines)


def lasts(window: Window, step: timedelta) -> Window | None:
    """The whole steps of it; None while there is none."""
    whole = window.length // step * step
    return Window(start=window.start, end=window.start + whole) if whole else None
