"""Whether serving a version in INT8 pays, from what the platform's own job has measured; pure.

`pays` needs all of it shown: answers no worse than policy allows, no p99 worse, and a saving as large as policy asks, both
beside the original and beside the same weights in FP32 on the same runtime. `does_not_pay` is whatever is shown to be worse,
or too small. The rest is `inconclusive`: more rows or more rounds might tell. Small models may get slower in INT8; then this
says so.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from enum import StrEnum
from statistics import NormalDist, fmean, median, stdev

from agents.cost.quantization_rules import Margins, QuantizationRules
from agents.paired import p_value
from agents.statistics import holm, student_quantile
from agents.wording import counted, points, share
from tools.jobs.prices import Prices
from tools.registry.evaluations import Compared
from tools.registry.quantizations import Batch, Form, Quantization, per_thousand
from tools.values import Frozen


class Decision(StrEnum):
    PAYS = "pays"
    DOES_NOT_PAY = "does_not_pay"
    INCONCLUSIVE = "inconclusive"


class Weighed(Frozen):
    """One thing that was looked at, and what it says by itself."""

    name: str
    decision: Decision
    reason: str


class Saving(Frozen):
    """Of the processor's time per prediction, as a share of the other form's; negative where INT8 takes more."""

    beside: Form
    rows: int
    """The batch size."""
    value: float
    low: float
    high: float
    """Interval at 1 less twice the policy's significance over the rounds of the measurement, and policy's repeatability."""


class Priced(Frozen):
    """Of 1,000 predictions, for the processor's time alone."""

    currency: str
    rows: int
    """The batch size."""
    original: Decimal
    converted: Decimal
    quantized: Decimal


class Worth(Frozen):
    """What an INT8 version is worth."""

    decision: Decision
    reason: str
    """In one paragraph, for people."""
    weighed: tuple[Weighed, ...]
    """What speaks against it first."""
    saving: Saving
    """Beside the original."""
    own_saving: Saving
    """Beside FP32 on the same runtime."""
    size_factor: float
    """Bytes of the INT8 file over the original's."""
    cost: Priced | None = None
    """None: policy has no price."""

    @property
    def pays(self) -> bool:
        return self.decision is Decision.PAYS


def weigh(found: Quantization, rules: QuantizationRules, prices: Prices | None = None) -> Worth:
    """`prices`: of the serving layer; by default those of the rules. Raises ValueError when the batch size by which policy
    reckons was not measured."""
    batch = found.batch(rules.rows)
    if batch is None:
        sizes = [each.rows for each in found.batches]
        raise ValueError(f"quantization.rows: {rules.rows} is no batch size that was measured, {sizes} are")
    saving, own = (saving_of(batch, form, rules.significance, rules.repeatability) for form in ("original", "converted"))
    weighed = [
        *_answers(found, rules),
        *(_p99(each, rules) for each in found.batches),
        _saved(saving, rules.min_saving, "the original"),
        _saved(own, rules.min_own_saving, "the same weights in FP32 on the same runtime"),
    ]
    order = (Decision.DOES_NOT_PAY, Decision.INCONCLUSIVE, Decision.PAYS)
    weighed.sort(key=lambda each: order.index(each.decision))
    decision = weighed[0].decision
    prices = prices or rules.prices
    return Worth(
        decision=decision,
        reason=_told(found, decision, weighed, saving, own),
        weighed=tuple(weighed),
        saving=saving,
        own_saving=own,
        size_factor=found.quantized_bytes / max(found.original_bytes, 1),
        cost=_priced(batch, prices) if prices is not None else None,
    )


