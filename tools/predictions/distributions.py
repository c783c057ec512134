"""How every column of a model's predictions is distributed in one window, finely enough to measure drift by it.

Each column is counted by a `GROUP BY` of its own: ClickHouse keeps a table of fixed size for a 16-bit key, which is some ten
times faster than grouping sets or histograms over several columns together. Nulls are a bin among the others, so that no column
is filtered; sums and squares are kept bin by bin, and with them the tails, the mean and the deviation.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tools.predictions.catalogue import Feature
from tools.predictions.kinds import FeatureKind
from tools.predictions.statements import Query
from tools.tables.port import ColumnProfile, Distributions, Grid, Value
from tools.tables.shapes import ANY, BINS, BUCKETS, FAR, FEW_VALUES, MOST_NUMBERS, MOST_VALUES, TAIL, grid_over
from tools.values import LeftOut

_AT_ONCE = 50
"""Columns of one statement: each has its own counters in the engine's memory."""
_LOOK = 200_000
"""Rows that decide how a column is counted; of more, about as many, in stretches spread over the window."""
_STRETCHES = 64
_NULL = BINS + 2
_NOT_FINITE = BINS + 3
_TICK = "toUnixTimestamp64Micro(at)"


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: FeatureKind
    x: str
    """Its values in SQL, nullable."""
    reads: tuple[str, ...]
    """Columns of the store that `x` is made of."""
    grid: tuple[float, float] | None = None


_NUMBER = "if(isFinite(toFloat64OrNull(label)), toFloat64OrNull(label), NULL)"
# A label comes with the labelled rows by itself.
_CLASS_LABEL = _Column("label", "categorical", "label", ())
_NUMBER_LABEL = _Column("label", "numeric", _NUMBER, ())
_RESIDUAL = _Column("residual", "numeric", f"score - {_NUMBER}", ("score",))
_PREDICTION = _Column("prediction", "categorical", "prediction", ("prediction",))
_SCORE = _Column("score", "numeric", "score", ("score",))


def distributions(
    query: Query,
    features: Sequence[Feature],
    label: str | None,
    like: Distributions | None,
    without: Sequence[LeftOut] = (),
) -> Distributions:
    """Of the query's one window, and of the rows with this label if one is given. With `like`, on its grids."""
    given = like or Distributions(window=query.windows[0], rows=0)
    query = query.passing_over(each.window for each in without if not each.features)
    source = _of(query, label)
    found = Distributions(window=query.windows[0], version=query.version, rows=source.rows)
    if not source.rows:
        return found
    parts = [each for each in without if each.features]
    answered = query.passing_over(each.window for each in parts)
    answers = source if answered is query else _of(answered, label)
    prediction = answers.filled(_PREDICTION, given.prediction)
    classes = prediction is not None or (answers is not source and source.filled(_PREDICTION, given.prediction) is not None)
    labelled = _Labelled(query) if label is None else source
    right = labelled if answers is source else _Labelled(answered) if label is None else answers
    return replace(
        found,
        features=_features(source, query, features, label, parts, {profile.name: profile for profile in given.features}),
        prediction=prediction,
        score=answers.filled(_SCORE, given.score),
        label=labelled.filled(_CLASS_LABEL if classes else _NUMBER_LABEL, given.label),
        residual=None if classes else right.filled(_RESIDUAL, given.residual),
    )


def _features(
    source: "_All | _With",
    query: Query,
    features: Sequence[Feature],
    label: str | None,
    parts: Sequence[LeftOut],
    known: dict[str, ColumnProfile],
) -> tuple[ColumnProfile, ...]:
    """Together as far as they are of the same rows."""
    together: defaultdict[Query, list[_Column]] = defaultdict(list)
    for each in features:
        seen = query.passing_over(part.window for part in parts if each.name in part.features)
        together[seen].append(_Column(each.name, each.kind, each.column, (each.column,)))
    profiles: dict[str, ColumnProfile] = {}
    for seen, columns in together.items():
        of = source if seen is query else _of(seen, label)
        for start in range(0, len(columns), _AT_ONCE):
            found = of.profiles(columns[start : start + _AT_ONCE], known)
            profiles |= {profile.name: profile for profile in found}
    return tuple(profiles[each.name] for each in features)


def _of(query: Query, label: str | None) -> "_All | _With":
    return _All(query) if label is None else _With(query, label)


