"""What the rows of a table have to be: a schema is data, written by a command from a sample and then by a person.

What is not said is not allowed: a column has no nulls, and no column more comes, unless the schema says so.
"""

import hashlib
import json
import math
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from tools import plain_yaml
from tools.errors import PermanentError
from tools.faults import said
from tools.quality.expressions import Expression
from tools.quality.expressions import parse as parse_expression
from tools.values import Duration, Frozen, Share

MAX_BYTES = 4 << 20
"""Of a schema's text: 10,000 columns fit, and an accident does not fill the memory."""

ColumnType = Literal["integer", "number", "text", "boolean", "time", "date"]
Action = Literal["nothing", "note", "quarantine"]
Bound = bool | int | float | datetime | date | str
"""Which of them a column takes follows from its type."""
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Outliers(Frozen):
    """Values that the rules allow and that are far from all others: in the batches before, or in this one while those are
    few."""

    action: Action = "note"
    """A note, because an odd value may be true: whoever wants it out of the table says so for the column."""
    robust_z: Annotated[float, Field(gt=0)] = 8.0
    """Numbers: so many deviations from the median, estimated by the median of all deviations, so that outliers do not hide
    themselves. Of normal values none is so far out, of skewed ones few are."""
    fence: Annotated[float, Field(gt=0)] = 3.0
    """Numbers: and so many interquartile ranges outside the quartiles (Tukey's 'far out'). Both have to say so."""
    min_share: Share = 0.0001
    """Text and truth: rarer values are odd, where few different ones are usual."""


