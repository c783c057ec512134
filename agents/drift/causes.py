"""Why a model's data has moved: which of the causes the evidence leaves standing.

Faults of the data come first, because they look like drift; then what the same hours of earlier weeks looked like too; then
labels, where enough have come, part the rest: the shares of classes moved while inputs within each class did not (label shift,
Lipton et al. 2018), or answers of the same class and score are right less often (concept drift), or neither (covariate drift).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agents.drift.categories import categories
from agents.drift.distances import homogeneity
from agents.drift.performance import Performance, perform
from agents.drift.rules import DriftRules
from agents.drift.verdicts import Cause, Comparison, compare
from agents.evidence import Missing
from tools.predictions.port import Outcome
from tools.tables.port import ColumnProfile, Distributions
from tools.values import Frozen

Pair = tuple[Distributions, Distributions]


@dataclass(frozen=True)
class DriftObservations:
    """What is known of one model's data in two windows. All distributions are on the reference's grids."""

    reference: Distributions
    current: Distributions
    earlier: tuple[Distributions, ...] = ()
    """The current window's hours, one season earlier, two seasons earlier, and so on."""
    by_label: Mapping[str, Pair] = field(default_factory=dict)
    """Reference and current, of the most frequent labels."""
    outcomes: tuple[tuple[Outcome, ...], tuple[Outcome, ...]] = ((), ())
    """Of the reference and the current window."""
    missing: tuple[Missing, ...] = ()


class DriftFinding(Frozen):
    cause: Cause
    reason: str
    considered: tuple[str, ...]
    """What was found for and against the other causes, and what could not be told."""
    features: Comparison
    answers: Comparison
    """Prediction, score, label and residual, as far as there are any."""
    performance: Performance
    missing: tuple[Missing, ...] = ()


def explain(observations: DriftObservations, rules: DriftRules) -> DriftFinding:
    reference, current = observations.reference, observations.current
    features = compare(pairs(reference.features, current.features), rules)
    answers = compare(pairs(_answers(reference), _answers(current)), rules)
    performance = perform(*observations.outcomes)
    signs = _Signs(observations, features, answers, performance, rules)
    cause, reason = signs.cause()
    return DriftFinding(
        cause=cause,
        reason=reason,
        considered=tuple(signs.considered),
        features=features,
        answers=answers,
        performance=performance,
        missing=observations.missing,
    )


def pairs(reference: Sequence[ColumnProfile], current: Sequence[ColumnProfile]) -> list[tuple[ColumnProfile, ColumnProfile]]:
    """Those that both sides have, in the reference's order."""
    found = {profile.name: profile for profile in current}
    return [(each, found[each.name]) for each in reference if each.name in found]


def shares_moved(before: ColumnProfile, now: ColumnProfile, rules: DriftRules) -> tuple[float, bool]:
    """How far the shares of two categorical columns are apart, 0 to 1; and whether that is beyond chance and policy."""
    found = categories(before, now)
    distance = found.total_variation()
    return distance, distance >= rules.min_label_shift and homogeneity(found.reference, found.current) < rules.significance


def labels_moved(reference: Distributions, current: Distributions, rules: DriftRules) -> bool:
    """Whether there are labels of classes enough, and other ones than before: only then does it matter what the inputs are like
    within each class."""
    before, now = reference.label, current.label
    if before is None or now is None or min(before.count, now.count) < rules.min_labels:
        return False
    return before.kind == now.kind == "categorical" and shares_moved(before, now, rules)[1]


def _answers(of: Distributions) -> list[ColumnProfile]:
    return [each for each in (of.prediction, of.score, of.label, of.residual) if each is not None]