class _Source:
    """Rows that columns are read from."""

    def __init__(self, query: Query) -> None:
        self._query = query

    @property
    def _empty(self) -> bool:
        """Whether it is known that there are none."""
        return False

    def _table(self, columns: Sequence[str]) -> str:
        """SQL of the rows, with these columns of the store."""
        raise NotImplementedError

    def _look_at(self, columns: Sequence[str]) -> str:
        """SQL of the rows that decide how they are counted."""
        return self._table(columns)

    def _ask(self, statement: str) -> Sequence[Any]:
        return self._query.rows(statement)

    def filled(self, column: _Column, like: ColumnProfile | None) -> ColumnProfile | None:
        """Of the rows that have a value; None when none has."""
        (profile,) = self.profiles([column], {like.name: like} if like is not None else {})
        return replace(profile, rows=profile.rows - profile.nulls, nulls=0) if profile.rows > profile.nulls else None

    def profiles(self, columns: Sequence[_Column], known: dict[str, ColumnProfile]) -> list[ColumnProfile]:
        if self._empty:
            return [ColumnProfile(name=column.name, kind=column.kind, rows=0) for column in columns]
        shaped = [self._shaped(column, known.get(column.name)) for column in columns]
        asked = [column for column, shape in zip(columns, shaped, strict=True) if shape is None]
        looked = iter(self._look(asked, whole=False) if asked else ())
        counted = self._count([shape or next(looked) for shape in shaped])
        many = [place for place, profile in enumerate(counted) if profile is None]
        if many:
            again = self._count(self._look([columns[place] for place in many], whole=True))
            for place, profile in zip(many, again, strict=True):
                counted[place] = profile
        return [
            replace(profile, buckets=self._buckets(column)) if profile.others else profile
            for column, profile in zip(columns, counted, strict=True)
            if profile is not None
        ]

    def _buckets(self, column: _Column) -> tuple[int, ...]:
        """All words of a column with more than are kept, by their hashes."""
        counts = [0] * BUCKETS
        for place, count in self._ask(
            f"SELECT CRC32(toString({column.x})) % {BUCKETS} AS k, count() FROM {self._table(column.reads)} "
            f"WHERE {column.x} IS NOT NULL GROUP BY k"
        ):
            counts[place] = count
        return tuple(counts)

    @staticmethod
    def _shaped(column: _Column, like: ColumnProfile | None) -> _Column | None:
        """How it is counted where that is known: text by value, and numbers as `like` was."""
        if column.kind == "categorical":
            return column
        if like is None or like.kind == "categorical" or (like.grid is None and not like.values):
            return None
        return replace(column, grid=(like.grid.low, like.grid.high) if like.grid is not None else None)

    def _look(self, columns: Sequence[_Column], *, whole: bool) -> list[_Column]:
        """Numbers on a grid over their middle, or, where few different ones were seen, one by one. `whole`: there are many."""
        quantiles = f"quantiles{'TDigest' if whole else 'Exact'}If({TAIL}, {1 - TAIL})"
        parts = [
            f"uniqUpTo({FEW_VALUES})({column.x}), {quantiles}({column.x}, abs({column.x}) < {FAR!r})" for column in columns
        ]
        wanted = [name for column in columns for name in column.reads]
        source = self._table(wanted) if whole else self._look_at(wanted)
        values = iter(self._ask(f"SELECT {', '.join(parts)} FROM {source}")[0])
        found = []
        for column, distinct, (low, high) in zip(columns, values, values, strict=False):
            grid = grid_over(low, high) if distinct > FEW_VALUES or whole else None
            found.append(replace(column, grid=grid or (ANY if whole else None)))
        return found

    def _count(self, columns: Sequence[_Column]) -> list[ColumnProfile | None]:
        """None for numbers that are too many to be counted one by one."""
        statement = "\nUNION ALL\n".join(self._counting(place, column) for place, column in enumerate(columns))
        found: defaultdict[int, list[Any]] = defaultdict(list)
        for place, *counted in self._ask(statement):
            found[place].append(counted)
        return [_profile(column, found[place]) for place, column in enumerate(columns)]

    def _counting(self, place: int, column: _Column) -> str:
        source = self._table(column.reads)
        if column.grid is None:
            words = column.kind == "categorical"
            shown = f"ifNull(toString({column.x}), ''), 0." if words else f"'', ifNull({column.x}, 0.)"
            most = (MOST_VALUES if words else MOST_NUMBERS) + 2
            return f"""
            SELECT * FROM (
                SELECT toUInt16({place}), toUInt16(if({column.x} IS NULL, {_NULL}, 0)), {shown}, count() AS n,
                    sum(count()) OVER (), 0., 0., 0.
                FROM {source} GROUP BY {column.x} ORDER BY isNull({column.x}) DESC, n DESC, {column.x} LIMIT {most}
            )"""
        low, high = column.grid
        width = (high - low) / BINS
        return f"""
        SELECT toUInt16({place}), k, '', sum(y), count(), toUInt64(0), sum(y * y), min(y), max(y) FROM (
            SELECT (assumeNotNull({column.x}) - ({low!r})) / {width!r} AS y,
                toUInt16(multiIf(isNull({column.x}), {_NULL}, abs(assumeNotNull({column.x})) >= {FAR!r}, {_NOT_FINITE},
                    least({BINS + 1}., greatest(0., floor(y) + 1)))) AS k
            FROM {source}
        ) GROUP BY k"""