class Column(Frozen):
    name: Name
    type: ColumnType
    required: bool = True
    """False: a batch may come without it; its rows then have nulls."""
    nullable: bool = False
    max_nulls: Share | None = None
    """Of a nullable column; a batch with a larger share of nulls is refused."""
    minimum: Bound | None = None
    maximum: Bound | None = None
    """Both are allowed values themselves."""
    allowed: Annotated[tuple[Bound, ...], Field(max_length=100_000)] = ()
    """Empty: every value is."""
    pattern: Annotated[str, Field(max_length=500)] | None = None
    """A regular expression (RE2) of the whole text."""
    max_length: Annotated[int, Field(ge=0)] | None = None
    """Of text, in characters."""
    unique: bool = False
    """Within a batch; `unique` of the schema says more."""
    outliers: Outliers | None = None
    """None: as the schema says."""

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, given: object) -> object:
        """Bounds and allowed values as the column's type has them: what YAML reads as another is said, not guessed."""
        if not isinstance(given, dict) or given.get("type") not in _OF_TYPE:
            return given
        read = _OF_TYPE[given["type"]]
        found = dict(given)
        for field in ("minimum", "maximum"):
            if found.get(field) is not None:
                found[field] = _read(field, read, found[field], given["type"])
        if isinstance(found.get("allowed"), list | tuple):
            found["allowed"] = tuple(_read("allowed", read, each, given["type"]) for each in found["allowed"])
        return found

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.type in ("text", "boolean") and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"minimum, maximum: a column of {self.type} has none")
        if self.type != "text" and (self.pattern is not None or self.max_length is not None):
            raise ValueError(f"pattern, max_length: only text has them, and this is {self.type}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:  # type: ignore[operator]
            raise ValueError(f"minimum: {self.minimum} is above the maximum, {self.maximum}")
        if self.max_nulls is not None and not self.nullable:
            raise ValueError("max_nulls: a column that is not nullable has none")
        if not self.required and not self.nullable:
            raise ValueError("required: a column that may be missing has to be nullable")
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern: {error}") from error
        return self


class Rule(Frozen):
    """What has to hold between the columns of a row, such as `arrival >= departure`. Where a null leaves it open, it holds."""

    name: Name
    rule: Annotated[str, Field(min_length=1, max_length=500)]

    @property
    def expression(self) -> Expression:
        return parse_expression(self.rule)


class Unique(Frozen):
    columns: Annotated[tuple[Name, ...], Field(min_length=1, max_length=20)]
    """Together; a row with a null in one of them is like no other."""
    across_batches: bool = False
    """In the whole table, not in a batch only. Each run then reads these columns of the table once."""


class Freshness(Frozen):
    column: Name
    """When what a row tells of happened."""
    max_age: Duration | None = None
    """Of the newest row of a batch."""
    max_future: Duration = timedelta(minutes=5)
    """Rows from further ahead are quarantined: somebody's clock is wrong. Synchronised ones are seconds apart."""
    stale: Literal["note", "refuse"] = "note"
    """What becomes of a batch whose newest row is older. A note, because history that is brought in late is old too."""


class Acceptance(Frozen):
    """When a batch is refused as a whole. Otherwise it is accepted, or partly where rows were quarantined."""

    max_bad_share: Share = 0.05
    """Of its rows: beyond it something is wrong with the batch, not with some rows."""
    min_rows: Annotated[int, Field(ge=0)] = 1
    """Read, good or bad: an empty file where rows are due is a fault of whoever sends them."""


class TableSchema(Frozen):
    format: Literal[1] = 1
    table: Name
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000)]
    extra_columns: Literal["refuse", "keep"] = "refuse"
    """Keep: stored as they are and not looked at."""
    rules: tuple[Rule, ...] = ()
    unique: tuple[Unique, ...] = ()
    freshness: Freshness | None = None
    outliers: Outliers = Outliers()
    acceptance: Acceptance = Acceptance()

    @property
    def version(self) -> str:
        """The same content has the same version."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    @property
    def keys(self) -> tuple[Unique, ...]:
        """With those of single columns; of the same columns one, and the wider one."""
        found = {each.columns: each for each in (Unique(columns=(each.name,)) for each in self.columns if each.unique)}
        for each in self.unique:
            if each.across_batches or each.columns not in found:
                found[each.columns] = each
        return tuple(found.values())

    def column(self, name: str) -> Column:
        return next(each for each in self.columns if each.name == name)

    def outliers_of(self, column: Column) -> Outliers:
        return column.outliers or self.outliers

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [each.name for each in self.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
            raise ValueError(f"columns: {twice[0]!r} is there twice")
        known = dict(zip(names, self.columns, strict=True))
        called = [each.name for each in self.rules]
        if alike := sorted({name for name in called if called.count(name) > 1}):
            raise ValueError(f"rules: {alike[0]!r} is there twice; its results could not be told apart")
        for place, rule in enumerate(self.rules):
            try:
                unknown = rule.expression.names - known.keys()
            except ValueError as error:
                raise ValueError(f"rules[{place}] ({rule.name}): {error}") from error
            if unknown:
                raise ValueError(f"rules[{place}] ({rule.name}): there is no column {sorted(unknown)[0]!r}")
        for place, unique in enumerate(self.unique):
            if missing := set(unique.columns) - known.keys():
                raise ValueError(f"unique[{place}]: there is no column {sorted(missing)[0]!r}")
        if self.freshness is not None:
            if self.freshness.column not in known:
                raise ValueError(f"freshness.column: there is no column {self.freshness.column!r}")
            if known[self.freshness.column].type not in ("time", "date"):
                raise ValueError(f"freshness.column: {self.freshness.column!r} has to be of type time or date")
        return self


def load(path: Path) -> TableSchema:
    """Raises PermanentError, naming the field."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PermanentError(f"{path}: a schema has at most {MAX_BYTES >> 20} MiB")
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def parse(text: str, name: str = "schema") -> TableSchema:
    """Raises PermanentError, naming the field."""
    try:
        content = plain_yaml.read(text)
    except plain_yaml.NotPlain as error:
        raise PermanentError(f"{name}: {error}") from error
    if not isinstance(content, dict):
        raise PermanentError(f"{name}: this is no schema: it begins with `table:` and `columns:`")
    try:
        return TableSchema.model_validate(content)
    except ValidationError as error:
        told = [
            f"{_path(each['loc'], content)}{said(each['type'], each['msg'], 'there is no such field')}"
            for each in error.errors()
        ]
        raise PermanentError(f"{name}: {'; '.join(told[:10])}") from error


def _path(location: tuple[int | str, ...], content: dict[str, Any]) -> str:
    """`columns[2] (price).minimum: `; a column is found by its name sooner than by its place."""
    text = ""
    place: Any = content
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
        try:
            place = place[step]
        except (KeyError, IndexError, TypeError):
            place = None
        if isinstance(step, int) and isinstance(place, dict) and isinstance(place.get("name"), str):
            text += f" ({place['name'][:60]})"
    return f"{text.removeprefix('.')}: " if text else ""


def _read(field: str, read: Any, value: object, kind: str) -> object:
    found = read(value)
    if found is None:
        raise ValueError(f"{field}: {str(value)[:60]!r} is no value of a column of type {kind}")
    return found


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63 else None


def _number(value: object) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        # Arrow has no whole number of more than 64 bits.
        value = value if isinstance(value, int) and -(2**63) <= value < 2**63 else float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _boolean(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    """Without a zone it is UTC, as in the rows."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def _date(value: object) -> date | None:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, date) and not isinstance(value, datetime) else None


_OF_TYPE = {"integer": _integer, "number": _number, "text": _text, "boolean": _boolean, "time": _time, "date": _date}