def saving_of(batch: Batch, beside: Form, significance: float, repeatability: float = 0.0) -> Saving:
    """From the ratios of the rounds, in each of which the forms took turns: Student's interval of the mean logarithm, and
    beyond it what two processes differ by."""
    logs = [math.log(ours / theirs) for ours, theirs in zip(batch.quantized.p50s_ms, batch.of(beside).p50s_ms, strict=True)]
    middle = fmean(logs)
    half = student_quantile(significance, len(logs) - 1) * stdev(logs) / math.sqrt(len(logs))
    half += math.log1p(repeatability)
    low, value, high = (1 - math.exp(each) for each in (middle + half, middle, middle - half))
    return Saving(beside=beside, rows=batch.rows, value=value, low=low, high=high)


def _saved(saving: Saving, least: float, beside: str) -> Weighed:
    said = (
        f"a prediction takes {_less(saving.value)} than {beside} in batches of {saving.rows} "
        f"({_signed(saving.low)} to {_signed(saving.high)})"
    )
    name = f"saving beside {saving.beside}"
    if saving.low >= least:
        return Weighed(name=name, decision=Decision.PAYS, reason=said)
    if saving.high < least:
        return Weighed(name=name, decision=Decision.DOES_NOT_PAY, reason=f"{said}, {share(least)} is asked for")
    return Weighed(
        name=name, decision=Decision.INCONCLUSIVE, reason=f"{said}, too wide to tell it from the {share(least)} asked for"
    )


def _p99(batch: Batch, rules: QuantizationRules) -> Weighed:
    ratios = [ours / theirs for ours, theirs in zip(batch.quantized.p99s_ms, batch.original.p99s_ms, strict=True)]
    ours, theirs = batch.quantized.p99_ms, batch.original.p99_ms
    said = f"p99 in batches of {batch.rows}: {ours:.3f} ms, the original's {theirs:.3f} ms"
    name = f"p99@{batch.rows}"
    if ours - theirs <= rules.min_p99_rise_ms or median(ratios) <= rules.max_p99_factor:
        return Weighed(name=name, decision=Decision.PAYS, reason=said)
    # Beyond chance: a sign test, because single p99s have no distribution that one could name.
    above = sum(each > rules.max_p99_factor for each in ratios)
    chance = sum(math.comb(len(ratios), k) for k in range(above, len(ratios) + 1)) / 2 ** len(ratios)
    decision = Decision.DOES_NOT_PAY if chance < rules.significance else Decision.INCONCLUSIVE
    return Weighed(name=name, decision=decision, reason=f"{said}, worse by more than {share(rules.max_p99_factor - 1)}")


def _answers(found: Quantization, rules: QuantizationRules) -> Iterator[Weighed]:
    large = [each for each in found.facts.compared if each.rows >= rules.min_rows]
    primary = [each for each in large if each.name in ("accuracy", "mae")]
    if not primary:
        rows = max((each.rows for each in found.facts.compared), default=0)
        yield Weighed(
            name="answers",
            decision=Decision.INCONCLUSIVE,
            reason=f"{counted(rows, 'labelled row')} were looked at, {rules.min_rows} are needed",
        )
    for fact in primary:
        yield no_worse(fact, rules)
    others = [each for each in large if each not in primary and each.name != "log_loss"]
    tested = [(each, p) for each in others if (p := p_value(each, "worse")) is not None]
    adjusted = holm([p for _, p in tested])
    for (fact, _), p in zip(tested, adjusted, strict=True):
        loss = _loss(fact)
        if p < rules.significance and loss > rules.max_accuracy_loss:
            yield Weighed(
                name=f"{fact.name} ({_where(fact)})",
                decision=Decision.DOES_NOT_PAY,
                reason=f"{_shown(fact)}, worse by more than {points(rules.max_accuracy_loss)} (p = {p:.2g})",
            )


