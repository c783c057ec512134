"""What each cause would have left behind, held against what was measured. One function per cause, all with the same shape."""

from collections.abc import Callable, Iterator

from agents.evidence import Cause, Hypothesis
from agents.incident.facts import Facts
from agents.incident.measures.comparisons import Metric
from agents.incident.measures.shifts import Shift
from agents.incident.weights import (
    BROKEN_INPUT,
    BUSY_AND_BROKEN,
    CIRCUMSTANCE,
    DOUBT,
    LABELS,
    MOVED_INPUT,
    OBJECTION,
    OTHER_PERIOD,
    PROMISES_KEPT,
    REFUTATION,
    SAME_PERIOD,
    SERVICE,
    STRONG_CIRCUMSTANCE,
    TRAFFIC,
    UNEXPLAINED_LOSS,
    Argument,
    weigh,
)

_NO_INPUTS = "There are no inputs to compare."

_WORSE: dict[Metric, str] = {"accuracy": "is wrong more often", "errors": "fails more often", "latency": "is slower"}


def model_regression(facts: Facts) -> Hypothesis:
    change, direct, circumstances, objections = facts.rollout, [], [], []
    if change is None:
        known = facts.observations.champion is not None or facts.observations.history
        stood = "The champion has not changed in the time that was looked at."
        return weigh(Cause.MODEL_REGRESSION, (), (), (), stood if known else "No champion of that name is known.")
    for metric, shift in facts.against_previous.items():
        where = "on the same period" if shift.same_period else "than that did before the change"
        said = f"version {change.new} {_WORSE[metric]} than version {change.previous} {where}"
        if shift.real:
            direct.append(_argued(shift, said, SAME_PERIOD if shift.same_period else OTHER_PERIOD))
        elif shift.same_period and shift.held and _real(facts.steady, metric):
            said = f"version {change.previous} got worse as well, and version {change.new} is no worse on the same period"
            objections.append(_certain(shift, said, REFUTATION))
    if facts.worst_slice is not None and facts.worst_slice.real:
        circumstances.append(_argued(facts.worst_slice, "the loss is concentrated in one slice", STRONG_CIRCUMSTANCE))
    if facts.inputs.still and facts.inputs.summary is not None:
        circumstances.append(Argument(facts.inputs.summary.id, "inputs have not moved", STRONG_CIRCUMSTANCE))
    if change.before_alerts:
        circumstances.append(Argument(change.evidence.id, "the change came before the alert", CIRCUMSTANCE))
    else:
        objections.append(Argument(change.evidence.id, "the alert is older than the change", OBJECTION))
    if facts.named is not None and facts.named.version == change.new:
        circumstances.append(Argument(facts.named.evidence.id, "the alerts name the new version", CIRCUMSTANCE))
    elif facts.named is not None:
        objections.append(Argument(facts.named.evidence.id, "the alerts name the version before it", DOUBT))
    if not any(each.real and each.same_period for each in facts.against_previous.values()):
        objections += _confounders(facts)
    objections += _doubtful_labels(facts)
    return weigh(
        Cause.MODEL_REGRESSION,
        direct,
        circumstances,
        objections,
        "The new champion is not shown to be worse than the one before it.",
    )


def data_drift(facts: Facts) -> Hypothesis:
    direct, circumstances = [], []
    accuracy = facts.steady.get("accuracy")
    lost = accuracy is not None and accuracy.real
    leading, others = facts.inputs.drifted[:1], facts.inputs.drifted[1:]
    direct += [_argued(each, f"{_feature(each)} has moved", MOVED_INPUT) for each in leading]
    circumstances += [_argued(each, f"{_feature(each)} has moved as well", CIRCUMSTANCE) for each in others]
    if accuracy is not None and lost:
        if direct:
            circumstances.append(_argued(accuracy, "a version that nobody touched got worse", STRONG_CIRCUMSTANCE))
        elif facts.inputs.still and not facts.labels.broken and facts.labels.checked:
            # By exclusion: as long as nobody can tell whether the labels are right, they are not excluded.
            said = "a version that nobody touched got worse on inputs that stand still: what it learnt may no longer hold"
            direct.append(_argued(accuracy, said, UNEXPLAINED_LOSS))
    if facts.labels.outputs is not None and facts.labels.outputs.real and direct:
        circumstances.append(_argued(facts.labels.outputs, "the outputs have moved too", CIRCUMSTANCE))
    stood = "No input has moved beyond chance and policy." if facts.inputs.compared else _NO_INPUTS
    return weigh(Cause.DATA_DRIFT, direct, circumstances, _only_new(facts), stood)


