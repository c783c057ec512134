"""Times that are written as text."""

import pyarrow as pa
import pyarrow.compute as pc

_ZONED = r"[ T]\d\d.*(?:Z|[+-]\d\d(?::?\d\d)?)$"


def type_of(values: pa.Array) -> pa.DataType | None:
    """Of text, of which every value is a time; with a zone where one of them has one. None: it is no time, or empty.

    Microseconds, unless a value has more digits.
    """
    values = values.drop_null()
    # Most text is none, and its first value says so.
    if not len(values) or _read(values.slice(0, 1)) is None:
        return None
    return _read(values)


def moments(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """`kind`: of timestamps with a zone. Text without one is UTC. Raises ArrowInvalid for what is no time."""
    zoned = _zoned(values)
    if not zoned.false_count:
        return values.cast(kind)
    nothing = pa.scalar(None, pa.string())
    plain = pc.if_else(zoned, nothing, values).cast(pa.timestamp(kind.unit)).cast(kind)
    return pc.if_else(zoned, pc.if_else(zoned, values, nothing).cast(kind), plain)


def _read(values: pa.Array) -> pa.DataType | None:
    zoned = _zoned(values).true_count
    for unit in ("us", "ns"):
        kind = pa.timestamp(unit, "UTC" if zoned else None)
        try:
            _ = moments(values, kind) if zoned else values.cast(kind)
        except pa.ArrowInvalid:
            continue
        return kind
    return None


def _zoned(values: pa.Array) -> pa.BooleanArray:
    return pc.fill_null(pc.match_substring_regex(values, _ZONED), True)