def no_worse(fact: Compared, rules: Margins) -> Weighed:
    """Shown to be no worse by the margin (non-inferiority), shown to be worse by it, or neither."""
    relative = fact.name == "mae"
    margin = rules.max_error_rise if relative else rules.max_accuracy_loss
    low, high = _loss_between(fact, rules.significance)
    if relative:
        scale = abs(fact.champion) or math.inf
        low, high = low / scale, high / scale
    bound = share(margin) if relative else points(margin)
    worse = p_value(fact, "worse")
    tested = f", p = {worse:.2g} for being worse" if worse is not None else ""
    said = f"{_shown(fact)} (it loses {_signed(low, 2)} to {_signed(high, 2)}{tested})"
    name = f"{fact.name} ({_where(fact)})"
    if high < margin:
        return Weighed(name=name, decision=Decision.PAYS, reason=f"{said}, within {bound}")
    if low >= margin:
        return Weighed(name=name, decision=Decision.DOES_NOT_PAY, reason=f"{said}, more than {bound}")
    return Weighed(name=name, decision=Decision.INCONCLUSIVE, reason=f"{said}, not shown to be within {bound}")


def _loss_between(fact: Compared, significance: float) -> tuple[float, float]:
    """Bounds of how much worse INT8 is, each one-sided. Of shares by the discordant pairs with half a pair added to each cell
    (Agresti and Min 2005, Statistics in Medicine 24(5)); else by the resamples."""
    z = NormalDist().inv_cdf(1 - significance)
    if fact.discordance is not None:
        lost, won = fact.discordance.only_champion_right + 0.5, fact.discordance.only_candidate_right + 0.5
        n = fact.rows + 2
        middle = (lost - won) / n
        half = z * math.sqrt(max(lost + won - (lost - won) ** 2 / n, 0.0)) / n
        return middle - half, middle + half
    if not fact.resamples:
        return -math.inf, math.inf
    sign = -1 if fact.better == "higher" else 1
    half = z * stdev(fact.resamples)
    middle = sign * (fact.candidate - fact.champion)
    return middle - half, middle + half


def _loss(fact: Compared) -> float:
    return fact.champion - fact.candidate if fact.better == "higher" else fact.candidate - fact.champion


def _told(found: Quantization, decision: Decision, weighed: Sequence[Weighed], saving: Saving, own: Saving) -> str:
    against = [each.reason for each in weighed if each.decision is not Decision.PAYS]
    what = f"INT8 ({found.recipe}) of {found.model} {found.version}"
    size = f"{found.quantized_bytes:,} bytes in place of {found.original_bytes:,}"
    match decision:
        case Decision.PAYS:
            primary = next(each.reason for each in weighed if each.name.startswith(("accuracy", "mae")))
            return (
                f"{what} pays: {_saved(saving, 0.0, 'the original').reason}, and {_less(own.value)} than in FP32 on the same "
                f"runtime; {primary}; no p99 is worse; {size}."
            )
        case Decision.DOES_NOT_PAY:
            converting = ""
            if own.high <= 0 or (saving.value > 0 and own.value < saving.value / 2):
                alone = 1 - (1 - saving.value) / (1 - own.value)
                converting = f" Converting to ONNX in FP32 alone would take {_less(alone)}."
            shown = [each.reason for each in weighed if each.decision is Decision.DOES_NOT_PAY]
            return f"{what} does not pay: {'; '.join(shown)}.{converting}"
        case Decision.INCONCLUSIVE:
            return f"Whether {what} pays is not shown: {'; '.join(against)}."


def _priced(batch: Batch, prices: Prices) -> Priced:
    original, converted, quantized = (
        per_thousand(batch.of(form).p50_ms, batch.rows, prices) for form in ("original", "converted", "quantized")
    )
    return Priced(currency=prices.currency, rows=batch.rows, original=original, converted=converted, quantized=quantized)


def _shown(fact: Compared) -> str:
    return f"{fact.name.replace('_', ' ')} {fact.candidate:.4f}, the original's {fact.champion:.4f}, on {fact.rows:,} rows"


def _where(fact: Compared) -> str:
    return fact.window.replace("_", " ")


def _less(value: float) -> str:
    return f"{share(abs(value))} {'less' if value >= 0 else 'more'}"


def _signed(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}%}"
