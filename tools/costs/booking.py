"""Usage is booked once. Runs where the engine is.

First the lines, then the usage they belong to, in one insert: killed in between, the lines are of a booking that does not count
(`journal`), and the same call, or another about the same usage, finds it unbooked.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

import pyarrow as pa

from tools.clickhouse.connection import NoTable, translated
from tools.costs import journal
from tools.costs.packing import Fact, Packed, sort_out, table
from tools.costs.port import QUANTITY_PLACES, Booked, Told
from tools.costs.pricing import taken_back
from tools.costs.schema import COLUMNS, MOMENT, NAME, TABLES, Store, line, moment
from tools.values import Window

_KEYS_BYTES = 60_000
"""Of one statement: a server takes values of up to 128 KiB (`http_max_field_value_size`), and each byte may be sent as two."""

_alone = threading.Lock()
"""The engine answers several calls at once; what is booked and what is not is one's to decide at a time."""


def book(store: Store, packed: Packed) -> Booked:
    if not packed.facts:
        return Booked(lines=0, known=0, late=0)
    with _alone, translated(NAME):
        client = store.client()
        for statement in TABLES:
            client.command(statement)
        journal.clear(client)
        before = _before(client, (fact.key for fact in packed.facts))
        fresh, known, late = sort_out(packed.facts, before)
        rows = _rows(client, packed, fresh, before)
        if fresh:
            _write(client, rows, fresh)
    return Booked(lines=rows.num_rows, known=known + packed.repeated, late=late)


def told(store: Store, keys: Sequence[str]) -> dict[str, Told]:
    try:
        with translated(NAME):
            before = _before(store.client(), keys)
    except NoTable:
        return {}
    return {
        key: Told(
            revision=fact.revision,
            quantity=fact.quantity,
            window=Window(start=moment(fact.start), end=moment(fact.end)),
            said=fact.said,
        )
        for key, fact in before.items()
    }


def _write(client: Any, rows: pa.Table, fresh: Sequence[Fact]) -> None:
    booking = uuid4().hex
    starts = rows["start"].cast(pa.int64()).to_pylist()
    first, last = moment(min(starts)), moment(max(starts))
    journal.begin(client, booking, first, last)
    client.insert_arrow("cost_lines", rows.append_column("booking", _repeated(booking, len(rows))))
    usages = {
        "key": pa.array([fact.key for fact in fresh]),
        "revision": pa.array([fact.revision for fact in fresh], pa.uint32()),
        "told": pa.array([fact.said for fact in fresh]),
        "quantity": pa.array([fact.quantity for fact in fresh], pa.decimal128(38, QUANTITY_PLACES)),
        "start": pa.array([fact.start for fact in fresh], pa.timestamp("us", "UTC")),
        "end": pa.array([fact.end for fact in fresh], pa.timestamp("us", "UTC")),
        "booking": _repeated(booking, len(fresh)),
    }
    client.insert_arrow("cost_usages", pa.table(usages))
    journal.finish(client, booking, first, last)


def _before(client: Any, keys: Iterable[str]) -> dict[str, Fact]:
    """By key: the latest revision that is booked."""
    query = """
    SELECT key, max(revision), argMax(told, revision), argMax(quantity, revision),
        argMax(toUnixTimestamp64Micro(start), revision), argMax(toUnixTimestamp64Micro(end), revision) FROM cost_usages
    WHERE key IN {keys:Array(String)} GROUP BY key
    """
    found = {}
    for some in _some(sorted(set(keys))):
        for key, *said in client.query(query, parameters={"keys": some}).result_rows:
            found[key] = Fact(key, *said)
    return found


def _rows(client: Any, packed: Packed, fresh: Sequence[Fact], before: dict[str, Fact]) -> pa.Table:
    """The lines of the fresh, and those that take back what the revisions before them had booked."""
    said = pa.ipc.open_stream(packed.lines).read_all()
    if len(fresh) < len(packed.facts):
        said = said.take(pa.array([place for fact in fresh for place in range(fact.first, fact.beyond)], pa.int64()))
    corrected = {fact.key: fact for fact in fresh if fact.key in before}
    return pa.concat_tables([said, *_taken_back(client, corrected, before)]).combine_chunks() if corrected else said


def _taken_back(client: Any, corrected: dict[str, Fact], before: dict[str, Fact]) -> Iterator[pa.Table]:
    """The lines that the revisions before had booked for themselves, with the sign turned."""
    query = f"""
    SELECT {", ".join(COLUMNS)} FROM cost_lines FINAL
    WHERE key IN {{keys:Array(String)}} AND NOT taken_back AND start >= {{first:{MOMENT}}} AND start < {{end:{MOMENT}}}
    AND booking NOT IN {{unfinished:Array(String)}}
    """
    unfinished = journal.unfinished(client)
    # Who corrects one month must not read all that was ever booked.
    by_time = sorted(corrected, key=lambda key: before[key].start)
    for keys in _some(by_time):
        bound = {
            "keys": keys,
            "first": moment(min(before[key].start for key in keys)),
            "end": moment(max(before[key].end for key in keys)),
            "unfinished": unfinished,
        }
        booked = [line(tuple(each)) for each in client.query(query, parameters=bound).result_rows]
        yield table([taken_back(each, corrected[each.key].revision) for each in booked if _is_last(each, before)])


def _is_last(each: Any, before: dict[str, Fact]) -> bool:
    return bool(each.revision == before[each.key].revision)


def _some(keys: Sequence[str]) -> Iterator[list[str]]:
    """As many at a time as a statement takes."""
    some: list[str] = []
    size = 0
    for key in keys:
        length = len(key.encode(errors="surrogatepass")) + 3
        if some and size + length > _KEYS_BYTES:
            yield some
            some, size = [], 0
        some.append(key)
        size += length
    if some:
        yield some


def _repeated(word: str, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(word), times)
