"""How right a model is: measured on the labels that have come, estimated for those that have not.

An estimate looks up how often answers of the same class and score used to be right. That holds while the same inputs have the
same labels; after the concept has changed it does not, which is why it is called an estimate wherever it is shown.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from agents.statistics import chi_square_tail, wilson
from tools.predictions.port import Outcome
from tools.values import Frozen

_LEVEL = 0.05
"""Of the intervals: they hold 95 times in 100."""
_PRIOR = 10.0
"""Answers by which a group's share of right ones is drawn towards its class's: a group of two says little."""

Group = tuple[str, int | None]
"""Predicted class, and the twentieth that its score is in."""
Tally = tuple[int, int]
"""Labelled, and right."""


class Performance(Frozen):
    answered: int
    """Predictions with a class."""
    labelled: int
    accuracy: float | None
    """Of the labelled; None without any."""
    interval: tuple[float, float] | None
    """95 % score interval of it."""
    estimate: float | None
    """Accuracy to be expected of those whose label has not come; None where all have, or nothing is known to go by."""
    same_score_change: float | None
    """Change of the share of right answers among answers of the same class and score, since the reference."""
    same_score_p: float | None
    """p-value of that change being chance: Cochran-Mantel-Haenszel over the groups."""

    @property
    def coverage(self) -> float | None:
        """Share of the answers whose label has come."""
        return self.labelled / self.answered if self.answered else None


def perform(reference: Sequence[Outcome], current: Sequence[Outcome]) -> Performance:
    """Of the current window; the reference's labelled answers are what estimate and change are measured by."""
    before, now = _tallies(reference), _tallies(current)
    labelled, right = sum(n for n, _ in now.values()), sum(hits for _, hits in now.values())
    change, p = _change(before, now)
    return Performance(
        answered=sum(each.count for each in current),
        labelled=labelled,
        accuracy=right / labelled if labelled else None,
        interval=wilson(right, labelled, _LEVEL) if labelled else None,
        estimate=_estimate(before, current),
        same_score_change=change,
        same_score_p=p,
    )


def _tallies(outcomes: Iterable[Outcome]) -> dict[Group, Tally]:
    found: defaultdict[Group, Tally] = defaultdict(lambda: (0, 0))
    for each in outcomes:
        if each.label is not None:
            n, hits = found[each.prediction, each.twentieth]
            found[each.prediction, each.twentieth] = (n + each.count, hits + each.count * (each.label == each.prediction))
    return dict(found)


def _estimate(before: Mapping[Group, Tally], current: Sequence[Outcome]) -> float | None:
    classes: defaultdict[str, Tally] = defaultdict(lambda: (0, 0))
    for (prediction, _), (n, hits) in before.items():
        all_n, all_hits = classes[prediction]
        classes[prediction] = (all_n + n, all_hits + hits)
    expected = open_ = 0.0
    for each in current:
        if each.label is not None:
            continue
        if not classes.get(each.prediction, (0, 0))[0]:
            return None
        n, hits = classes[each.prediction]
        group_n, group_hits = before.get((each.prediction, each.twentieth), (0, 0))
        expected += each.count * (group_hits + _PRIOR * hits / n) / (group_n + _PRIOR)
        open_ += each.count
    return expected / open_ if open_ else None


def _change(before: Mapping[Group, Tally], now: Mapping[Group, Tally]) -> tuple[float | None, float | None]:
    """Mantel-Haenszel's risk difference and the CMH test, without continuity correction: Mantel and Haenszel (1959), J. Natl.
    Cancer Inst. 22(4); Agresti, Categorical Data Analysis, 3rd ed., 6.4."""
    weight = difference = surplus = variance = 0.0
    for group in before.keys() & now.keys():
        (n, hits), (m, other_hits) = before[group], now[group]
        total, right = n + m, hits + other_hits
        weight += n * m / total
        difference += n * m / total * (other_hits / m - hits / n)
        surplus += other_hits - m * right / total
        variance += n * m * right * (total - right) / (total * total * max(1, total - 1))
    if not weight:
        return None, None
    return difference / weight, chi_square_tail(surplus * surplus / variance, 1) if variance else 1.0
