"""What counts as drift, and how sure one has to be. Data, as all policies are."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self, get_args

from pydantic import Field

from tools.values import Frozen

Share = Annotated[float, Field(ge=0, le=1)]

NumericMethod = Literal["wasserstein", "psi", "jensen_shannon", "ks"]
CategoricalMethod = Literal["jensen_shannon", "psi", "chi_squared"]
Method = Literal["wasserstein", "jensen_shannon", "psi", "ks", "chi_squared"]


NUMERIC: frozenset[str] = frozenset(get_args(NumericMethod))
CATEGORICAL: frozenset[str] = frozenset(get_args(CategoricalMethod))


class DriftRules(Frozen):
    numeric_method: NumericMethod | None = None
    """Of numbers and times. None: the Wasserstein distance, and as categories where there are few different values; what
    Evidently takes at production's sizes."""
    categorical_method: CategoricalMethod = "jensen_shannon"
    """Of words and truth values."""
    wasserstein: Annotated[float, Field(gt=0)] = 0.1
    """Of numbers, in standard deviations of the reference; Evidently's threshold."""
    jensen_shannon: Annotated[float, Field(gt=0)] = 0.1
    """Of categories; Evidently's threshold."""
    psi: Annotated[float, Field(gt=0)] = 0.1
    """Population stability index; Evidently's threshold."""
    test_level: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """p-value of Kolmogorov-Smirnov or chi-squared; Evidently's threshold."""
    min_moved: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Beside a p-value: share of rows that would have to be other ones; a tenth of a standard deviation makes some 0.04."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.005
    """False discovery rate over all features of a comparison, beside the size: half of what may be claimed wrongly in a hundred
    comparisons without a change, because the tests behind it are approximations."""
    min_rows: int = Field(default=50, ge=2)
    """On either side; below it nothing is claimed of a feature."""
    few_values: int = Field(default=5, ge=1)
    """Numbers of at most so many different values are compared as categories, as Evidently does, where no `numeric_method` is
    named."""
    dataset_share: Share = 0.5
    """The dataset has drifted when so many of its features have; Evidently's."""
    min_null_rise: Share = 0.05
    """Rise of the share of nulls, or of values never seen before, that is a fault of the data."""
    unit_factor: Annotated[float, Field(gt=1)] = 8.0
    """A feature whose middle and spread both grew, or shrank, so many times has another unit: inch and foot are 12 apart."""
    min_stuck: Share = 0.2
    """Share of rows with one and the same value of a number that is a fault, when hardly any had it (2 % at most) before."""
    usual_value: Share = 0.1
    """A number that has one value only is not stuck where at least this share of its reference had that value: a day has one
    weekday of seven, and a calm one no rain."""
    min_labels: int = Field(default=200, ge=2)
    """On either side; below it nothing is claimed about labels: at 200 a share has a standard error of 3.5 points."""
    min_label_shift: Share = 0.05
    """By how much the shares of classes have to move (total variation) to be a shift of labels."""
    min_accuracy_drop: Share = 0.04
    """How much rarer answers of the same class and score have to be right to say that the concept has changed. Twice what an
    investigation asks of a whole version: here the comparison is made within small groups."""
    most_classes: int = Field(default=5, ge=1)
    """The most frequent classes, within which inputs are compared to tell a shift of labels from one of inputs."""

    def by(self, methods: Iterable[Method]) -> Self:
        """With these methods, each for the kinds of columns that it is for; of two for one kind the later counts."""
        chosen: dict[str, str] = {}
        for method in methods:
            chosen |= {"numeric_method": method} if method in NUMERIC else {}
            chosen |= {"categorical_method": method} if method in CATEGORICAL else {}
        return self.model_copy(update=chosen)