def data_quality(facts: Facts) -> Hypothesis:
    direct = [_argued(each, f"{_feature(each)} is broken ({_kind(each)})", BROKEN_INPUT) for each in facts.inputs.faults]
    accuracy = facts.steady.get("accuracy")
    circumstances = []
    if accuracy is not None and accuracy.real:
        circumstances.append(_argued(accuracy, "a version that nobody touched got worse", CIRCUMSTANCE))
    whole = "No input is missing, stuck, out of range or unknown." if facts.inputs.compared else _NO_INPUTS
    return weigh(Cause.DATA_QUALITY, direct, circumstances, _only_new(facts), whole)


def infrastructure(facts: Facts) -> Hypothesis:
    direct, circumstances, objections = [], [], []
    for metric, shift in facts.service.items():
        if shift.real:
            direct.append(_argued(shift, f"what serves {_WORSE[metric]} than before", SERVICE))
    busy = [each for each in facts.saturation if each.real]
    broken = [each for each in facts.promises if each.kept is False and each.evidence.id != "promise.accuracy"]
    if busy and direct:
        circumstances.append(_certain(busy[0], "it is saturated", STRONG_CIRCUMSTANCE))
    elif busy and broken:
        said = "it is saturated while a promise about errors or latency is broken"
        direct.append(_certain(busy[0], said, BUSY_AND_BROKEN))
    if facts.rollout is None:
        circumstances += [
            Argument(each.evidence.id, "no version has changed", CIRCUMSTANCE) for each in facts.service.values()
        ][:1]
    for metric, shift in facts.against_previous.items():
        if metric != "accuracy" and shift.real:
            said = "only the new version is affected" if shift.same_period else "it began with a new version"
            objections.append(_certain(shift, said, REFUTATION if shift.same_period else OBJECTION))
    if facts.traffic is not None and facts.traffic.real:
        objections.append(_certain(facts.traffic, "the load explains it", OBJECTION))
    compared = any(each.enough for each in facts.service.values())
    steady = "Errors and latency have not risen, whatever the version." if compared else "Errors and latency were not compared."
    return weigh(Cause.INFRASTRUCTURE, direct, circumstances, objections, steady)


def traffic_change(facts: Facts) -> Hypothesis:
    direct, circumstances = [], []
    objections = [
        _certain(shift, f"version {facts.rollout.previous} met the same traffic, and only the new one got worse", REFUTATION)
        for shift in facts.against_previous.values()
        if facts.rollout is not None and shift.real and shift.same_period
    ]
    if facts.traffic is not None and facts.traffic.real:
        direct.append(_argued(facts.traffic, "the number of requests has changed", TRAFFIC))
        for metric, shift in facts.service.items():
            if shift.real:
                circumstances.append(_argued(shift, f"what serves {_WORSE[metric]} than before", STRONG_CIRCUMSTANCE))
        circumstances += [_certain(each, "it is saturated", CIRCUMSTANCE) for each in facts.saturation if each.real]
    usual = "As many requests come as in the same hours before."
    return weigh(
        Cause.TRAFFIC_CHANGE,
        direct,
        circumstances,
        objections,
        usual if facts.traffic is not None else "No traffic was compared.",
    )


def labels(facts: Facts) -> Hypothesis:
    said = {
        "label_coverage": "labels have stopped coming as they used to",
        "label_classes": "nearly all labels are of one class",
        "label_agreement": "labels have nothing to do with the predictions any more",
    }
    direct = [_argued(each, said[each.evidence.id], LABELS) for each in facts.labels.broken]
    circumstances, objections = [], []
    outputs = facts.labels.outputs
    if facts.inputs.still and facts.inputs.summary is not None:
        circumstances.append(Argument(facts.inputs.summary.id, "inputs have not moved", CIRCUMSTANCE))
    if outputs is not None and outputs.held:
        circumstances.append(Argument(outputs.evidence.id, "outputs have not moved", CIRCUMSTANCE))
    elif outputs is not None and outputs.real:
        objections.append(_argued(outputs, "the outputs have moved, so it is not the labels alone", OBJECTION))
    new = facts.against_previous.get("accuracy")
    if new is not None and new.real and [each.evidence.id for each in facts.labels.broken] == ["label_agreement"]:
        # Labels do not know which version made the prediction that they belong to; a version that guesses looks like this too.
        said_new = "only the new version is affected" if new.same_period else "it began with a new version"
        objections.append(_certain(new, said_new, REFUTATION if new.same_period else OBJECTION))
    labelled = any(each.labelled for each in facts.observations.now.versions)
    agreed = "Labels come and agree with predictions as they used to." if labelled else "There are no labels to compare."
    return weigh(Cause.LABELS, direct, circumstances, objections, agreed)


def false_alarm(facts: Facts) -> Hypothesis:
    objections = [_certain(each, _moved(each), OBJECTION) for each in facts.moved]
    if (doubt := _unproven(facts)) is not None:
        return weigh(Cause.FALSE_ALARM, (), (), objections, doubt)
    kept = [Argument(each.evidence.id, "every promise is kept", 0.0) for each in facts.promises]
    kept[0] = Argument(kept[0].evidence, kept[0].said, PROMISES_KEPT)
    circumstances = []
    if all(alert.status == "resolved" for alert in facts.observations.alerts):
        circumstances.append(Argument(kept[0].evidence, "the alerts have resolved themselves", CIRCUMSTANCE))
    return weigh(Cause.FALSE_ALARM, kept, circumstances, objections, "")


