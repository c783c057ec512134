"""What the ledger is asked. Runs where the engine is; the sums are made there, in decimals."""

from datetime import datetime
from typing import Any

from tools.clickhouse.connection import NoTable, translated
from tools.costs.port import MOST_CELLS, Amount, Dimension, Line, Question, Step
from tools.costs.schema import LINE, NAME, Store, in_utc, line
from tools.errors import PermanentError
from tools.values import Window

_STARTS = {Step.HOUR: "toStartOfHour(start)", Step.DAY: "toStartOfDay(start)", Step.MONTH: "toStartOfMonth(start)"}
_WITHIN = "start >= {first:DateTime64(6, 'UTC')} AND start < {end:DateTime64(6, 'UTC')}"


def ping(store: Store) -> None:
    with translated(NAME):
        store.client().query("SELECT 1")


def breakdown(store: Store, question: Question) -> tuple[Amount, ...]:
    by = [each.value for each in question.by]
    step = [] if question.step is None else [f"toDateTime64({_STARTS[question.step]}, 6, 'UTC') AS step"]
    # The names of columns are of our own enumeration; everything else is bound.
    wheres = "".join(f" AND {each.value} IN {{of_{each.value}:Array(String)}}" for each in question.where)
    quantity = "sum(quantity)" if Dimension.RESOURCE in question.by else "CAST(NULL, 'Nullable(Float64)')"
    keys = [*(["step"] if step else []), "currency", *by]
    query = f"""
    SELECT {", ".join([*step, "currency", *by])}, sum(cost), {quantity} FROM cost_lines FINAL
    WHERE {_WITHIN}{wheres} GROUP BY {", ".join(keys)} ORDER BY {", ".join(keys)}
    LIMIT {{limit:UInt32}}
    SETTINGS do_not_merge_across_partitions_select_final = 1
    """
    bound = (
        _bound(question.window)
        | {"limit": MOST_CELLS + 1}
        | {f"of_{each.value}": list(values) for each, values in question.where.items()}
    )
    cells = _rows(store, query, bound)
    if len(cells) > MOST_CELLS:
        raise PermanentError(f"by: more than {MOST_CELLS:,} cells; ask for fewer dimensions, longer steps or a shorter window")
    amounts = []
    for found in cells:
        start, rest = (in_utc(found[0]), found[1:]) if step else (None, found)
        currency, *words, cost, quantity_sum = rest
        at = dict(zip(question.by, words, strict=True))
        amounts.append(Amount(start=start, at=at, cost=cost, currency=currency, quantity=quantity_sum))
    return tuple(amounts)


def lines(store: Store, window: Window, after: str, most: int) -> tuple[tuple[str, Line], ...]:
    query = f"""
    SELECT {", ".join(LINE)} FROM cost_lines FINAL WHERE {_WITHIN} AND id > {{after:String}}
    ORDER BY id LIMIT {{most:UInt32}}
    """
    found = _rows(store, query, _bound(window) | {"after": after, "most": most})
    return tuple((each[0], line(tuple(each))) for each in found)


def last(store: Store) -> datetime | None:
    found = _rows(store, "SELECT max(end), count() FROM cost_lines", {})
    return in_utc(found[0][0]) if found and found[0][1] else None


def _rows(store: Store, query: str, bound: dict[str, Any]) -> list[Any]:
    try:
        with translated(NAME):
            return list(store.client().query(query, parameters=bound).result_rows)
    except NoTable:
        return []


def _bound(window: Window) -> dict[str, Any]:
    return {"first": window.start, "end": window.end}
