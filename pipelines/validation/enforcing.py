"""A schema held against rows, by Pandera, a chunk at a time: each row that does not keep it, with column, value and rule.

Pandera is asked on Arrow's own arrays, so that whole numbers stay exact beside nulls, and for one failure a check only: which
rows failed is in its mask, and a list of each of them would cost more than the check.
"""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.validation.evaluating import holds
from pipelines.validation.library import pandera
from tools.errors import PermanentError
from tools.quality.schema import Bound, Column, Rule, TableSchema

SHOWN = 60
"""Characters of a value in a reason."""
_LISTED = 5

Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Broken:
    """Rows of a chunk that did not keep one rule."""

    column: str
    """Empty: the rule is between columns."""
    rule: str
    places: Places
    words: Callable[[dict[str, Any]], str]
    """Of one such row."""


@dataclass(frozen=True)
class _Told:
    rule: str
    words: Callable[[Any], str]
    """Of the value, or of the row where the rule is between columns."""


class Enforcer:
    """Of one schema on rows of one Arrow schema. Raises PermanentError where the two do not go together."""

    def __init__(self, schema: TableSchema, kinds: pa.Schema, now: datetime) -> None:
        self._names = [each.name for each in schema.columns]
        self._told: dict[tuple[str, str], _Told] = {}
        columns = {}
        for column in schema.columns:
            checks = list(self._checks(column, kinds.field(column.name).type))
            if schema.freshness is not None and schema.freshness.column == column.name:
                checks.append(self._clock(column.name, kinds.field(column.name).type, now + schema.freshness.max_future))
            columns[column.name] = pandera().Column(None, checks, nullable=column.nullable)
        rules = [self._rule(each, kinds) for each in schema.rules]
        self._schema = pandera().DataFrameSchema(columns, checks=rules)

    def broken(self, rows: pa.Table) -> Iterator[Broken]:
        import pandas as pd
        from pandera.config import ValidationDepth, config_context
        from pandera.errors import SchemaErrors

        frame = rows.select(self._names).to_pandas(types_mapper=pd.ArrowDtype)
        try:
            # Said here, because variables of the environment turn Pandera off.
            with (
                warnings.catch_warnings(),
                config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA),
            ):
                # Pandera's own list of failures, which nobody reads here, is put together from columns of several types.
                warnings.filterwarnings("ignore", "The behavior of DataFrame concatenation", FutureWarning)
                self._schema.validate(frame, lazy=True)
        except SchemaErrors as errors:
            for error in errors.schema_errors:
                yield self._read(error)

    def _read(self, error: Any) -> Broken:
        if error.reason_code.name == "SERIES_CONTAINS_NULLS":
            column = str(error.schema.name)
            places = np.sort(np.asarray(error.failure_cases["index"], dtype=np.int64))
            return Broken(column, "not null", places, lambda _row: f"{column}: there is no value")
        if error.reason_code.name != "DATAFRAME_CHECK" or error.check_output is None:
            raise PermanentError(f"the rows could not be validated: {str(error)[:300]}")
        name = error.check.name
        mask = error.check_output
        places = np.asarray(mask.index[~mask.to_numpy(dtype=bool)], dtype=np.int64)
        column = "" if name.startswith(_BETWEEN) else str(error.schema.name)
        told = self._told[column, name]
        if not column:
            return Broken("", told.rule, places, told.words)
        return Broken(column, told.rule, places, lambda row: f"{column}: {shown(row[column])} {told.words(row[column])}")

    def _checks(self, column: Column, kind: pa.DataType) -> Iterator[Any]:
        if column.minimum is not None:
            least = _bound(column.minimum, kind)
            self._told[column.name, "minimum"] = _Told("minimum", lambda value: _limit(value, "below the minimum", least))
            yield pandera().Check.ge(least, name="minimum", n_failure_cases=1)
        if column.maximum is not None:
            most = _bound(column.maximum, kind)
            self._told[column.name, "maximum"] = _Told("maximum", lambda value: _limit(value, "above the maximum", most))
            yield pandera().Check.le(most, name="maximum", n_failure_cases=1)
        if column.allowed:
            listed = ", ".join(shown(each) for each in column.allowed[:_LISTED])
            more = f" and {len(column.allowed) - _LISTED} others" if len(column.allowed) > _LISTED else ""
            self._told[column.name, "allowed"] = _Told("allowed", lambda _value: f"is not one of {listed}{more}")
            values = _among(column, kind)
            yield pandera().Check(lambda series: series.isin(values), name="allowed", n_failure_cases=1)
        if column.pattern is not None:
            pattern = column.pattern
            _readable(column.name, pattern)
            self._told[column.name, "pattern"] = _Told("pattern", lambda _value: f"does not match {pattern}")
            yield pandera().Check.str_matches(f"^(?:{pattern})$", name="pattern", n_failure_cases=1)
        if column.max_length is not None:
            longest = column.max_length
            self._told[column.name, "max_length"] = _Told(
                "max_length", lambda value: f"has {len(value):,} characters, more than {longest:,}"
            )
            yield pandera().Check.str_length(max_value=longest, name="max_length", n_failure_cases=1)

    def _clock(self, column: str, kind: pa.DataType, latest: datetime) -> Any:
        told = f"is in the future: later than {latest:%Y-%m-%d %H:%M:%S} UTC"
        self._told[column, "not in the future"] = _Told("not in the future", lambda _value: told)
        moment: Bound = latest.date() if pa.types.is_date(kind) else latest
        return pandera().Check.le(_bound(moment, kind), name="not in the future", n_failure_cases=1)

    def _rule(self, rule: Rule, kinds: pa.Schema) -> Any:
        import pandas as pd

        expression = rule.expression
        try:
            holds(expression, kinds.empty_table())
        except PermanentError as error:
            raise PermanentError(f"rule {rule.name!r} ({rule.rule}): {error}") from error
        names = sorted(expression.names)

        def check(frame: Any) -> Any:
            rows = pa.table({name: pa.chunked_array(pa.array(frame[name])) for name in names}) if names else None
            found = holds(expression, rows if rows is not None else pa.table({"": pa.nulls(len(frame))}))
            return pd.Series(found.to_numpy(zero_copy_only=False), index=frame.index)

        def words(row: dict[str, Any]) -> str:
            values = ", ".join(f"{name} = {shown(row[name])}" for name in names[:_LISTED])
            return f"{rule.name}: {rule.rule} does not hold ({values})"

        name = f"{_BETWEEN}{rule.name}"
        self._told["", name] = _Told(rule.name, words)
        return pandera().Check(check, name=name, n_failure_cases=1, ignore_na=False)


_BETWEEN = "rule "


def shown(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = value.isoformat() if isinstance(value, date) else str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _limit(value: Any, words: str, limit: Any) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "is not a number"
    return f"is {words}, {limit.isoformat() if isinstance(limit, date) else limit}"


def _bound(value: Bound, kind: pa.DataType) -> Any:
    """As rows of that type are compared with."""
    import pandas as pd

    if isinstance(value, datetime):
        moment = pd.Timestamp(value)
        return moment.tz_convert(UTC).tz_localize(None) if getattr(kind, "tz", None) is None else moment
    return value


def _among(column: Column, kind: pa.DataType) -> list[Any]:
    found = []
    for value in column.allowed:
        try:
            found.append(pa.scalar(_bound(value, kind)).cast(kind).as_py())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise PermanentError(f"column {column.name!r}: allowed: {shown(value)} is no value of type {kind}") from error
    return found


def _readable(column: str, pattern: str) -> None:
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), f"^(?:{pattern})$")
    except pa.ArrowInvalid as error:
        raise PermanentError(f"column {column!r}: pattern: {str(error).splitlines()[0][:200]}") from error
