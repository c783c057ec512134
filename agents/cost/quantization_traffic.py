"""Whether INT8 pays on live traffic: an INT8 version as a shadow beside the version that serves, over the same requests; pure.

What a job has measured says what INT8 is worth on held-out rows and full batches. Mirrored requests say whether traffic is like
that: the same answers, no failures of its own, no slower, and the saving in what the gateway meters.
"""

import math
from statistics import NormalDist

from agents.cost.quantization import Decision, Weighed, no_worse
from agents.cost.quantization_rules import Margins
from agents.statistics import mcnemar, wilson
from agents.wording import counted, share
from tools.predictions.port import Copies, Values
from tools.registry.evaluations import Compared, Discordance
from tools.values import Frozen


class OnTraffic(Frozen):
    decision: Decision
    reason: str
    """In one paragraph, for people."""
    weighed: tuple[Weighed, ...]
    """What speaks against it first."""
    saving: float | None = None
    """Of the processor's time of a prediction, as a share of the served version's; None where the two are not known."""
    low: float | None = None
    high: float | None = None
    """Interval at 1 less twice the policy's significance, over the requests."""


def weigh_copies(found: Copies | None, rules: Margins) -> OnTraffic:
    """`found`: of the shadow's window (`PredictionReader.copies`)."""
    if found is None or found.requests < rules.min_rows:
        said = f"{counted(found.requests if found is not None else 0, 'mirrored request')}, {rules.min_rows} are needed"
        few = Weighed(name="requests", decision=Decision.INCONCLUSIVE, reason=said)
        return OnTraffic(decision=few.decision, reason=f"Too little traffic: {said}.", weighed=(few,))
    interval = _saving(found, rules.significance)
    weighed = [_failures(found, rules), _answers(found, rules), _latency(found, rules), _cost(interval, rules)]
    order = (Decision.DOES_NOT_PAY, Decision.INCONCLUSIVE, Decision.PAYS)
    weighed.sort(key=lambda each: order.index(each.decision))
    decision = weighed[0].decision
    shown = [each.reason for each in weighed if each.decision is decision]
    told = f"Version {found.shadow} beside {found.served} on {counted(found.requests, 'mirrored request')}"
    value, low, high = interval if interval is not None else (None, None, None)
    return OnTraffic(
        decision=decision,
        reason=f"{told}: {'; '.join(shown)}.",
        weighed=tuple(weighed),
        saving=value,
        low=low,
        high=high,
    )


def _failures(found: Copies, rules: Margins) -> Weighed:
    said = f"{counted(found.shadow_errors, 'request')} failed in it, {found.served_errors} in the served version"
    if found.shadow_errors <= found.served_errors:
        return Weighed(name="failures", decision=Decision.PAYS, reason=said)
    chance = mcnemar(found.shadow_errors, found.served_errors)
    decision = Decision.DOES_NOT_PAY if chance < rules.significance else Decision.INCONCLUSIVE
    return Weighed(name="failures", decision=decision, reason=f"{said} (p = {chance:.2g})")


def _answers(found: Copies, rules: Margins) -> Weighed:
    if found.labelled >= rules.min_rows:
        # Of those that both got right or both wrong nothing is known apart, and nothing depends on it.
        lost, won = found.only_shadow_wrong, found.only_served_wrong
        fact = Compared(
            name="accuracy",
            window="recent",
            candidate=1 - lost / found.labelled,
            champion=1 - won / found.labelled,
            rows=found.labelled,
            discordance=Discordance(only_candidate_right=won, only_champion_right=lost),
        )
        judged = no_worse(fact, rules)
        said = (
            f"of {counted(found.labelled, 'labelled answer')} {lost} are wrong in INT8 alone, {won} in the served version alone"
        )
        return judged.model_copy(update={"name": "answers", "reason": said})
    if found.same is None:
        return Weighed(
            name="answers", decision=Decision.INCONCLUSIVE, reason="it answers with numbers, and too few labels have come"
        )
    other = found.both - found.same
    low, high = wilson(other, found.both, 2 * rules.significance)
    said = f"{counted(other, 'answer')} of {found.both:,} are another class ({low:.2%} to {high:.2%})"
    bound = share(rules.max_disagreement)
    if high < rules.max_disagreement:
        return Weighed(name="answers", decision=Decision.PAYS, reason=f"{said}, within {bound}")
    decision = Decision.DOES_NOT_PAY if low >= rules.max_disagreement else Decision.INCONCLUSIVE
    return Weighed(name="answers", decision=decision, reason=f"{said}, {bound} is allowed without labels")


def _latency(found: Copies, rules: Margins) -> Weighed:
    said = f"p99 of a request {found.shadow_p99_ms:.2f} ms, the served version's {found.served_p99_ms:.2f} ms"
    rise = found.shadow_p99_ms - found.served_p99_ms
    fine = rise <= rules.min_p99_rise_ms or found.shadow_p99_ms <= rules.max_p99_factor * found.served_p99_ms
    return Weighed(name="latency", decision=Decision.PAYS if fine else Decision.DOES_NOT_PAY, reason=said)


def _cost(interval: tuple[float, float, float] | None, rules: Margins) -> Weighed:
    if interval is None:
        return Weighed(
            name="cost", decision=Decision.INCONCLUSIVE, reason="the processor's time of the two is not known together"
        )
    value, low, high = interval
    said = f"a prediction takes {share(abs(value))} {'less' if value >= 0 else 'more'} ({low:.1%} to {high:.1%})"
    if low >= rules.min_saving:
        return Weighed(name="cost", decision=Decision.PAYS, reason=said)
    decision = Decision.DOES_NOT_PAY if high < rules.min_saving else Decision.INCONCLUSIVE
    return Weighed(name="cost", decision=decision, reason=f"{said}, {share(rules.min_saving)} is asked for")


def _saving(found: Copies, significance: float) -> tuple[float, float, float] | None:
    """Value and bounds, as shares of what the served version takes; by the normal distribution of a mean over hundreds."""
    saved, served = found.saved_cpu_us, found.served_cpu_us
    if saved.count < 2 or not served.count or served.total <= 0:
        return None
    whole = served.total / served.count
    mean, half = saved.total / saved.count, NormalDist().inv_cdf(1 - significance) * _error(saved)
    return mean / whole, (mean - half) / whole, (mean + half) / whole


def _error(values: Values) -> float:
    """Standard error of the mean."""
    mean = values.total / values.count
    variance = max(0.0, values.squares / values.count - mean * mean) * values.count / (values.count - 1)
    return math.sqrt(variance / values.count)
