"""What answering took, by step and version, and what the log of it takes: what costs are metered by.

Sums are of whole tenths of a microsecond, so that they are the same whichever way the engine adds them up: a bill is corrected
when its usage differs, and must not be for a rounding.
"""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from tools.clickhouse.connection import NoTable
from tools.predictions.connection import translated
from tools.predictions.port import Work
from tools.predictions.schema import predictions_table, shadows_table, tables_of
from tools.predictions.statements import Query

_MICROSECOND = timedelta(microseconds=1)
_TENTHS = Decimal(10_000_000)
"""Of a microsecond, in a second."""
_DAY_US = 86_400_000_000
"""No batch took longer; what says so is no measurement."""
_SLOT = "intDiv(toUnixTimestamp64Micro(at) - {start0:Int64}, {step:Int64})"
_SUM = f"sumIf(toInt64(round(cpu_us * 10)), ifNull(cpu_us >= 0 AND cpu_us < {_DAY_US}, 0))"


def works(query: Query, step: timedelta) -> tuple[Work, ...]:
    """Of the query's one window."""
    given = {"step": step // _MICROSECOND}
    tokens = {(place, version): found for place, version, *found in _tokens(query, given)}
    found = []
    for table, shadow in ((predictions_table(query.model), False), (shadows_table(query.model), True)):
        for place, version, count, tenths in _answered(query, table, given):
            read, written = (0, 0) if shadow else tokens.get((place, version), (0, 0))
            found.append(
                Work(
                    start=query.windows[0].start + place * step,
                    version=version,
                    shadow=shadow,
                    predictions=count,
                    cpu_seconds=Decimal(tenths or 0) / _TENTHS,
                    prompt_tokens=read or 0,
                    completion_tokens=written or 0,
                )
            )
    return tuple(sorted(found, key=lambda each: (each.start, each.shadow, each.version)))


def stored(client: Any, models: Sequence[str]) -> dict[str, int]:
    """Bytes on disk of the tables of each."""
    owners = {table: model for model in models for table in tables_of(model)}
    query = """
    SELECT table, sum(bytes_on_disk) FROM system.parts
    WHERE active AND database = currentDatabase() AND table IN {tables:Array(String)} GROUP BY table
    """
    with translated():
        rows = client.query(query, parameters={"tables": sorted(owners)}).result_rows
    sizes = dict.fromkeys(models, 0)
    for table, size in rows:
        sizes[owners[table]] += size
    return sizes


def _answered(query: Query, table: str, given: dict[str, Any]) -> Sequence[Any]:
    statement = f"SELECT {_SLOT} AS slot, version, count(), {_SUM} FROM {query.within(table)} GROUP BY slot, version"
    try:
        return query.rows(statement, given)
    except NoTable:  # that of shadows is made with the first
        return ()


def _tokens(query: Query, given: dict[str, Any]) -> Sequence[Any]:
    columns = ("at", "version", "prompt_tokens", "completion_tokens")
    statement = f"""
    SELECT {_SLOT} AS slot, version, sum(prompt_tokens), sum(completion_tokens) FROM {query.usage(columns)}
    GROUP BY slot, version
    """
    try:
        return query.rows(statement, given)
    except NoTable:  # it is no language model
        return ()
