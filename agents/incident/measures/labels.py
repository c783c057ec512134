"""Whether the labels can be trusted: do they come as they used to, and do they still say anything about the predictions?

An accuracy is only as good as its labels. Labels that stop, that are all one class, or that belong to other rows make every
version look worse at once, on inputs and outputs that have not changed.
"""

from dataclasses import dataclass
from datetime import timedelta

from agents.evidence import Evidence
from agents.incident.measures.inputs import distribution
from agents.incident.measures.shifts import Shift, asked, labelled, tally
from agents.incident.observations import Observations
from agents.policies import Investigation
from agents.statistics import two_proportions, wilson
from agents.wording import moment, share, span
from tools.predictions.port import Period

_ONE_CLASS = 0.98
_VARIED = 0.9
_LIFT = 0.1
"""How far above chance the accuracy must have been for its fall to chance to say something about the labels."""


@dataclass(frozen=True)
class Labels:
    late: Shift | None
    one_class: Shift | None
    unrelated: Shift | None
    outputs: Shift | None
    """How far the predicted classes have moved, over all versions."""
    checked: bool = True
    """Whether enough labels have come for what was asked since the alerts began: what broke then does not show in those of
    hours."""

    @property
    def broken(self) -> tuple[Shift, ...]:
        return tuple(each for each in (self.late, self.one_class, self.unrelated) if each is not None and each.real)


def labels(observations: Observations, rules: Investigation) -> Labels:
    now, before = observations.now, observations.before
    outputs = distribution(_outputs(now), _outputs(before), "outputs", observations, rules)
    lately = observations.lately
    return Labels(
        late=_late(observations, rules),
        one_class=_one_class(observations, rules),
        unrelated=_unrelated(observations, rules),
        outputs=outputs,
        checked=lately is None or labelled(lately.versions) >= rules.min_labels,
    )


def _late(observations: Observations, rules: Investigation) -> Shift | None:
    """Labels always lag, so those of now are fewer: held against what should have come by now at the lag of before."""
    now, before = observations.now, observations.before
    arrivals = [each.last_label_at for each in before.versions if each.last_label_at is not None]
    if not arrivals or not before.count or not now.count:
        return None
    lag = max(timedelta(0), max(arrivals) - before.window.end)
    due = max(0.0, 1 - lag / now.window.length)
    usual = labelled(before.versions) / before.count
    expected, came = min(1.0, usual * due), labelled(now.versions) / now.count
    p_value = two_proportions(labelled(now.versions), now.count, round(expected * now.count), now.count)
    last = max((each.last_label_at for each in (*now.versions, *before.versions) if each.last_label_at), default=None)
    return Shift(
        evidence=_evidence(
            "label_coverage",
            f"{share(came)} of {now.count:,} predictions have their label; at the lag of before ({span(lag)}) "
            f"{share(expected)} should. The last label came at {moment(last) if last else 'no time on record'}.",
            came,
            expected / 2,
            now.count,
            observations,
        ),
        size=expected - came,
        # Less than half of what was due; below that share of labels at all there is nothing to miss.
        limit=max(expected / 2, 0.05),
        significant=p_value < rules.significance,
        enough=now.count >= rules.min_predictions and labelled(before.versions) >= rules.min_labels,
    )


def _latest(observations: Observations, rules: Investigation) -> Period:
    """A feed that broke an hour ago drowns in a window of six: what came since the alerts began, where that is enough."""
    lately = observations.lately
    return lately if lately is not None and labelled(lately.versions) >= rules.min_labels else observations.now


def _one_class(observations: Observations, rules: Investigation) -> Shift | None:
    now, before = _labels(_latest(observations, rules)), _labels(observations.before)
    total, total_before = sum(now.values()), sum(before.values())
    if not total or not total_before:
        return None
    name = max(now, key=lambda each: now[each])
    top, top_before = now[name] / total, before.get(name, 0) / total_before
    return Shift(
        evidence=_evidence(
            "label_classes",
            f"{share(top)} of {total:,} labels say {name!r}, {share(top_before)} of {total_before:,} did before.",
            top,
            _ONE_CLASS,
            total,
            observations,
        ),
        size=(top - top_before) if top >= _ONE_CLASS and max(before.values()) / total_before < _VARIED else 0.0,
        limit=1 - _VARIED,
        significant=two_proportions(now[name], total, before.get(name, 0), total_before) < rules.significance,
        enough=min(total, total_before) >= rules.min_labels,
    )


def _unrelated(observations: Observations, rules: Investigation) -> Shift | None:
    """Labels that agree with the predictions no more often than two independent draws would."""
    latest = _latest(observations, rules)
    then, then_chance = _agreement(observations.before)
    now, now_chance = _agreement(latest)
    if then is None or now is None or then_chance is None or now_chance is None:
        return None
    total, total_before = labelled(latest.versions), labelled(observations.before.versions)
    low = wilson(round(now * total), total, rules.significance)[0]
    lift_before = wilson(round(then * total_before), total_before, rules.significance)[0] - then_chance
    p_value = two_proportions(round(now * total), total, round(then * total_before), total_before)
    return Shift(
        evidence=_evidence(
            "label_agreement",
            f"Labels and predictions agree on {share(now)} of {total:,}; unrelated ones would on {share(now_chance)}. "
            f"Before: {share(then)} of {total_before:,}, against {share(then_chance)}.",
            now,
            now_chance,
            total,
            observations,
        ),
        size=then - now if low <= now_chance and lift_before >= _LIFT else 0.0,
        limit=_LIFT / 2,
        significant=p_value < rules.significance,
        enough=min(total, total_before) >= rules.min_labels,
    )


def _agreement(period: Period) -> tuple[float | None, float | None]:
    """(share that agrees, share that would by chance), over all versions."""
    outputs, classes = _outputs(period), _labels(period)
    right = [each.correct for each in period.versions if each.correct is not None]
    total, said = labelled(period.versions), sum(outputs.values())
    if not total or not said or not right or not sum(classes.values()):
        return None, None
    chance = sum(outputs.get(name, 0) / said * count / sum(classes.values()) for name, count in classes.items())
    return sum(right) / total, chance


def _outputs(period: Period) -> dict[str, int]:
    return tally(each.outputs for each in period.versions)


def _labels(period: Period) -> dict[str, int]:
    return tally(each.labels for each in period.versions)


def _evidence(name: str, statement: str, value: float, limit: float, samples: int, observations: Observations) -> Evidence:
    return Evidence(
        id=name,
        statement=statement,
        source="predictions",
        query=asked("predictions.versions", observations.model, observations.now.window),
        value=value,
        limit=limit,
        sample_size=samples,
        window=observations.now.window,
    )
