"""What becomes of a batch as a whole, by its schema: why it is refused, and what is worth a note."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from tools.quality.schema import TableSchema
from tools.quality.statistics import BatchStatistics, RuleCount

_SHOWN = 3
"""Rules named in a reason."""


def refusals(measured: BatchStatistics, schema: TableSchema, now: datetime) -> Iterator[str]:
    limits = schema.acceptance
    if measured.read < limits.min_rows:
        yield f"it has {measured.read:,} rows, and at least {limits.min_rows:,} are due"
    if measured.read and not measured.accepted:
        yield f"none of its {measured.read:,} rows keeps the schema: {_leading(measured.broken)}"
    elif measured.read and measured.bad_share > limits.max_bad_share:
        yield (
            f"{measured.quarantined:,} of its {measured.read:,} rows ({measured.bad_share:.1%}) do not keep the schema, "
            f"more than {limits.max_bad_share:.1%}: {_leading(measured.broken)}"
        )
    shares = {each.name: each.null_share for each in measured.columns}
    for column in schema.columns:
        share = shares.get(column.name, 0.0)
        if column.max_nulls is not None and share > column.max_nulls:
            yield f"{column.name}: {share:.1%} of the rows have no value, more than {column.max_nulls:.1%}"
    if schema.freshness is not None and schema.freshness.stale == "refuse":
        yield from _stale(measured, schema, now)


def notes(measured: BatchStatistics, schema: TableSchema, now: datetime) -> Iterator[str]:
    for each in measured.odd:
        yield f"{each.rows:,} with {'an' if each.rule == 'outlier' else 'a'} {each.rule}: {each.example}"
    if schema.freshness is not None and schema.freshness.stale == "note":
        yield from _stale(measured, schema, now)


def _stale(measured: BatchStatistics, schema: TableSchema, now: datetime) -> Iterator[str]:
    fresh = schema.freshness
    if fresh is None or fresh.max_age is None or measured.newest is None or now - measured.newest <= fresh.max_age:
        return
    yield f"{fresh.column}: its newest row is of {measured.newest:%Y-%m-%d %H:%M} UTC, older than {fresh.max_age}"


def _leading(broken: Iterable[RuleCount]) -> str:
    return "; ".join(f"{each.rows:,} times {each.example}" for each in list(broken)[:_SHOWN])