class _All(_Source):
    """Every prediction of the window."""

    def __init__(self, query: Query) -> None:
        super().__init__(query)
        bounds = f"SELECT count(), min({_TICK}), max({_TICK}) FROM {query.predictions(('at',))}"
        ((self.rows, self._first, self._last),) = query.rows(bounds)

    @property
    def _empty(self) -> bool:
        return not self.rows

    def _table(self, columns: Sequence[str]) -> str:
        return self._query.predictions(columns)

    def _look_at(self, columns: Sequence[str]) -> str:
        """Some stretches of time, spread over the window without a rhythm."""
        if self.rows <= _LOOK:
            return self._table(columns)
        stretches = math.ceil(_STRETCHES * self.rows / _LOOK)
        length = (self._last - self._first) // stretches + 1
        place = f"intDiv({_TICK} - {self._first}, {length})"
        return f"{self._table((*columns, 'at'))} WHERE intHash64({place}) % {stretches} < {_STRETCHES}"


class _Labelled(_Source):
    """Predictions whose label has come."""

    def _table(self, columns: Sequence[str]) -> str:
        return self._query.labelled(columns)


class _With(_Labelled):
    """Those with one certain label."""

    def __init__(self, query: Query, label: str) -> None:
        super().__init__(query)
        self._wanted = {"wanted": label}
        ((self.rows,),) = self._ask(f"SELECT count() FROM {self._table(())}")

    @property
    def _empty(self) -> bool:
        return not self.rows

    def _table(self, columns: Sequence[str]) -> str:
        return f"(SELECT * FROM {super()._table(columns)} WHERE label = {{wanted:String}})"

    def _ask(self, statement: str) -> Sequence[Any]:
        return self._query.rows(statement, self._wanted)


def _profile(column: _Column, counted: Sequence[Any]) -> ColumnProfile | None:
    if column.grid is not None:
        return _on_grid(column, counted)
    if column.kind == "numeric" and len(counted) > MOST_NUMBERS:
        return None
    rows = counted[0][4] if counted else 0
    nulls = sum(n for k, _, _, n, *_ in counted if k == _NULL)
    filled = [(text, number, n) for k, text, number, n, *_ in counted if k != _NULL and abs(number) < FAR]
    values: dict[Value, int] = {}
    for text, number, n in filled[:MOST_VALUES]:
        value = text if column.kind == "categorical" else number
        # Added up: the engine tells a zero from a zero with a sign, and here they are one key.
        values[value] = values.get(value, 0) + n
    plain = ColumnProfile(name=column.name, kind=column.kind, rows=rows, nulls=nulls, values=values)
    if column.kind == "categorical":
        return replace(plain, others=rows - nulls - sum(values.values()))
    return replace(plain, not_finite=rows - nulls - sum(values.values())).with_moments()


def _on_grid(column: _Column, counted: Sequence[Any]) -> ColumnProfile:
    assert column.grid is not None
    low, high = column.grid
    width = (high - low) / BINS
    counts, nulls, not_finite = [0] * (BINS + 2), 0, 0
    below = above = 0.0
    total = squares = 0.0
    least, greatest = math.inf, -math.inf
    for k, _, sum_, n, _, square, minimum, maximum in counted:
        if k == _NULL:
            nulls = n
        elif k == _NOT_FINITE:
            not_finite = n
        else:
            counts[k] = n
            total, squares = total + sum_, squares + square
            least, greatest = min(least, minimum), max(greatest, maximum)
            below, above = (sum_ if k == 0 else below), (sum_ if k == BINS + 1 else above)
    seen = sum(counts)
    grid = Grid(low, high, tuple(counts), below * width + counts[0] * low, above * width + counts[-1] * low)
    plain = ColumnProfile(
        name=column.name, kind=column.kind, rows=seen + nulls + not_finite, nulls=nulls, not_finite=not_finite, grid=grid
    )
    if not seen:
        return plain
    mean = total / seen
    return replace(
        plain,
        mean=low + mean * width,
        deviation=math.sqrt(max(0.0, squares / seen - mean * mean)) * width,
        minimum=low + least * width,
        maximum=low + greatest * width,
    )
