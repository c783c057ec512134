"""Single values that an action is verified by, each with its limit and whether it is kept."""

from collections.abc import Iterable

from agents.incident.observations import Observations
from agents.policies import Policies, Slo
from agents.statistics import two_proportions, wilson
from agents.wording import milliseconds, number, share
from tools.predictions.port import VersionWindow
from tools.values import Frozen


class Measure(Frozen):
    """One value that was looked at. `ok` is None where there is too little to judge by."""

    name: str
    value: float | None
    limit: float | None = None
    unit: str = ""
    sample_size: int | None = None
    ok: bool | None = None
    needed: bool = True
    """False: shown for comparison, promised by nobody."""

    def __str__(self) -> str:
        size = f" ({self.sample_size} samples)" if self.sample_size else ""
        shown = self._shown(self.value) if self.value is not None else "not measured"
        return f"{self.name.replace('_', ' ')} {shown}{size}"

    @property
    def bound(self) -> str:
        return self._shown(self.limit) if self.limit is not None else "what it was before"

    def _shown(self, value: float) -> str:
        match self.unit:
            case "ms":
                return milliseconds(value)
            case "":
                return share(value)
            case _:
                return number(value)


def operations(served: VersionWindow | None, slo: Slo, minimum: int) -> tuple[Measure, Measure]:
    """Error rate and p99 of `served`, judged from `minimum` predictions on."""
    count = served.count if served else 0
    return (
        _operation("error_rate", served.error_rate if served else None, slo.max_error_rate, count, minimum),
        _operation("latency_p99", served.latency_p99_ms if served else None, slo.max_latency_p99_ms, count, minimum, "ms"),
    )


def _operation(name: str, value: float | None, limit: float | None, count: int, minimum: int, unit: str = "") -> Measure:
    ok = None if value is None or limit is None or count < minimum else value <= limit
    return Measure(name=name, value=value, limit=limit, unit=unit, sample_size=count, ok=ok, needed=limit is not None)


def quality(
    served: VersionWindow | None, bad: VersionWindow | None, slo: Slo, minimum: int, *, must_improve: bool
) -> tuple[Measure, Measure]:
    """How right `served` is, and how right `bad` had been.

    Needed where accuracy is promised, or `bad` had labels to compare with. `must_improve`: being good enough does not do.
    """
    known = served if served is not None and served.labelled else bad
    if known is not None and known.accuracy is None and known.mean_absolute_error is not None:
        return _mean_error(served, bad, minimum, must_improve=must_improve)
    value, labelled = (served.accuracy, served.labelled) if served else (None, 0)
    earlier, earlier_labelled = (bad.accuracy, bad.labelled) if bad else (None, 0)
    ok: bool | None = None
    if value is not None and labelled >= minimum:
        better = not must_improve or earlier is None or earlier_labelled < minimum or value > earlier
        ok = better and (slo.min_accuracy is None or value >= slo.min_accuracy)
    needed = slo.min_accuracy is not None or earlier_labelled >= minimum
    return (
        Measure(name="accuracy", value=value, limit=slo.min_accuracy, sample_size=labelled, ok=ok, needed=needed),
        Measure(name="accuracy_before", value=earlier, sample_size=earlier_labelled, needed=False),
    )


def _mean_error(
    served: VersionWindow | None, bad: VersionWindow | None, minimum: int, *, must_improve: bool
) -> tuple[Measure, Measure]:
    value, labelled = (served.mean_absolute_error, served.labelled) if served else (None, 0)
    earlier, earlier_labelled = (bad.mean_absolute_error, bad.labelled) if bad else (None, 0)
    comparable = must_improve and earlier is not None and earlier_labelled >= minimum
    ok: bool | None = None
    if value is not None and labelled >= minimum:
        ok = not comparable or earlier is None or value < earlier
    name, unit = "mean_absolute_error", "of the label's unit"
    return (
        Measure(name=name, value=value, unit=unit, sample_size=labelled, ok=ok, needed=earlier_labelled >= minimum),
        Measure(name=f"{name}_before", value=earlier, unit=unit, sample_size=earlier_labelled, needed=False),
    )


def utilisation(observations: Observations, limit: float) -> Measure:
    used = observations.capacity.utilisation if observations.capacity is not None else None
    return Measure(name="utilisation", value=used, limit=limit, ok=None if used is None else used < limit)


def certainly_wrong(
    served: VersionWindow, bad: VersionWindow | None, slo: Slo, policies: Policies, *, must_improve: bool
) -> str | None:
    """Why it is certain already, on the labels so far, that accuracy has not come back."""
    level, minimum = policies.investigation.significance, policies.verification.min_labels
    if served.accuracy is None or served.correct is None or served.labelled < minimum:
        return None
    if slo.min_accuracy is not None and wilson(served.correct, served.labelled, level)[1] < slo.min_accuracy:
        return (
            f"Accuracy is {share(served.accuracy)} on {served.labelled} labels since the change, "
            f"below the promised {share(slo.min_accuracy)} beyond chance."
        )
    if not must_improve and slo.min_accuracy is not None:
        return None
    if bad is None or bad.accuracy is None or bad.correct is None or bad.labelled < minimum:
        return None
    p_value = two_proportions(served.correct, served.labelled, bad.correct, bad.labelled)
    if served.accuracy < bad.accuracy and p_value < level:
        return f"Accuracy is {share(served.accuracy)} since the change and was {share(bad.accuracy)} before it: it got worse."
    return None


def listed(measures: Iterable[Measure]) -> str:
    return ", ".join(str(each) for each in measures if each.value is not None) or "nothing was measured"


def lacking(measure: Measure, min_labels: int) -> str | None:
    """What is still wanting of a needed measure; None when nothing is."""
    if not measure.needed or measure.ok:
        return None
    labels = measure.name in ("accuracy", "mean_absolute_error")
    if labels and (measure.sample_size or 0) < min_labels:
        return f"{measure.sample_size or 0} of {min_labels} labels have come"
    if measure.ok is False:
        return f"{measure} is not within {measure.bound}"
    return f"{measure.name.replace('_', ' ')} could not be measured" if measure.value is None else None
