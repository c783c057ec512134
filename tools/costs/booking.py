"""Usage is booked once. Runs where the engine is.

First the lines, then the usage they belong to, in one insert: killed in between, the lines are of a booking that does not count
(`journal`), and the same call, or another about the same usage, finds it unbooked.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pyarrow as pa

from tools.clickhouse.connection import NoTable, translated
from tools.costs import journal
from tools.costs.packing import Packed, Told, table, told_otherwise
from tools.costs.port import QUANTITY_PLACES, Booked
from tools.costs.port import Told as Booking
from tools.costs.pricing import taken_back
from tools.costs.schema import COLUMNS, MOMENT, NAME, TABLES, Store, line, moment
from tools.values import Window

_KEYS_BYTES = 60_000
"""Of one statement: a server takes values of up to 128 KiB in an address (`http_max_field_value_size`)."""

_alone = threading.Lock()
"""The engine answers several calls at once; what is booked and what is not is one's to decide at a time."""


def book(store: Store, packed: Packed) -> Booked:
    if not packed.told:
        return Booked(lines=0, known=0, late=0)
    with _alone, translated(NAME):
        client = store.client()
        for statement in TABLES:
            client.command(statement)
        journal.clear(client)
        before = _before(client, (told.key for told in packed.told))
        fresh, known, late = _sorted(packed.told, before)
        rows = _rows(client, packed, fresh, before)
        if fresh:
            _write(client, rows, fresh)
    return Booked(lines=rows.num_rows, known=known + packed.repeated, late=late)


def told(store: Store, keys: Sequence[str]) -> dict[str, Booking]:
    query = f"""
    SELECT key, revision, sum(toDecimal256(quantity, {QUANTITY_PLACES})) FROM cost_lines FINAL
    WHERE key IN {{keys:Array(String)}} AND NOT taken_back AND start >= {{first:{MOMENT}}} AND start < {{end:{MOMENT}}}
    AND booking NOT IN {{unfinished:Array(String)}} GROUP BY key, revision
    """
    found: dict[str, Booking] = {}
    try:
        with translated(NAME):
            client = store.client()
            before = _before(client, keys)
            unfinished = journal.unfinished(client)
            for some in _some(sorted(before)):
                bound = {
                    "keys": some,
                    "first": moment(min(before[key].start for key in some)),
                    "end": moment(max(before[key].end for key in some)),
                    "unfinished": unfinished,
                }
                for key, revision, quantity in client.query(query, parameters=bound).result_rows:
                    if revision == (own := before[key]).revision:
                        window = Window(start=moment(own.start), end=moment(own.end))
                        found[key] = Booking(revision=revision, quantity=quantity, window=window)
    except NoTable:
        return {}
    return found


def _write(client: Any, rows: pa.Table, fresh: Sequence[Told]) -> None:
    booking = uuid4().hex
    starts = rows["start"].cast(pa.int64()).to_pylist()
    first, last = moment(min(starts)), moment(max(starts))
    journal.begin(client, booking, first, last)
    client.insert_arrow("cost_lines", rows.append_column("booking", _repeated(booking, len(rows))))
    usages = {
        "key": pa.array([told.key for told in fresh]),
        "revision": pa.array([told.revision for told in fresh], pa.uint32()),
        "told": pa.array([told.said for told in fresh]),
        "start": pa.array([told.start for told in fresh], pa.timestamp("us", "UTC")),
        "end": pa.array([told.end for told in fresh], pa.timestamp("us", "UTC")),
        "booking": _repeated(booking, len(fresh)),
    }
    client.insert_arrow("cost_usages", pa.table(usages))
    journal.finish(client, booking, first, last)


def _sorted(all_told: Sequence[Told], before: dict[str, Told]) -> tuple[list[Told], int, int]:
    """(to be booked, how many are booked as they are, how many come too late)."""
    newest: dict[str, Told] = {}
    known = late = 0
    for told in all_told:
        booked, other = before.get(told.key), newest.get(told.key)
        if booked is not None and told.revision <= booked.revision:
            late += told.revision < booked.revision
            known += told.revision == booked.revision
            if told.revision == booked.revision and told.said != booked.said:
                raise told_otherwise(told.key, told.revision)
        elif other is not None:
            late += 1
            newest[told.key] = max(told, other, key=lambda each: each.revision)
        else:
            newest[told.key] = told
    return list(newest.values()), known, late


def _before(client: Any, asked: Iterable[str]) -> dict[str, Told]:
    """By key: the latest revision that is booked."""
    query = """
    SELECT key, max(revision), argMax(told, revision), argMax(toUnixTimestamp64Micro(start), revision),
        argMax(toUnixTimestamp64Micro(end), revision) FROM cost_usages
    WHERE key IN {keys:Array(String)} GROUP BY key
    """
    found = {}
    for keys in _some(sorted(set(asked))):
        for key, revision, said, start, end in client.query(query, parameters={"keys": keys}).result_rows:
            found[key] = Told(key, revision, said, start, end, first=0, beyond=0)
    return found


def _rows(client: Any, packed: Packed, fresh: Sequence[Told], before: dict[str, Told]) -> pa.Table:
    """The lines of the fresh, and those that take back what the revisions before them had booked."""
    said = pa.ipc.open_stream(packed.lines).read_all()
    if len(fresh) < len(packed.told):
        said = said.take(pa.array([place for told in fresh for place in range(told.first, told.beyond)], pa.int64()))
    corrected = {told.key: told for told in fresh if told.key in before}
    return pa.concat_tables([said, *_taken_back(client, corrected, before)]).combine_chunks() if corrected else said


def _taken_back(client: Any, corrected: dict[str, Told], before: dict[str, Told]) -> Iterator[pa.Table]:
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


def _is_last(each: Any, before: dict[str, Told]) -> bool:
    return bool(each.revision == before[each.key].revision)


def _some(keys: Sequence[str]) -> Iterator[list[str]]:
    """As many at a time as a statement takes."""
    some: list[str] = []
    size = 0
    for key in keys:
        length = len(quote(key, safe="", errors="surrogatepass")) + 9
        if some and size + length > _KEYS_BYTES:
            yield some
            some, size = [], 0
        some.append(key)
        size += length
    if some:
        yield some


def _repeated(word: str, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(word), times)
