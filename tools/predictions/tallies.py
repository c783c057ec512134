"""Two versions step by step, as a rollout is looked at: what each answered, how right that was, what it cost and was worth."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from tools.clickhouse.connection import NoTable
from tools.predictions.port import Mirrored, Tally, Values
from tools.predictions.statements import Query

_MICROSECOND = timedelta(microseconds=1)
_MICROS_OF_AN_HOUR = 3.6e9
_SLOT = "intDiv(toUnixTimestamp64Micro({at}) - {{start0:Int64}}, {{step:Int64}})"
_NUMBER = "toFloat64OrNull(label)"


def tallies(
    query: Query, step: timedelta, slow_ms: float | None, metric: str | None, cpu_hour: float, currency: str | None
) -> tuple[Tally, ...]:
    """Of the query's one window."""
    slot = _SLOT.format(at="at")
    labelled = f"""
    SELECT {slot} AS slot, version, count(), count(prediction), countIf(label != prediction),
        {moments(f"if(prediction IS NULL, abs(score - {_NUMBER}), NULL)")}
    FROM {query.labelled(("at", "version", "prediction", "score"))} GROUP BY slot, version
    """
    given = _given(step, slow_ms, cpu_hour)
    right = {(place, version): found for place, version, *found in query.rows(labelled, given)}
    worth = _worth(query, slot, metric, given) if metric is not None else {}
    found = []
    for place, version, count, errors, slow, *costs in _answered(query, slot, currency, given):
        n, classified, wrong, *losses = right.get((place, version), (0, 0, 0, 0, 0.0, 0.0))
        found.append(
            Tally(
                start=query.windows[0].start + place * step,
                version=version,
                count=count,
                errors=errors,
                slow=slow if slow_ms is not None else None,
                labelled=n,
                wrong=wrong if classified == n else None,
                loss=_values(losses) if not classified else None,
                cost=_values(costs) if costs[0] else None,
                metric=worth.get((place, version), Values()) if metric is not None else None,
            )
        )
    return tuple(found)


def mirrored(
    query: Query, version: str, beside: str, step: timedelta, slow_ms: float | None, cpu_hour: float
) -> tuple[Mirrored, ...]:
    """Of the query's one window. A step's place is the served prediction's, which is the copy's as well."""
    sides = ("s", "p")
    both = "s.error IS NULL AND p.error IS NULL AND toUnixTimestamp64Micro(labelled_at) != 0"
    classes = f"{both} AND s.prediction IS NOT NULL AND p.prediction IS NOT NULL"
    misses = [
        f"if({both} AND s.prediction IS NULL AND p.prediction IS NULL, abs({each}.score - {_NUMBER}), NULL)" for each in sides
    ]
    parts = [
        "count()",
        f"countIf({classes})",
        f"countIf({classes} AND s.prediction != label AND p.prediction = label)",
        f"countIf({classes} AND s.prediction = label AND p.prediction != label)",
    ]
    for side, miss in zip(sides, misses, strict=True):
        parts += [f"countIf({side}.error IS NOT NULL)", f"countIf({side}.latency_us > {{slow:Float64}})"]
        parts += [moments(f"{side}.cpu_us * {{each:Float64}}"), moments(miss)]
    statement = f"""
    SELECT {_SLOT.format(at="p.at")} AS slot, {", ".join(parts)} FROM {query.beside_shadows()} GROUP BY slot ORDER BY slot
    """
    given = {**_given(step, slow_ms, cpu_hour), "shadow": version, "served": beside}
    try:
        rows = query.rows(statement, given)
    except NoTable:  # made with the first copy
        return ()
    found = []
    for place, count, labelled, only_shadow, only_served, *rest in rows:
        start = query.windows[0].start + place * step
        made = [_side(start, name, count, labelled, slow_ms, own) for name, own in ((version, rest[:8]), (beside, rest[8:]))]
        found.append(
            Mirrored(
                start=start,
                shadow=made[0],
                served=made[1],
                labelled=labelled,
                only_shadow_wrong=only_shadow,
                only_served_wrong=only_served,
            )
        )
    return tuple(found)


def _side(start: Any, version: str, count: int, labelled: int, slow_ms: float | None, own: Sequence[Any]) -> Tally:
    errors, slow, *moments = own
    costs, losses = moments[:3], moments[3:]
    return Tally(
        start=start,
        version=version,
        count=count,
        errors=errors,
        slow=slow if slow_ms is not None else None,
        labelled=labelled,
        wrong=None,
        loss=_values(losses) if not labelled else None,
        cost=_values(costs) if costs[0] else None,
    )


def _answered(query: Query, slot: str, currency: str | None, given: dict[str, Any]) -> Sequence[Any]:
    """What was answered by slot and version, and the moments of what that cost: the processor's time, and of a language model
    its tokens in that currency. A call of one without such a price has no cost that is known."""
    columns, cpu = ("at", "version", "error", "latency_us", "cpu_us"), "cpu_us * {each:Float64}"

    def asked(rows: str, cost: str) -> str:
        return f"""
        SELECT {slot} AS slot, version, count(), countIf(error IS NOT NULL), countIf(latency_us > {{slow:Float64}}),
            {moments(cost)}
        FROM {rows} GROUP BY slot, version ORDER BY slot, version
        """

    if currency is not None:
        priced = f"""(
            SELECT {", ".join(f"p.{name} AS {name}" for name in columns)}, u.id != '' AS language,
                if(u.currency = {{currency:String}}, toFloat64(u.cost), NULL) AS tokens
            FROM {query.predictions(("id", *columns))} AS p
            LEFT JOIN {query.usage(("id", "cost", "currency"))} AS u ON p.id = u.id
        )"""
        with suppress(NoTable):  # it is no language model
            return query.rows(asked(priced, f"if(language, tokens + ifNull({cpu}, 0), {cpu})"), {**given, "currency": currency})
    return query.rows(asked(query.predictions(columns), cpu), given)


def _worth(query: Query, slot: str, metric: str, given: dict[str, Any]) -> dict[tuple[int, str], Values]:
    """By place and version."""
    statement = f"""
    SELECT {slot} AS slot, version, {moments("value")} FROM {query.valued(("at", "version"))} GROUP BY slot, version
    """
    try:
        rows = query.rows(statement, {**given, "metric": metric})
    except NoTable:  # made with the first value
        return {}
    return {(place, version): _values(moments) for place, version, *moments in rows}


def moments(x: str) -> str:
    """SQL of how many finite ones, their sum and the sum of their squares. One that is not known is none."""
    of = f"ifNull(isFinite({x}), 0)"
    return f"countIf({of}), sumIf({x}, {of}), sumIf(({x}) * ({x}), {of})"


def _values(moments: Sequence[Any]) -> Values:
    count, total, squares = moments
    return Values(count=count, total=total or 0.0, squares=squares or 0.0)


def _given(step: timedelta, slow_ms: float | None, cpu_hour: float) -> dict[str, Any]:
    slow = 1000 * slow_ms if slow_ms is not None else 0.0
    return {"step": step // _MICROSECOND, "slow": slow, "each": cpu_hour / _MICROS_OF_AN_HOUR}
