"""Usage is booked once. Runs where the engine is.

First the lines, then the usage they belong to: killed in between, the same call finds the usage unbooked, and writes the same
rows again, which are the same rows.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from tools.clickhouse.connection import NoTable, translated
from tools.costs.port import Booked, Line, Told, Usage
from tools.costs.pricing import taken_back
from tools.costs.schema import LINE, NAME, TABLES, Store, in_utc, line, row
from tools.errors import Conflict
from tools.values import Window


def book(store: Store, usages: Sequence[Usage], lines: Sequence[Line]) -> Booked:
    if not usages:
        return Booked(lines=0, known=0, late=0)
    with translated(NAME):
        client = store.client()
        for table in TABLES:
            client.command(table)
        before = _before(client, [usage.key for usage in usages])
        fresh, known, late = _sorted(usages, before)
        by_usage: dict[tuple[str, int], list[Line]] = defaultdict(list)
        for each in lines:
            by_usage[each.key, each.revision].append(each)
        rows = [row(each) for usage in fresh for each in by_usage[usage.key, usage.revision]]
        if corrected := {usage.key: usage for usage in fresh if usage.key in before}:
            rows += [row(each) for each in _taken_back(client, corrected, before)]
        if rows:
            _insert(client, "cost_lines", rows, LINE)
        if fresh:
            said = [(usage.key, usage.revision, _told(usage), usage.window.start) for usage in fresh]
            _insert(client, "cost_usages", said, ("key", "revision", "told", "first"))
    return Booked(lines=len(rows), known=known, late=late)


def told(store: Store, keys: Sequence[str]) -> dict[str, Told]:
    if not keys:
        return {}
    query = """
    SELECT key, revision, sum(quantity), min(start), max(end) FROM cost_lines FINAL
    WHERE key IN {keys:Array(String)} AND NOT taken_back AND start >= {first:DateTime64(6, 'UTC')} GROUP BY key, revision
    """
    try:
        with translated(NAME):
            client = store.client()
            before = _before(client, keys)
            if not before:
                return {}
            first = min(each[2] for each in before.values())
            found = client.query(query, parameters={"keys": sorted(before), "first": first}).result_rows
    except NoTable:
        return {}
    return {
        key: Told(revision=revision, quantity=quantity, window=Window(start=in_utc(start), end=in_utc(end)))
        for key, revision, quantity, start, end in found
        if revision == before[key][0]
    }


def _sorted(usages: Sequence[Usage], before: dict[str, tuple[int, str, Any]]) -> tuple[list[Usage], int, int]:
    """(to be booked, how many are booked as they are, how many come too late)."""
    newest: dict[str, Usage] = {}
    known = late = 0
    for usage in usages:
        booked, other = before.get(usage.key), newest.get(usage.key)
        if (booked is not None and usage.revision < booked[0]) or (other is not None and usage.revision < other.revision):
            late += 1
        elif booked is not None and usage.revision == booked[0]:
            _same(usage, booked[1])
            known += 1
        elif other is not None and usage.revision == other.revision:
            _same(usage, _told(other))
            known += 1
        else:
            late += other is not None
            newest[usage.key] = usage
    return list(newest.values()), known, late


def _same(usage: Usage, told: str) -> None:
    if _told(usage) != told:
        raise Conflict(f"{usage.key}: revision {usage.revision} is booked otherwise; what has changed is a later revision")


def _before(client: Any, keys: Sequence[str]) -> dict[str, tuple[int, str, Any]]:
    """By key: the latest revision that is booked, what it said, and when its usage began."""
    query = """
    SELECT key, max(revision), argMax(told, revision), argMax(first, revision) FROM cost_usages
    WHERE key IN {keys:Array(String)} GROUP BY key
    """
    found = client.query(query, parameters={"keys": sorted(set(keys))}).result_rows
    return {key: (revision, told, in_utc(first)) for key, revision, told, first in found}


def _taken_back(client: Any, corrected: dict[str, Usage], before: dict[str, tuple[int, str, Any]]) -> list[Line]:
    """The lines that the revisions before had booked for themselves, with the sign turned."""
    query = f"""
    SELECT {", ".join(LINE)} FROM cost_lines FINAL
    WHERE key IN {{keys:Array(String)}} AND NOT taken_back AND start >= {{first:DateTime64(6, 'UTC')}}
    """
    first = min(before[key][2] for key in corrected)
    found = client.query(query, parameters={"keys": sorted(corrected), "first": first}).result_rows
    booked = [line(tuple(each)) for each in found]
    return [taken_back(each, corrected[each.key].revision) for each in booked if each.revision == before[each.key][0]]


def _insert(client: Any, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
    client.insert(table, rows, column_names=list(columns))


def _told(usage: Usage) -> str:
    return hashlib.sha256(usage.model_dump_json().encode()).hexdigest()
