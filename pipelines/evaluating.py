"""A candidate beside the champion: both asked about the same rows, whose labels are known and which neither has learnt from.

Measures only. What the figures mean is decided elsewhere, by policy.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tools.errors import PermanentError
from tools.inference.engines import Engine, load, read_spec
from tools.inference.tables import Answers, answer, encode
from tools.registry.artifacts import ORIGIN
from tools.registry.evaluations import Compared, Discordance, Facts, Fairness, Limited
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import FILE, CategoricalFeature, ServingSpec

Part = Literal["held_out", "recent"]

_RESAMPLES = 400
"""Twenty of them lie beyond 5 %."""
_RESAMPLED_ROWS = 20_000
"""Rows that a resample is drawn from: beyond it an interval gets no narrower that matters, and the time grows on."""
_SLICES = 10
"""The most frequent values of a category."""
_LEAST_SLICE = 100
LEAST_GROUP = 200
"""Rows of a group, unless policy says otherwise: at 200 a share has a standard error of up to 3.5 points, and the largest gap
of all would be that of whichever group has the fewest."""
_NAMED_GROUPS = 5
_LONGEST_GROUP = 40
"""Beside which its rows are named."""
_LONGEST_NAME = 200
_BINS = 20
_BATCHES = (1, 8, 32)
"""What the gateway makes of traffic: one by one, and what gathers while a batch is computed."""
_CALLS = 200
_ROUNDS = 5
_WARMING = 20


@dataclass(frozen=True)
class Contender:
    spec: ServingSpec
    engine: Engine
    bytes: int


@dataclass(frozen=True)
class Labelled:
    table: pa.Table
    """A column for each feature of either contender."""
    labels: NDArray[Any]
    """Classes as text, or numbers for a regression."""


def contender(files: ModelFiles) -> Contender:
    """Raises PermanentError for what cannot be served either: a pickle, a broken file."""
    return Contender(read_spec(files), load(files, allow_pickle=()), size_of(files))


def size_of(files: ModelFiles) -> int:
    """Bytes of the model, with weights that are in files of their own."""
    ours = (FILE, ORIGIN)
    return sum(path.stat().st_size for path in files.folder.rglob("*") if path.is_file() and path.name not in ours)


def measure(
    candidate: Contender,
    champion: Contender,
    parts: Mapping[Part, Labelled],
    *,
    groups: Sequence[str] = (),
    least_group: int = LEAST_GROUP,
    seed: int = 0,
    latencies: bool = True,
) -> Facts:
    """`groups`: features by whose values fairness is looked at, where at least `least_group` rows have the value. `latencies`:
    whether the two are timed. Blocking, seconds long.

    Raises PermanentError when the two answer different questions, or a table lacks a feature.
    """
    ours, theirs = candidate.spec, champion.spec
    if (ours.task, sorted(ours.classes)) != (theirs.task, sorted(theirs.classes)):
        raise PermanentError(f"the candidate answers {ours.task} {ours.classes}, the champion {theirs.task} {theirs.classes}")
    compared: list[Compared] = []
    fairness: list[Fairness] = []
    parts = {window: rows for window, rows in parts.items() if len(rows.labels)}
    nowhere = [name for name in groups if not any(name in rows.table.column_names for rows in parts.values())]
    if parts and nowhere:
        raise PermanentError(f"{', '.join(nowhere)}: the table has no such column to group by")
    if not parts:
        raise PermanentError("there are no labelled rows to hold the two to")
    for window, rows in parts.items():
        answers = (_answers(candidate, rows.table, ours), _answers(champion, rows.table, ours))
        both = _Both(window, rows, answers, ours, seed)
        # Traffic has the features only; a source may know more of whom a row is about.
        here = [name for name in groups if name in rows.table.column_names]
        compared += both.compared(here)
        if window == "held_out" or "held_out" not in parts:
            fairness += both.fairness(here, least_group)
    limited = [Limited(name="size_bytes", candidate=candidate.bytes, champion=champion.bytes)]
    if latencies:
        limited += _latencies(candidate, champion, max((rows.table for rows in parts.values()), key=len))
    return Facts(compared=tuple(compared), limited=tuple(limited), fairness=tuple(fairness))


def _answers(one: Contender, table: pa.Table, asked: ServingSpec) -> Answers:
    """With scores of the second class of `asked`, whichever way round the model has its two. A row whose score is not finite
    has no prediction: in production that is a failed request."""
    found = answer(one.engine, one.spec, encode(table, one.spec))
    if asked.task == "regression":
        return found
    turned = asked.task == "binary" and one.spec.classes[1] != asked.classes[1]
    predictions = np.where(np.isfinite(found.scores), found.predictions, "")
    return Answers(predictions, 1.0 - found.scores if turned else found.scores)


class _Both:
    """The answers of both about the rows of one part."""

    def __init__(self, window: Part, rows: Labelled, answers: tuple[Answers, Answers], spec: ServingSpec, seed: int) -> None:
        self._window = window
        self._rows = rows
        self._answers = answers
        self._spec = spec
        self._random = np.random.default_rng(seed)

    def compared(self, groups: Sequence[str]) -> Iterator[Compared]:
        answered = np.logical_and(*(np.isfinite(each.scores) for each in self._answers))
        if self._spec.task == "regression":
            labels = self._rows.labels.astype(np.float64)
            ours, theirs = (np.abs(each.scores - labels)[answered] for each in self._answers)
            if len(ours):
                yield self._by_mean("mae", ours, theirs)
            return
        right, other = (np.equal(each.predictions, self._rows.labels) for each in self._answers)
        yield self._accuracy("accuracy", right, other)
        if self._spec.task == "binary":
            truth = np.equal(self._rows.labels, self._spec.classes[1])[answered]
            ours, theirs = (each.scores[answered] for each in self._answers)
            if 0 < truth.sum() < len(truth):
                yield self._resampled("auc", _auc, truth, ours, theirs, "higher")
                yield self._resampled("calibration_error", _calibration_error, truth, ours, theirs, "lower")
            if len(truth):
                yield self._by_mean("log_loss", _log_loss(truth, ours), _log_loss(truth, theirs))
        for name, chosen in self._slices(groups):
            yield self._accuracy(name, right[chosen], other[chosen])

    def fairness(self, groups: Sequence[str], least: int = LEAST_GROUP) -> Iterator[Fairness]:
        if self._spec.task != "binary" or not groups:
            return
        from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference

        truth = (self._rows.labels == self._spec.classes[1]).astype(int)
        said = [np.equal(each.predictions, self._spec.classes[1]).astype(int) for each in self._answers]
        for feature in groups:
            members = np.array(_texts(self._rows.table, feature))
            compared, left_out = _large(members, least)
            for name, gap in (
                ("demographic_parity_difference", demographic_parity_difference),
                ("equalized_odds_difference", equalized_odds_difference),
            ):
                ours, theirs = (
                    float(gap(truth[compared], each[compared], sensitive_features=members[compared])) for each in said
                )
                yield Fairness(
                    name=f"{name}:{feature}",
                    candidate=ours,
                    champion=theirs,
                    smallest_group=int(np.unique(members[compared], return_counts=True)[1].min()),
                    left_out=tuple(f"{value} ({count:,})" for value, count in left_out[:_NAMED_GROUPS]),
                    left_out_groups=len(left_out),
                    left_out_rows=sum(count for _, count in left_out),
                )

    def _slices(self, groups: Sequence[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        categories = [feature.name for feature in self._spec.features if isinstance(feature, CategoricalFeature)]
        seen: set[str] = set()
        for kind, features in (("slice", [each for each in categories if each not in groups]), ("group", list(groups))):
            for feature in features:
                texts = np.array(_texts(self._rows.table, feature))
                values, counts = np.unique(texts, return_counts=True)
                for place in np.argsort(-counts, kind="stable")[:_SLICES]:
                    name = f"{kind}:{feature}={values[place]}"[:_LONGEST_NAME]
                    if counts[place] >= _LEAST_SLICE and name not in seen:
                        seen.add(name)
                        yield name, texts == values[place]

    def _accuracy(self, name: str, ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> Compared:
        return Compared(
            name=name,
            window=self._window,
            candidate=float(ours.mean()),
            champion=float(theirs.mean()),
            rows=len(ours),
            discordance=Discordance(
                only_candidate_right=int((ours & ~theirs).sum()), only_champion_right=int((theirs & ~ours).sum())
            ),
        )

    def _by_mean(self, name: str, ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> Compared:
        """Lower is better. The mean of a resample is a weighted mean."""
        apart = self._some(ours - theirs)
        weights = self._random.multinomial(len(apart), np.full(len(apart), 1 / len(apart)), size=_RESAMPLES)
        return Compared(
            name=name,
            window=self._window,
            candidate=float(ours.mean()),
            champion=float(theirs.mean()),
            better="lower",
            rows=len(ours),
            resamples=tuple((weights @ apart / len(apart)).tolist()),
        )

    def _resampled(
        self,
        name: str,
        score: Callable[[NDArray[np.bool_], NDArray[np.float64]], float],
        truth: NDArray[np.bool_],
        ours: NDArray[np.float64],
        theirs: NDArray[np.float64],
        better: Literal["higher", "lower"],
    ) -> Compared:
        places = self._some(np.arange(len(truth)))
        drawn: list[float] = []
        while len(drawn) < _RESAMPLES:
            chosen = self._random.choice(places, len(places))
            if 0 < truth[chosen].sum() < len(chosen):
                drawn.append(score(truth[chosen], ours[chosen]) - score(truth[chosen], theirs[chosen]))
        return Compared(
            name=name,
            window=self._window,
            candidate=score(truth, ours),
            champion=score(truth, theirs),
            better=better,
            rows=len(truth),
            resamples=tuple(drawn),
        )

    def _some(self, rows: NDArray[Any]) -> NDArray[Any]:
        return rows if len(rows) <= _RESAMPLED_ROWS else self._random.choice(rows, _RESAMPLED_ROWS, replace=False)


def _large(members: NDArray[Any], least: int) -> tuple[NDArray[np.bool_], list[tuple[str, int]]]:
    """Which rows are of a group with enough of them, and the other groups with their rows, the largest first. Where fewer than
    two have enough, no gap can be judged, and all are looked at."""
    values, places, counts = np.unique(members, return_inverse=True, return_counts=True)
    enough = counts >= least
    if enough.sum() < 2:
        return np.ones(len(members), dtype=bool), []
    order = [place for place in np.argsort(-counts, kind="stable") if not enough[place]]
    return enough[places], [(str(values[place])[:_LONGEST_GROUP], int(counts[place])) for place in order]


def _auc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Mann-Whitney: the share of pairs that the score puts in the right order, ties as half."""
    order = np.sort(scores[~truth])
    below, through = (np.searchsorted(order, scores[truth], side=side) for side in ("left", "right"))
    return float(np.mean(below + through) / (2 * len(order)))


