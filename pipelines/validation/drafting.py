"""What was seen of a sample, as a schema in YAML, with the reason for each line as a comment."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from pipelines.validation.enforcing import shown
from pipelines.validation.inferring import ENOUGH, Sample, SampledColumn
from tools.quality.schema import Freshness, Outliers
from tools.quality.statistics import ColumnStatistics

MOST_ALLOWED = 50
"""Different values of a column that can be a list to read; more are a matter of rules, not of lists."""
_EACH = 20
"""Times each of them has to be there on average: values that are seldom seen twice are no list."""
_FEW_SHAPED = 20
"""Different values that a shape has to be common to."""
_LARGE = 2.0**62
_FAR_AHEAD = Freshness.model_fields["max_future"].default
_BAD = 0.05


def draft(sample: Sample, table: str, told: str, now: datetime) -> str:
    """`told`: what the sample is, for the head of the text."""
    return "\n".join(_lines(sample, table, told, now)) + "\n"


def _lines(sample: Sample, table: str, told: str, now: datetime) -> Iterator[str]:
    yield f"# Inferred from {_plain(told)}: {sample.rows:,} rows, on {now:%Y-%m-%d}."
    yield "# What was seen is not yet what has to be: read each line, keep what is a rule, and delete what was chance."
    yield "format: 1"
    yield f"table: {_scalar(table)}"
    if sample.left_out:
        names = ", ".join(f"{shown(name)} ({kind})" for name, kind in sample.left_out.items())
        yield f"extra_columns: keep  # a schema has no word for {names}: stored as they are and not looked at"
    else:
        yield "extra_columns: refuse  # a batch with a column more is refused; keep: it is stored and not looked at"
    yield "columns:"
    for column in sample.columns:
        yield from _column(column, sample.rows)
    yield from _rules(sample)
    yield from _keys(sample)
    yield from _freshness(sample, now)
    outliers = Outliers()
    yield "outliers:  # of every column that says nothing else"
    yield "  action: note  # or quarantine, or nothing"
    yield f"  robust_z: {outliers.robust_z:g}  # deviations from the median, and"
    yield f"  fence: {outliers.fence:g}  # interquartile ranges outside the quartiles"
    yield f"  min_share: {outliers.min_share:.4f}  # of a value among few different ones; rarer is odd"
    yield "acceptance:"
    share = sample.misfits / (sample.rows + sample.misfits)
    allowed = _BAD if share <= _BAD else min(1.0, math.ceil(share * 110) / 100)
    seen = f"{sample.misfits:,} rows of the sample ({share:.1%}) did not have the types of their columns"
    yield f"  max_bad_share: {allowed:g}  # with more rows quarantined the whole batch is refused; {seen}"
    yield "  min_rows: 1  # a batch without rows is refused"


def _column(column: SampledColumn, rows: int) -> Iterator[str]:
    seen = column.statistics
    about = f"{seen.distinct:,} different" if seen.exact else f"about {seen.distinct:,} different"
    yield f"  - name: {_scalar(column.name)}"
    yield f"    type: {column.type}  # {about}"
    if seen.nulls:
        yield f"    nullable: true  # {seen.nulls:,} of {rows:,} had no value ({seen.null_share:.1%})"
        most = min(1.0, math.ceil(seen.null_share * 200 + 1) / 100)
        if most < 1.0:
            yield f"    max_nulls: {most:g}  # twice as many and one in a hundred: beyond it the batch is refused"
    else:
        yield "    nullable: false  # every row had a value"
    if column.unique:
        yield f"    unique: true  # no value was there twice in {rows:,} rows"
    if column.type in ("integer", "number"):
        yield from _range(column)
    elif column.type == "text":
        yield from _text(column)
    elif column.newest is not None:
        yield f"    # the latest was {column.newest:%Y-%m-%d %H:%M}"


def _range(column: SampledColumn) -> Iterator[str]:
    seen = column.statistics
    if seen.minimum is None or seen.maximum is None:
        return
    if seen.not_finite:
        yield "    # no range: some numbers are so large that they look like marks for 'unknown'"
        return
    least, most = seen.minimum, seen.maximum
    width = (most - least) or abs(most) or 1.0
    whole = column.type == "integer"
    said = f"seen from {_figure(least, whole)} to {_figure(most, whole)}"
    if max(abs(least), abs(most)) > _LARGE:
        yield f"    # no range: {said}"
        return
    if least >= 0:
        yield f"    minimum: 0  # none was negative; {said}"
    else:
        yield f"    minimum: {_outward(least - width / 2, -1, whole)}  # {said}; half of that range is left on this side"
    if least >= 0 and most <= 1 and not whole:
        yield "    maximum: 1  # all were from 0 to 1: a share, by the looks of it"
    elif column.unique:
        yield "    # no maximum: where no value is there twice, the next ones may well be larger"
    else:
        yield f"    maximum: {_outward(most + width / 2, 1, whole)}  # {said}; half of that range is left on this side"


def _text(column: SampledColumn) -> Iterator[str]:
    seen = column.statistics
    if seen.complete and 0 < len(seen.top) <= MOST_ALLOWED and seen.count >= max(ENOUGH, _EACH * len(seen.top)):
        values = sorted(str(value) for value, _ in seen.top)
        counts = ", ".join(f"{shown(value)} {count:,} times" for value, count in seen.top[:5])
        yield f"    allowed: {_flow(values)}  # {counts}{' ...' if len(seen.top) > 5 else ''}"
    elif column.pattern is not None and seen.distinct >= _FEW_SHAPED:
        yield f"    pattern: {_scalar(column.pattern)}  # every value had this shape, such as {_example(seen)}"
    else:
        longest = max(16, 2 * column.longest)
        yield f"    max_length: {longest}  # twice the longest, which had {column.longest:,} characters"


def _rules(sample: Sample) -> Iterator[str]:
    if not sample.orders:
        yield "rules: []  # between columns, such as {name: in order, rule: arrival >= departure}"
        return
    yield "rules:"
    for first, second in sample.orders:
        yield f"  - name: {_scalar(f'{first} before {second}')}  # so it was in every row that has both"
        yield f"    rule: {_scalar(f'{_quoted(first)} <= {_quoted(second)}')}"


def _keys(sample: Sample) -> Iterator[str]:
    single = [each.name for each in sample.columns if each.unique]
    example = _flow(single[:1]) if single else "[customer, day]"
    yield "unique: []  # of several columns together, or in the whole table:"
    yield f"#  - columns: {example}"
    yield "#    across_batches: true  # each run then reads these columns of the table once"


def _freshness(sample: Sample, now: datetime) -> Iterator[str]:
    times = [each for each in sample.columns if each.type in ("time", "date") and each.newest is not None]
    timely = [each for each in times if each.newest is not None and each.newest.replace(tzinfo=UTC) <= now]
    if not timely:
        why = "its times lie in the future" if times else "there is no column of time"
        yield f"# freshness: {why}; otherwise {{column: ..., max_age: 2d, max_future: 5m}}"
        return
    yield "freshness:"
    others = ", ".join(shown(each.name) for each in times if each is not timely[0])
    yield f"  column: {_scalar(timely[0].name)}  # when it happened{f'; also of time: {others}' if others else ''}"
    yield f"  max_future: {_duration(_FAR_AHEAD)}  # rows from further ahead are quarantined: somebody's clock is wrong"
    newest = timely[0].newest
    assert newest is not None
    yield f"  # max_age: 2d  # of a batch's newest row; here it was {_age(now - newest.replace(tzinfo=UTC))} old"
    yield "  # stale: refuse  # otherwise an old batch is noted"


def _example(seen: ColumnStatistics) -> str:
    return shown(seen.top[0][0]) if seen.top else ""


def _outward(value: float, sign: int, whole: bool) -> str:
    """To two digits, away from what was seen."""
    scale = 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 1.0
    if whole:
        scale = max(1.0, scale)
    rounded = float(f"{(math.ceil(value / scale) if sign > 0 else math.floor(value / scale)) * scale:.6g}")
    if (rounded - value) * sign < 0:  # by rounding of the product
        rounded = value
    return str(math.ceil(rounded) if sign > 0 else math.floor(rounded)) if whole else _number(rounded)


def _number(value: float) -> str:
    """As YAML reads it as a number."""
    text = repr(value)
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if "e" in text else text


def _figure(value: float, whole: bool) -> str:
    return f"{value:,.0f}" if whole else f"{value:.6g}"


def _duration(value: timedelta) -> str:
    return f"{value.total_seconds() / 60:g}m"


def _age(value: timedelta) -> str:
    return f"{value.days:,} days" if value.days else f"{value.total_seconds() / 3600:.1f} hours"


def _quoted(name: str) -> str:
    plain = re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) and name.lower() not in _WORDS
    return name if plain else f"`{name}`"


_WORDS = {"and", "or", "not", "is", "in", "null", "true", "false"}


def _scalar(value: str) -> str:
    return _flow([value])[1:-1]


def _flow(values: list[Any]) -> str:
    return str(yaml.safe_dump(values, default_flow_style=True, allow_unicode=True, width=float("inf"))).strip()


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)