class _Signs:
    """Each sign is looked for once; what it said is kept in `considered`."""

    def __init__(
        self,
        observations: DriftObservations,
        features: Comparison,
        answers: Comparison,
        performance: Performance,
        rules: DriftRules,
    ) -> None:
        self._observations = observations
        self._features = features
        self._answers = answers
        self._performance = performance
        self._rules = rules
        self._moved = [each.name for each in features.features if each.drifted]
        self.considered: list[str] = []

    def cause(self) -> tuple[Cause, str]:
        if self._features.cause in ("data_quality", "undetermined"):
            return self._features.cause, self._features.reason
        labels_moved, worse = self._labels_moved(), self._worse()
        within = self._moved_within_classes() if labels_moved else None
        if labels_moved and within is False:
            return "label_shift", f"{labels_moved}, and within the classes no input did"
        if worse:
            return "concept_drift", f"{worse}{self._although()}"
        if not self._moved:
            if labels_moved:
                return "concept_drift", f"{labels_moved}, while no input did"
            return "none", self._features.reason
        if self._seasonal():
            return "seasonality", f"{_named(self._moved)} moved, as in the same hours of earlier seasons"
        return "covariate_drift", f"{_named(self._moved)} moved, and no value is broken"

    def _labels_moved(self) -> str | None:
        """What moved, in words."""
        before, now = self._observations.reference.label, self._observations.current.label
        if before is None or now is None or min(before.count, now.count) < self._rules.min_labels:
            self.considered.append("Too few labels have come to tell a shift of labels, or a change of the concept.")
            return None
        if before.kind != "categorical" or now.kind != "categorical":
            moved = any(each.name == "label" and each.drifted for each in self._answers.features)
            return "the labels moved" if moved else None
        distance, moved = shares_moved(before, now, self._rules)
        if not moved:
            self.considered.append(f"The shares of the labels moved by {distance:.1%} only.")
            return None
        return f"the shares of the labels moved by {distance:.1%}"

    def _moved_within_classes(self) -> bool | None:
        """None where there is no class of which both windows have enough."""
        enough = {
            label: (before, now)
            for label, (before, now) in self._observations.by_label.items()
            if min(before.rows, now.rows) >= max(self._rules.min_rows, self._rules.min_labels // 4)
        }
        if not enough:
            return None
        rules = self._rules.model_copy(update={"significance": self._rules.significance / len(enough)})
        for label, (before, now) in enough.items():
            found = compare(pairs(before.features, now.features), rules)
            if moved := [each.name for each in found.features if each.drifted]:
                self.considered.append(f"Of those labelled {label!r}, {_named(moved)} moved too: it is not the labels alone.")
                return True
        return False

    def _worse(self) -> str | None:
        """Answers like those of before are right less often."""
        change, p = self._performance.same_score_change, self._performance.same_score_p
        if self._performance.labelled < self._rules.min_labels or change is None or p is None:
            off = next((each for each in self._answers.features if each.name == "residual"), None)
            if off is not None and off.drifted and off.n_current >= self._rules.min_labels:
                return "the answers are off by other amounts than before"
            return None
        if -change >= self._rules.min_accuracy_drop and p < self._rules.significance:
            return f"answers of the same class and score are right {-change:.1%} less often than before"
        self.considered.append(f"Answers of the same class and score are right about as often as before ({change:+.1%}).")
        return None

    def _although(self) -> str:
        return f"; {_named(self._moved)} moved as well" if self._moved else ", and no input moved"

    def _seasonal(self) -> bool:
        """Whether what moved was as it is now, and unlike the reference, in at least half of the seasons before."""
        like = unlike = 0
        for earlier in self._observations.earlier:
            since = self._drifted(earlier, self._observations.current)
            before = self._drifted(self._observations.reference, earlier)
            if not all(name in since and name in before for name in self._moved):
                continue
            same = all(before[name] and not since[name] for name in self._moved)
            like, unlike = like + same, unlike + (not same)
        if not like + unlike:
            self.considered.append("There is too little traffic of earlier seasons to tell a seasonal rhythm.")
        elif unlike:
            self.considered.append(f"{_named(self._moved)} were not so in {unlike} of {like + unlike} earlier seasons.")
        return like > 0 and like >= unlike

    def _drifted(self, before: Distributions, now: Distributions) -> dict[str, bool]:
        """By feature; without those of which there is too little to say."""
        found = compare(pairs(before.features, now.features), self._rules)
        return {each.name: each.drifted for each in found.features if each.p_value is not None}


def _named(names: Sequence[str]) -> str:
    return f"{', '.join(names[:5])}{' and others' if len(names) > 5 else ''}"