def _log_loss(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    near = np.clip(scores, 1e-12, 1 - 1e-12)
    return -np.log(np.where(truth, near, 1 - near))


def _calibration_error(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Expected calibration error over equal bins: Guo et al. (2017), On calibration of modern neural networks, ICML."""
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    apart = np.bincount(bins, weights=scores - truth, minlength=_BINS)
    return float(np.abs(apart).sum() / len(truth))


def _latencies(candidate: Contender, champion: Contender, table: pa.Table) -> Iterator[Limited]:
    """Of the processor that one call takes, in one thread as the gateway computes: a job shares its machine, and what others do
    on it is no property of a model. Interleaved, so that what is left of that hits both alike."""
    few = table.slice(0, max(_BATCHES))
    few = pa.concat_tables([few] * -(-max(_BATCHES) // len(few)))
    arrays = [encode(few, each.spec) for each in (candidate, champion)]
    for size in _BATCHES:
        seconds = np.empty((_ROUNDS, _CALLS, 2))
        batches = [[np.ascontiguousarray(array[:size]) for array in rows] for rows in arrays]
        for turn in range(-_WARMING, _ROUNDS * _CALLS):
            for place, (one, batch) in enumerate(zip((candidate, champion), batches, strict=True)):
                started = time.thread_time()
                one.engine(*batch)
                if turn >= 0:
                    seconds[turn // _CALLS, turn % _CALLS, place] = time.thread_time() - started
        for share in (50, 99):
            # The median over rounds: a moment in which the machine did something else spoils one of them.
            ours, theirs = (1000 * float(each) for each in np.median(np.percentile(seconds, share, axis=1), axis=0))
            yield Limited(name=f"latency_p{share}_ms@{size}", candidate=ours, champion=theirs)


def _texts(table: pa.Table, feature: str) -> list[str]:
    if feature not in table.column_names:
        raise PermanentError(f"{feature}: the table has no such column to group by")
    return ["(none)" if value is None else str(value) for value in table[feature].to_pylist()]
