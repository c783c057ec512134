"""Whether the batches of a table get worse, judged by what those before them were like.

A batch is worse in one respect when it differs by more than policy allows and by more than batches usually differ among each
other: robustly, by median and median deviation, so that a single odd batch among those before hides nothing and makes nothing.
What is looked at shares the significance equally between five respects, and within each between its columns (Bonferroni).
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Literal

from agents.freshness import Freshness, freshness
from agents.policies import Dataset
from agents.statistics import student_tail, two_proportions
from agents.wording import counted, number, points, share
from tools.quality.history import PastBatch
from tools.quality.statistics import BatchStatistics, ColumnStatistics
from tools.values import Frozen

Respect = Literal["refused", "rows", "quarantined", "nulls", "level", "spread", "new_values"]
_RESPECTS = 5
"""That are tested: rows, quarantined, nulls, level and spread, new values."""
_NORMAL = 1.4826
_QUARTILES = 1.349
"""Interquartile range of normal values, in standard deviations."""
_MEDIAN_NOISE = 1.2533
"""Standard error of a median of normal values, in those of a mean."""
_RANGE_NOISE = 1.573 / _QUARTILES
"""Standard error of the logarithm of their interquartile range, times the root of their number."""
_EFFICIENCY, _MOST_DEGREES = 0.37, 4.0
"""A median deviation of n values is as sure as a standard deviation of 0.37 n (Rousseeuw and Croux, 1993). More than four
degrees of freedom are not claimed however many batches there are: how batches differ has longer tails than the normal."""
_SEVERAL_A_DAY = timedelta(hours=12)
"""Tables with shorter pauses between their batches go by the hour of the day, others by the day of the week."""
_TWICE = 2
"""Batches that have to have had a value for it to be known: what one odd batch brought is still new."""
_TOP_FACTOR = 2.0
"""So many times more different values than ever before are too many to be listed: those beyond the list are new."""


class Degradation(Frozen):
    """One respect in which the latest batches are worse."""

    respect: Respect
    column: str = ""
    """Empty: it is of the batch."""
    value: float
    """Of the newest batch: a share, a number of rows, a median, an interquartile range."""
    usual: float
    p_value: float | None = None
    """That a batch like those before differs so much; None where it is certain."""
    summary: str


class Judgement(Frozen):
    bad: bool | None
    """None: too few batches have come."""
    degradations: tuple[Degradation, ...] = ()
    batches: int
    """That were compared with, before the judged ones."""
    summary: str
    freshness: Freshness


def judge(history: Sequence[PastBatch], policy: Dataset, now: datetime) -> Judgement:
    """`history`: oldest first."""
    fresh = freshness(history, policy, now)
    latest, before = list(history[-policy.in_a_row :]), list(history[: -policy.in_a_row])
    if len(latest) == policy.in_a_row and all(each.refused is not None for each in latest):
        # Whatever came before, nothing comes in any more.
        refused = Degradation(respect="refused", value=len(latest), usual=0, summary=_refusals(latest))
        return Judgement(bad=True, degradations=(refused,), batches=len(before), summary=_sentence([refused]), freshness=fresh)
    usual = [each for each in before if each.refused is None]
    if len(usual) < policy.min_history:
        some = "1 accepted batch" if len(usual) == 1 else f"{len(usual)} accepted batches"
        judged = "the one that is" if policy.in_a_row == 1 else f"the {policy.in_a_row} that are"
        told = f"Too few batches: {some} before {judged} judged, and {policy.min_history} are needed."
        return Judgement(bad=None, batches=len(usual), summary=told, freshness=fresh)
    found = [_worse(each, usual, policy) for each in latest if each.refused is None]
    lasting = [each for each in found[-1] if all(_has(others, each) for others in found)]
    return Judgement(
        bad=bool(lasting), degradations=tuple(lasting), batches=len(usual), summary=_sentence(lasting), freshness=fresh
    )


def _has(found: Sequence[Degradation], wanted: Degradation) -> bool:
    return any((each.respect, each.column) == (wanted.respect, wanted.column) for each in found)


def _worse(batch: PastBatch, usual: Sequence[PastBatch], policy: Dataset) -> list[Degradation]:
    """Than batches usually are, and than those of the same weekday or hour: a quiet Sunday is like other Sundays."""
    found = list(_beyond(batch, usual, policy, policy.significance / _RESPECTS, policy.min_history))
    alike = _alike(batch, usual)
    if not found or not alike:
        return found
    # Few as they are, they are only asked whether the difference is as large.
    also = list(_beyond(batch, alike, policy, math.inf, 1))
    return [each for each in found if each.respect == "new_values" or _has(also, each)]


def _alike(batch: PastBatch, usual: Sequence[PastBatch]) -> list[PastBatch]:
    pauses = [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(usual)]
    if not pauses:
        return []
    if median(pauses) < _SEVERAL_A_DAY.total_seconds():
        return [each for each in usual if each.at.hour == batch.at.hour]
    return [each for each in usual if each.at.weekday() == batch.at.weekday()]


def _beyond(batch: PastBatch, usual: Sequence[PastBatch], policy: Dataset, certain: float, least: int) -> Iterator[Degradation]:
    """`least`: batches that a column has to be compared with."""
    yield from _rows(batch, usual, policy, certain)
    yield from _quarantined(batch, usual, policy, certain)
    if batch.statistics is None or not batch.statistics.accepted:
        return
    before = _by_name(each.statistics for each in usual if each.statistics is not None and each.statistics.accepted)
    columns = [(now, [each for each in before.get(now.name, ()) if each.kind == now.kind]) for now in batch.statistics.columns]
    known = [(now, then) for now, then in columns if len(then) >= least]
    for now, then in known:
        certainly = certain / len(known)
        yield from _nulls(now, then, policy, certainly)
        numbers = [each for each in then if each.quantiles]
        if len(numbers) >= least:
            yield from _numbers(now, numbers, policy, certainly / 2)
        yield from _new_values(now, then, policy, certainly)


def _by_name(batches: Iterable[BatchStatistics]) -> Mapping[str, list[ColumnStatistics]]:
    """What each column was like, batch by batch: found by name, a table takes time in proportion to its width."""
    found: dict[str, list[ColumnStatistics]] = {}
    for batch in batches:
        for each in batch.columns:
            found.setdefault(each.name, []).append(each)
    return found


def _rows(batch: PastBatch, usual: Sequence[PastBatch], policy: Dataset, certain: float) -> Iterator[Degradation]:
    count, counts = batch.rows + batch.quarantined, [each.rows + each.quarantined for each in usual]
    middle = median(counts)
    if count >= policy.min_rows_share * middle:
        return
    p = _chance(math.log1p(count), [math.log1p(each) for each in counts], 1 / math.sqrt(max(1, middle)))
    if p < certain:
        summary = f"it had {count:,} rows, and usually there are {middle:,.0f}"
        yield Degradation(respect="rows", value=count, usual=middle, p_value=p, summary=summary)


def _quarantined(batch: PastBatch, usual: Sequence[PastBatch], policy: Dataset, certain: float) -> Iterator[Degradation]:
    shares = [each.bad_share for each in usual]
    middle, read = median(shares), batch.rows + batch.quarantined
    if not read or batch.bad_share - middle < policy.min_bad_rise:
        return
    p = _chance(batch.bad_share, shares, _share_noise(shares, read))
    if p < certain:
        why = batch.statistics.broken[0].example if batch.statistics is not None and batch.statistics.broken else ""
        summary = f"{share(batch.bad_share)} of its rows were quarantined, usually {share(middle)}"
        summary += f" (most often {why[:200]!r})" if why else ""
        yield Degradation(respect="quarantined", value=batch.bad_share, usual=middle, p_value=p, summary=summary)


def _nulls(now: ColumnStatistics, then: Sequence[ColumnStatistics], policy: Dataset, certain: float) -> Iterator[Degradation]:
    shares = [each.null_share for each in then]
    middle = median(shares)
    if now.null_share - middle < policy.min_null_rise:
        return
    p = _chance(now.null_share, shares, _share_noise(shares, now.rows))
    if p < certain:
        rise = points(now.null_share - middle)
        summary = f"{now.name} has no value in {share(now.null_share)} of the rows, {rise} more than usual"
        yield Degradation(respect="nulls", column=now.name, value=now.null_share, usual=middle, p_value=p, summary=summary)


def _numbers(now: ColumnStatistics, then: Sequence[ColumnStatistics], policy: Dataset, certain: float) -> Iterator[Degradation]:
    if now.kind != "numeric" or not now.quantiles:
        return
    levels, ranges = [_level(each) for each in then], [_range(each) for each in then]
    level, width, usual_width = _level(now), _range(now), median(ranges)
    within = usual_width / _QUARTILES
    root = math.sqrt(max(1, now.count))
    if abs(level - median(levels)) > policy.min_level_shift * within:
        p = _chance(level, levels, _MEDIAN_NOISE * within / root)
        if p < certain:
            summary = f"the median of {now.name} is {number(level)}, usually {number(median(levels))}"
            yield Degradation(respect="level", column=now.name, value=level, usual=median(levels), p_value=p, summary=summary)
    if not usual_width:
        return
    times = width / usual_width
    if times > policy.spread_factor or times < 1 / policy.spread_factor:
        widths = [math.log(each) if each else -math.inf for each in ranges]
        p = _chance(math.log(width) if width else -math.inf, widths, _RANGE_NOISE / root)
        if p < certain:
            how = f"{times:.1f} times" if times > 1 else share(times)
            summary = (
                f"{now.name} spreads {how} as wide as usual" if times > 1 else f"{now.name} spreads {how} of what is usual"
            )
            yield Degradation(respect="spread", column=now.name, value=width, usual=usual_width, p_value=p, summary=summary)


def _new_values(
    now: ColumnStatistics, then: Sequence[ColumnStatistics], policy: Dataset, certain: float
) -> Iterator[Degradation]:
    """Of columns of words that had few enough of them to be listed."""
    if now.kind not in ("categorical", "boolean") or not now.count or not all(each.complete for each in then):
        return
    most = max(each.distinct for each in then)
    seen: Counter[str | bool] = Counter()
    usual = []
    for place, each in enumerate(then):
        if place >= len(then) // 2:
            usual.append(_novelty(each, seen, most) / each.count if each.count else 0.0)
        seen.update(value for value, _ in each.top)
    rows, middle = _novelty(now, seen, most), median(usual)
    if rows / now.count - middle < policy.min_new_share:
        return
    total = sum(each.count for each in then)
    p = two_proportions(rows, now.count, round(middle * total), total)
    if p < certain:
        shown = ", ".join(repr(str(value)[:40]) for value, _ in now.top if seen[value] < _TWICE)
        summary = f"{share(rows / now.count)} of the rows have values of {now.name} that were hardly ever there"
        summary += f", such as {shown}" if shown else ""
        yield Degradation(
            respect="new_values", column=now.name, value=rows / now.count, usual=middle, p_value=p, summary=summary
        )


def _novelty(column: ColumnStatistics, seen: Mapping[str | bool, int], most: int) -> int:
    """Rows with values that hardly any batch had. `most`: different values that a batch had before."""
    rows = sum(count for value, count in column.top if seen[value] < _TWICE)
    if not column.complete and column.distinct > _TOP_FACTOR * most:
        rows += column.count - sum(count for _, count in column.top)
    return rows


def _chance(value: float, usual: Sequence[float], noise: float) -> float:
    """How likely a batch like the usual ones is so far out. `noise`: what chance alone does to `value`, as a standard error."""
    finite = [each for each in usual if math.isfinite(each)]
    if not finite or not math.isfinite(value):
        return 0.0 if len(finite) == len(usual) else 1.0
    middle = median(finite)
    differ = _NORMAL * median(abs(each - middle) for each in finite)
    scale = math.hypot(differ, noise) * math.sqrt(1 + math.pi / (2 * len(finite)))
    if not scale:
        return 1.0 if value == middle else 0.0
    return student_tail((value - middle) / scale, max(1.0, min(_MOST_DEGREES, _EFFICIENCY * (len(finite) - 1))))


def _share_noise(shares: Sequence[float], rows: int) -> float:
    usual = (median(shares) * rows + 1) / (rows + 2)
    return math.sqrt(usual * (1 - usual) / rows)


def _level(column: ColumnStatistics) -> float:
    return column.quantile(0.5) or 0.0


def _range(column: ColumnStatistics) -> float:
    return (column.quantile(0.75) or 0.0) - (column.quantile(0.25) or 0.0)


def _refusals(latest: Sequence[PastBatch]) -> str:
    last = (latest[-1].refused or "")[:300]
    return f"the latest {counted(len(latest), 'batch').replace('batchs', 'batches')} were refused, the last because {last}"


def _sentence(found: Sequence[Degradation]) -> str:
    if not found:
        return "The latest batches are like those before."
    told = "; ".join(each.summary for each in found[:5])
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return f"Worse than before: {told}{more}."