def _unproven(facts: Facts) -> str | None:
    """Why it cannot be said that all is well: silence is not health."""
    if facts.observations.model is None or not facts.promises:
        return "Nothing is promised that could be held against what was measured."
    for missing in facts.observations.missing:
        if missing.source in ("predictions", "registry"):
            return f"The {missing.source} could not be read."
    for promise in facts.promises:
        if promise.kept is False:
            return f"A promise is broken. {promise.evidence.statement}"
        if promise.kept is None:
            return f"A promise cannot be judged. {promise.evidence.statement}"
    if (early := _early_labels(facts)) is not None:
        return early
    compared = facts.against_previous.get("accuracy") or facts.steady.get("accuracy")
    if compared is not None and not compared.held:
        return "Accuracy cannot be compared on so few labels, or has fallen."
    if not facts.inputs.compared:
        return "The inputs could not be compared."
    return None


def _early_labels(facts: Facts) -> str | None:
    """Labels of what came since the alerts are few at first, and prove nothing; but all is not well where they are below the
    promise."""
    lately = facts.observations.lately
    promise = next((each.evidence for each in facts.promises if each.evidence.id == "promise.accuracy"), None)
    known = [each for each in lately.versions if each.correct is not None] if lately is not None else []
    came = sum(each.labelled for each in known)
    if promise is None or promise.limit is None or came < _FIRST_LABELS:
        return None
    right = sum(each.correct or 0 for each in known) / came
    return f"Of the first {came} labels since the alerts only {right:.0%} are right." if right < promise.limit else None


_FIRST_LABELS = 10
"""Fewer are below a promise as often as not."""


def _only_new(facts: Facts) -> Iterator[Argument]:
    """Objections to causes that would hit every version alike."""
    new, old = facts.against_previous.get("accuracy"), facts.steady.get("accuracy")
    change = facts.rollout
    if change is None or new is None or not new.real:
        return
    if new.same_period and old is not None and old.held:
        yield _certain(new, f"version {change.previous} met the same inputs and held", REFUTATION)
    elif new.same_period:
        yield _certain(new, f"version {change.previous} met the same inputs and is right more often", OBJECTION)
    else:
        yield _certain(new, "the version changed at the same time", DOUBT)


def _confounders(facts: Facts) -> Iterator[Argument]:
    """What changed together with the version, where the two versions never met the same period."""
    for shift in (*facts.inputs.faults[:1], *facts.inputs.drifted[:1]):
        yield _argued(shift, f"{_feature(shift)} moved at the same time", DOUBT)
    service = [facts.against_previous[metric] for metric in ("errors", "latency") if _real(facts.against_previous, metric)]
    if service and facts.traffic is not None and facts.traffic.real:
        yield _argued(facts.traffic, "the number of requests changed at the same time", DOUBT)


def _doubtful_labels(facts: Facts) -> Iterator[Argument]:
    """What makes an accuracy, and so its fall, doubtful."""
    new = facts.against_previous.get("accuracy")
    if facts.labels.one_class is not None and facts.labels.one_class.real:
        yield _argued(facts.labels.one_class, "nearly all labels are of one class", OBJECTION)
    if facts.labels.late is not None and facts.labels.late.real:
        yield _argued(facts.labels.late, "most labels are still to come", DOUBT)
    # Where the old version still agrees with its labels, it is not the labels that have come apart.
    side_by_side = new is not None and new.real and new.same_period
    if facts.labels.unrelated is not None and facts.labels.unrelated.real and not side_by_side:
        yield _argued(facts.labels.unrelated, "labels may have nothing to do with the predictions any more", DOUBT)


def _real(shifts: dict[Metric, Shift], metric: Metric) -> bool:
    return metric in shifts and shifts[metric].real


def _argued(shift: Shift, said: str, weight: float) -> Argument:
    return Argument(shift.evidence.id, said, weight * shift.strength)


def _certain(shift: Shift, said: str, weight: float) -> Argument:
    return Argument(shift.evidence.id, said, weight)


def _feature(shift: Shift) -> str:
    return shift.evidence.id.partition(".")[2]


def _kind(shift: Shift) -> str:
    return shift.evidence.id.partition(".")[0]


def _moved(shift: Shift) -> str:
    kind = shift.evidence.id.partition(".")[0]
    return f"{kind.replace('_', ' ')} has changed"


CAUSES: tuple[Callable[[Facts], Hypothesis], ...] = (
    model_regression,
    data_drift,
    data_quality,
    infrastructure,
    traffic_change,
    labels,
    false_alarm,
)
"""In the order in which equal scores are listed."""
