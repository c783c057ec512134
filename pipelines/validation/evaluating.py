"""Rules between columns, evaluated on Arrow, a chunk at a time."""

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tools.errors import PermanentError
from tools.quality.expressions import Binary, Constant, Expression, In, IsNull, Name, Negated, Node, Not

_COMPARED = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_COMPUTED = {"+": pc.add, "-": pc.subtract, "*": pc.multiply, "/": pc.divide}
_MISMATCH = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError)


def holds(expression: Expression, rows: pa.Table) -> pa.Array:
    """Row by row; true where a null leaves it open. Raises PermanentError where the columns' types do not allow it."""
    try:
        found = _evaluated(expression.root, rows)
        if not isinstance(found, pa.Array | pa.ChunkedArray):  # it speaks of no column
            found = pa.repeat(found, rows.num_rows)
        if not pa.types.is_boolean(found.type):
            raise PermanentError(f"it is {found.type} and no condition")
        found = pc.fill_null(found, True)
        return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    except _MISMATCH as error:
        raise PermanentError(f"it cannot be evaluated: {str(error).splitlines()[0][:200]}") from error


def _evaluated(node: Node, rows: pa.Table) -> Any:
    match node:
        case Name(name):
            return rows[name]
        case Constant(value):
            return _scalar(value)
        case Not(of):
            return pc.invert(_evaluated(of, rows))
        case IsNull(of):
            return pc.is_null(_evaluated(of, rows))
        case Negated(of):
            return pc.negate(_number(_evaluated(of, rows)))
        case In(of, values):
            found = _evaluated(of, rows)
            if isinstance(values[0], int | float) and not isinstance(values[0], bool):
                found = _number(found)
                among = pc.is_in(found, pa.array([float(each) for each in values], pa.float64()))  # type: ignore[arg-type]
            else:
                among = pc.is_in(found, pa.array(values).cast(found.type))
            return pc.if_else(pc.is_null(found), pa.scalar(None, pa.bool_()), among)
        case Binary("and", left, right):
            return pc.and_kleene(_evaluated(left, rows), _evaluated(right, rows))
        case Binary("or", left, right):
            return pc.or_kleene(_evaluated(left, rows), _evaluated(right, rows))
        case Binary(("+" | "-" | "*" | "/") as operator, left, right):
            ours, theirs = _evaluated(left, rows), _evaluated(right, rows)
            if _is_number(ours) and _is_number(theirs):
                ours, theirs = _number(ours), _number(theirs)
            return _COMPUTED[operator](_zoned(ours, theirs), _zoned(theirs, ours))
        case Binary(operator, left, right):
            ours, theirs = _evaluated(left, rows), _evaluated(right, rows)
            return _COMPARED[operator](_zoned(ours, theirs), _zoned(theirs, ours))


def _scalar(value: object) -> Any:
    return pa.scalar(value, pa.duration("us")) if isinstance(value, timedelta) else pa.scalar(value)


def _is_number(value: Any) -> bool:
    kind = value.type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _number(value: Any) -> Any:
    return value.cast(pa.float64(), safe=False) if _is_number(value) else value


def _zoned(value: Any, other: Any) -> Any:
    """Times without a zone are UTC; a date is its midnight; text beside a time is read as one."""
    kind, beside = value.type, other.type
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(beside) and kind.tz is None and beside.tz is not None:
        return value.cast(pa.timestamp(kind.unit, "UTC"))
    if pa.types.is_date(kind) and pa.types.is_timestamp(beside):
        return value.cast(pa.timestamp("us")).cast(pa.timestamp("us", beside.tz) if beside.tz else pa.timestamp("us"))
    if pa.types.is_date(kind) and (pa.types.is_duration(beside) or pa.types.is_date(beside)):
        return value.cast(pa.timestamp("us"))
    if (
        isinstance(value, pa.Scalar)
        and pa.types.is_string(kind)
        and (pa.types.is_timestamp(beside) or pa.types.is_date(beside))
    ):
        return value.cast(beside if pa.types.is_date(beside) else pa.timestamp("us")).cast(beside)
    return value
