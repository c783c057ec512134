"""Usage and its lines in columns: what goes to the engine's process, where rows of values would cost more than all the rest.

What a call gets wrong is found here, before anything is written.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tools.costs.apportioning import EXACT, total
from tools.costs.port import MONEY_PLACES, MOST_AT_ONCE, QUANTITY_PLACES, Line, Usage
from tools.costs.schema import COLUMNS, EARLIEST, LATEST, MOMENT, MONEY, QUANTITY, line_id, microseconds
from tools.errors import Conflict, PermanentError

_KINDS = {
    "UInt32": pa.uint32(),
    "Bool": pa.bool_(),
    MOMENT: pa.timestamp("us", "UTC"),
    QUANTITY: pa.decimal128(38, QUANTITY_PLACES),
    MONEY: pa.decimal128(38, MONEY_PLACES),
}
SCHEMA = pa.schema([(name, _KINDS.get(kind, pa.string())) for name, kind in COLUMNS.items()])

_VALUES: dict[str, Callable[[Line], Any]] = {
    "id": line_id,
    "key": lambda line: line.key,
    "revision": lambda line: line.revision,
    "place": lambda line: line.place,
    "taken_back": lambda line: line.taken_back,
    "start": lambda line: microseconds(line.window.start),
    "end": lambda line: microseconds(line.window.end),
    "component": lambda line: line.owner.component.value,
    "part": lambda line: line.owner.part,
    "model": lambda line: line.owner.model,
    "version": lambda line: line.owner.version,
    "team": lambda line: line.owner.team,
    "experiment": lambda line: line.owner.experiment,
    "workload": lambda line: line.owner.workload,
    "resource": lambda line: line.resource.value,
    "sku": lambda line: line.sku,
    "pricing": lambda line: line.pricing.value,
    "quantity": lambda line: line.quantity,
    "unit": lambda line: line.unit,
    "unit_price": lambda line: line.unit_price,
    "cost": lambda line: line.cost,
    "currency": lambda line: line.currency,
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A usage, without what only its lines need."""

    key: str
    revision: int
    said: str
    """Its digest (`said_of`)."""
    quantity: Decimal
    start: int
    end: int
    """Microseconds since the epoch."""
    first: int = 0
    beyond: int = 0
    """Its lines in the table: from `first` on, before `beyond`."""


@dataclass(frozen=True, slots=True)
class Packed:
    facts: tuple[Fact, ...]
    """Each key and revision once."""
    repeated: int
    """Usages that were told more than once within the call."""
    lines: pa.Buffer
    """An Arrow stream of `SCHEMA`."""


def pack(usages: Sequence[Usage], lines: Sequence[Line]) -> Packed:
    """Raises PermanentError, with the usage and what to do, where the lines are not those of the usages."""
    if len(usages) > MOST_AT_ONCE:
        raise PermanentError(f"usages: {len(usages):,} at once; {MOST_AT_ONCE:,} at most, so book them in several calls")
    once = _once(usages)
    of_usage: dict[tuple[str, int], dict[int, Line]] = {key: {} for key in once}
    for line in lines:
        if (found := of_usage.get((line.key, line.revision))) is None or line.taken_back:
            raise PermanentError(f"lines: {line.key}, revision {line.revision} is of no usage that is booked with it")
        found[line.place] = line
    facts, ordered = [], list[Line]()
    for key, (usage, said) in once.items():
        own = of_usage[key].values()
        _check(usage, own)
        first = len(ordered)
        ordered.extend(own)
        times = microseconds(usage.window.start), microseconds(usage.window.end)
        facts.append(Fact(usage.key, usage.revision, said, usage.quantity, *times, first, len(ordered)))
    return Packed(tuple(facts), len(usages) - len(once), packed_lines(table(ordered)))


def table(lines: Sequence[Line]) -> pa.Table:
    columns = []
    for field in SCHEMA:
        value = _VALUES[field.name]
        try:
            columns.append(pa.array([value(line) for line in lines], field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise PermanentError(f"lines: the {field.name} of one is out of bounds: {error}") from error
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def packed_lines(rows: pa.Table) -> pa.Buffer:
    to = pa.BufferOutputStream()
    with pa.ipc.new_stream(to, rows.schema) as stream:
        stream.write_table(rows)
    return to.getvalue()


def _once(usages: Sequence[Usage]) -> dict[tuple[str, int], tuple[Usage, str]]:
    """By key and revision: the usage, and what it says."""
    found: dict[tuple[str, int], tuple[Usage, str]] = {}
    for usage in usages:
        said = said_of(usage)
        _, other = found.setdefault((usage.key, usage.revision), (usage, said))
        if said != other:
            raise _told_otherwise(usage.key, usage.revision)
    return found


def sort_out(facts: Sequence[Fact], before: Mapping[str, Fact]) -> tuple[list[Fact], int, int]:
    """Against what is booked before: (to be booked, how many are booked as they are, how many come too late).
    Raises Conflict."""
    newest: dict[str, Fact] = {}
    known = late = 0
    for fact in facts:
        booked, other = before.get(fact.key), newest.get(fact.key)
        if booked is not None and fact.revision <= booked.revision:
            late += fact.revision < booked.revision
            known += fact.revision == booked.revision
            if fact.revision == booked.revision and fact.said != booked.said:
                raise _told_otherwise(fact.key, fact.revision)
        elif other is not None:
            late += 1
            newest[fact.key] = max(fact, other, key=lambda each: each.revision)
        else:
            newest[fact.key] = fact
    return list(newest.values()), known, late


def _told_otherwise(key: str, revision: int) -> Conflict:
    return Conflict(f"{key}: revision {revision} is told otherwise; what has changed is a later revision")


def _check(usage: Usage, lines: Any) -> None:
    if not EARLIEST <= usage.window.start < usage.window.end <= LATEST:
        raise PermanentError(f"window: {usage.key} is about {usage.window.start.isoformat()}; is a clock wrong?")
    if total(line.quantity for line in lines) != usage.quantity or not lines:
        raise PermanentError(f"lines: those of {usage.key} do not add up to its {usage.quantity}; price all of it")


def said_of(usage: Usage) -> str:
    """A digest of all of it but its revision: the same for the same fact, however its numbers and times are written."""
    owner = usage.owner
    said = (
        usage.resource.value,
        usage.sku,
        str(int(EXACT.scaleb(usage.quantity, QUANTITY_PLACES))),
        str(microseconds(usage.window.start)),
        str(microseconds(usage.window.end)),
        usage.pricing.value,
        owner.component.value,
        owner.part,
        owner.model,
        owner.version,
        owner.team,
        owner.experiment,
        owner.workload,
    )
    # A word's length before it, because a word may hold whatever would part them.
    spelled = "".join(f"{len(word)}:{word}" for word in said)
    return hashlib.sha256(spelled.encode("utf-8", "surrogatepass")).hexdigest()
