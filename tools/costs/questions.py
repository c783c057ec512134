"""What the ledger is asked. Runs where the engine is; the sums are made there, in decimals that hold any of them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from tools.clickhouse.connection import NoTable, translated
from tools.costs import journal
from tools.costs.port import MONEY_PLACES, MOST_CELLS, QUANTITY_PLACES, Dimension, Question, Step
from tools.costs.schema import COLUMNS, MOMENT, NAME, Store, in_utc, place_of
from tools.errors import PermanentError
from tools.values import Window

_STARTS = {Step.HOUR: "toStartOfHour(start)", Step.DAY: "toStartOfDay(start)", Step.MONTH: "toStartOfMonth(start)"}
_WITHIN = f"start >= {{first:{MOMENT}}} AND start < {{end:{MOMENT}}}"

Cells = tuple[tuple[Any, ...], ...]
"""In columns: the steps (where there are any), currencies, one per dimension, costs, quantities (where they add up)."""


def ping(store: Store) -> None:
    with translated(NAME):
        store.client().query("SELECT 1")


def breakdown(store: Store, question: Question) -> Cells:
    # The names of columns are of our own enumeration; everything else is bound.
    by = [each.value for each in question.by]
    step = [f"toUnixTimestamp64Micro(toDateTime64({_STARTS[question.step]}, 6, 'UTC')) AS step"] if question.step else []
    keys = [*(["step"] if step else []), "currency", *by]
    sums = [f"sum(toDecimal256(cost, {MONEY_PLACES}))"]
    if Dimension.RESOURCE in question.by:
        sums.append(f"sum(toDecimal256(quantity, {QUANTITY_PLACES}))")
    wheres = "".join(f" AND {each.value} IN {{of_{each.value}:Array(String)}}" for each in question.where)

    def query(counted: str) -> str:
        return f"""
        SELECT {", ".join([*step, "currency", *by, *sums])} FROM cost_lines FINAL
        WHERE {_WITHIN}{wheres}{counted} GROUP BY {", ".join(keys)} ORDER BY {", ".join(keys)} LIMIT {{limit:UInt32}}
        SETTINGS do_not_merge_across_partitions_select_final = 1
        """

    bound = (
        _bound(question.window)
        | {"limit": MOST_CELLS + 1}
        | {f"of_{each.value}": list(values) for each, values in question.where.items()}
    )
    cells = _answer(store, query, bound)
    if cells and len(cells[0]) > MOST_CELLS:
        raise PermanentError(f"by: more than {MOST_CELLS:,} cells; ask for fewer dimensions, longer steps or a shorter window")
    return cells


def lines(store: Store, window: Window, after: str, most: int) -> Cells:
    """In the columns of `COLUMNS`."""
    bound = _bound(window) | {"most": most}
    beyond = ""
    if after:
        started, id = place_of(after)
        bound |= {"first": max(started, window.start), "started": started, "id": id}
        beyond = f" AND (start > {{started:{MOMENT}}} OR id > {{id:String}})"

    def query(counted: str) -> str:
        return f"""
        SELECT {", ".join(COLUMNS)} FROM cost_lines FINAL WHERE {_WITHIN}{beyond}{counted}
        ORDER BY start, id LIMIT {{most:UInt32}}
        """

    return _answer(store, query, bound)


def last(store: Store) -> datetime | None:
    found = _answer(store, lambda counted: f"SELECT max(end), count() FROM cost_lines WHERE 1{counted}", {})
    return in_utc(found[0][0]) if found and found[1][0] else None


def _answer(store: Store, query: Callable[[str], str], bound: dict[str, Any]) -> Cells:
    """Of what counts: lines of bookings that a crash, or the present moment, has left unfinished do not."""
    try:
        with translated(NAME):
            client = store.client()
            unfinished = journal.unfinished(client)
            if unfinished:
                bound = bound | {"unfinished": unfinished}
            counted = " AND booking NOT IN {unfinished:Array(String)}" if unfinished else ""
            return tuple(tuple(each) for each in client.query(query(counted), parameters=bound).result_columns)
    except NoTable:
        return ()


def _bound(window: Window) -> dict[str, Any]:
    return {"first": window.start, "end": window.end}
