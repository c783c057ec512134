"""A shadow beside the version that was served, request by request: whether both say the same, how soon, and what it takes."""

from typing import Any

from tools.clickhouse.connection import NoTable
from tools.predictions.port import Copies, Values
from tools.predictions.statements import Query
from tools.predictions.tallies import moments

_BOTH = "s.error IS NULL AND p.error IS NULL"
_CLASSES = f"{_BOTH} AND s.prediction IS NOT NULL AND p.prediction IS NOT NULL"


def copies(query: Query, version: str, beside: str) -> Copies | None:
    """Of the query's one window; None where nothing was copied."""
    labelled = f"{_CLASSES} AND toUnixTimestamp64Micro(labelled_at) != 0"
    statement = f"""
    SELECT count(), countIf(s.error IS NOT NULL), countIf(p.error IS NOT NULL), countIf({_BOTH}), countIf({_CLASSES}),
        countIf({_CLASSES} AND s.prediction = p.prediction), {moments(f"if({_BOTH}, abs(s.score - p.score), NULL)")},
        countIf({labelled}),
        countIf({labelled} AND s.prediction != label AND p.prediction = label),
        countIf({labelled} AND s.prediction = label AND p.prediction != label),
        quantilesExact(0.5, 0.99)(s.latency_us), quantilesExact(0.5, 0.99)(p.latency_us),
        {moments("s.cpu_us")}, {moments("p.cpu_us")}, {moments("p.cpu_us - s.cpu_us")}
    FROM {query.beside_shadows()}
    """
    try:
        ((requests, *found),) = query.rows(statement, {"shadow": version, "served": beside})
    except NoTable:  # made with the first copy
        return None
    if not requests:
        return None
    shadow_errors, served_errors, both, classes, same, *rest = found
    apart, (known, only_shadow, only_served, ours, theirs), costs = rest[:3], rest[3:8], rest[8:]
    return Copies(
        window=query.windows[0],
        shadow=version,
        served=beside,
        requests=requests,
        shadow_errors=shadow_errors,
        served_errors=served_errors,
        both=both,
        same=same if classes == both else None,
        apart=_values(apart),
        labelled=known,
        only_shadow_wrong=only_shadow,
        only_served_wrong=only_served,
        shadow_p50_ms=ours[0] / 1000,
        shadow_p99_ms=ours[1] / 1000,
        served_p50_ms=theirs[0] / 1000,
        served_p99_ms=theirs[1] / 1000,
        shadow_cpu_us=_values(costs[:3]),
        served_cpu_us=_values(costs[3:6]),
        saved_cpu_us=_values(costs[6:]),
    )


def _values(found: Any) -> Values:
    count, total, squares = found
    return Values(count=count, total=total or 0.0, squares=squares or 0.0)
