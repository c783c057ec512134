"""Whether a training is worth it now, and on which data."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from agents.actions import Action, NoAction, Retrain
from agents.drift.case import DriftCase
from agents.evidence import Cause, Finding
from agents.examination import is_evaluation
from agents.narrative import plain
from agents.policies import Policies, Training
from agents.quantization_job import is_quantization
from agents.requests import SCHEDULED, Request
from agents.routing import Specialist, route
from agents.telling import tell
from agents.wording import counted, span
from tools.jobs.port import JobState
from tools.values import Window

_DAY = timedelta(days=1)
_NARROW = 0.1
"""An interval wider than ten points says too little to act on."""


def retrain(
    finding: Finding, case: DriftCase, policies: Policies, now: datetime, request: Request | None = None
) -> tuple[Action, str]:
    """`request`: somebody, or a schedule, asks for it: then it need not be shown that the answers suffer."""
    if finding.model is None or finding.version is None:
        return tell(finding, case.alerts, policies, "the model has no champion that could be trained anew")
    skewed = case.measured is not None and case.measured.cause in ("none", "undetermined")
    lost, how = (None, "") if skewed else _lost(case)
    least, promised = policies.drift_of(finding.model).min_gain, _below_promise(case, finding.model, policies)
    if request is None and lost is not None and lost < least and promised is None and finding.cause is Cause.DATA_DRIFT:
        return nothing(finding, now, f"its answers are as right as they were ({how})")
    rules = policies.training_of(finding.model)
    by_person = request is not None and not request.by.startswith(SCHEDULED)
    if (busy := _busy(case.trainings, rules, now, by_person=by_person)) is not None:
        return nothing(finding, now, busy)
    if case.beside and not by_person:
        tried = f"version {', '.join(case.beside)} shares its traffic, in a rollout or an experiment"
        return nothing(finding, now, f"{tried}, and what is trained now could not be tried before that ends")
    if (spent := _spent(case.trainings, rules, now)) is not None:
        return tell(finding, case.alerts, policies, spent)
    run, window = case.training, _window(finding, case, rules, request)
    action = Retrain(
        model=finding.model,
        version=finding.version,
        window_start=window.start,
        window_end=window.end,
        left_out=tuple(each for each in case.left_out if each.window.overlaps(window)),
        expected_gain=round(lost, 4) if lost is not None else None,
        expected_seconds=(run.ended_at - run.started_at).total_seconds()
        if run is not None and run.ended_at is not None
        else None,
    )
    if request is not None:
        return action, f"{request.by} asks: {request.reason}"
    if skewed:
        return action, "it is asked about other inputs than it was trained on, and has been all along"
    if promised is not None:
        return action, promised
    return action, how if lost is not None else "whether the answers suffer cannot be told yet, and it may go unseen"


def nothing(finding: Finding, now: datetime, why: str) -> tuple[Action, str]:
    reason = f"Looked at {now:%Y-%m-%d %H:%M} UTC: {why}. {finding.summary}"
    return NoAction(reason=plain(reason, 2_000)), why


def held_back(trainings: Sequence[JobState], rules: Training, now: datetime, *, by_person: bool) -> str | None:
    """Why no training of the model may begin now, beside those that have begun; None: it may."""
    return _busy(trainings, rules, now, by_person=by_person) or _spent(trainings, rules, now)


def _spent(trainings: Sequence[JobState], rules: Training, now: datetime) -> str | None:
    begun = sum(now - each.submitted_at < _DAY for each in _trainings(trainings))
    if begun < rules.per_day:
        return None
    return f"{counted(begun, 'training')} began within a day, and policy allows {rules.per_day}"


def _trainings(jobs: Sequence[JobState]) -> list[JobState]:
    return [each for each in jobs if not is_evaluation(each.name) and not is_quantization(each.name)]


def _busy(trainings: Sequence[JobState], rules: Training, now: datetime, *, by_person: bool) -> str | None:
    """Why no training is begun just now."""
    trainings = _trainings(trainings)
    under_way = next((each for each in trainings if not each.final), None)
    if under_way is not None:
        return f"it is being trained already ({under_way.name})"
    last = max((each.submitted_at for each in trainings), default=None)
    if last is not None and not by_person and now - last < rules.cooldown:
        return f"it was trained {span(now - last)} ago, and policy lets {span(rules.cooldown)} pass before it is trained again"
    return None


def _window(finding: Finding, case: DriftCase, rules: Training, request: Request | None) -> Window:
    if request is not None and request.window_start is not None and request.window_end is not None:
        return Window(start=request.window_start, end=request.window_end)
    end = case.current.end
    if finding.cause is Cause.CONCEPT_DRIFT:
        # Older data teaches what is not so any more; too little of the new teaches nothing.
        return Window(start=min(case.current.start, end - rules.least_window), end=end)
    return Window(start=min(case.reference.start, end - rules.window), end=end)


def below_promise_on_old_data(case: DriftCase, policies: Policies) -> str | None:
    """Nothing has moved of late, and still a training may help: accuracy is below its promise, and the champion has learnt
    nothing of all that it is compared with. None: there is nothing new to learn, or it is not known."""
    run = case.training
    if case.model is None or run is None or run.ended_at is None or run.ended_at > case.reference.start:
        return None
    promised = _below_promise(case, case.model, policies)
    return f"{promised}, and it was trained before {case.reference.start:%Y-%m-%d}" if promised is not None else None


def _below_promise(case: DriftCase, model: str, policies: Policies) -> str | None:
    """Said where the measured accuracy is, beyond chance, below what was promised, and that is what the alerts are about."""
    if route(case.alerts) is not Specialist.INCIDENT:
        return None
    now, promise = case.measured.performance if case.measured is not None else None, policies.slo_of(model).min_accuracy
    if now is None or promise is None or now.interval is None or now.labelled < policies.investigation.min_labels:
        return None
    if now.interval[1] >= promise or now.accuracy is None:
        return None
    return f"accuracy {now.accuracy:.1%} is below its promise of {promise:.1%}"


def _lost(case: DriftCase) -> tuple[float | None, str]:
    """Accuracy that went since the reference, measured where labels have come, else estimated; and how, in words."""
    before, now = case.before, case.measured.performance if case.measured is not None else None
    if before is None or now is None or before.accuracy is None:
        return None, ""
    if now.accuracy is not None and now.interval is not None and now.interval[1] - now.interval[0] <= _NARROW:
        return before.accuracy - now.accuracy, f"accuracy {now.accuracy:.1%}, it was {before.accuracy:.1%}"
    if now.estimate is not None:
        return before.accuracy - now.estimate, f"estimated accuracy {now.estimate:.1%}, measured before {before.accuracy:.1%}"
    return None, ""
