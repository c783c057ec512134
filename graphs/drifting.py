"""Reads what a verdict on drift rests on: two windows of a model's traffic, the same hours of earlier seasons, and the labels.

Every window is counted in the store on the reference's grids. A part that cannot be read is named in `missing`.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime

from agents.alerts import Alert
from agents.drift.case import DriftCase, Rollout
from agents.drift.causes import DriftObservations, Pair, explain, labels_moved, pairs
from agents.drift.performance import perform
from agents.drift.verdicts import Comparison, compare
from agents.policies import Drift, Policies
from agents.subjects import model_of
from graphs.gathering import Sources
from tools.predictions.port import PredictionReader
from tools.quarantines.port import QuarantineReader
from tools.registry.port import Alias, RegistryReader
from tools.tables.port import Distributions
from tools.toolbox import Readers
from tools.values import LeftOut, Window

_SOURCE = "predictions"


async def investigate(alerts: Sequence[Alert], readers: Readers, policies: Policies, now: datetime) -> DriftCase:
    """What is known about the model that the alerts name: its traffic of the policy's windows, and where it comes from."""
    model = next((name for alert in alerts if (name := model_of(alert, policies.intake)) is not None), None)
    rules, sources = policies.drift_of(model) if model is not None else policies.drift, Sources()
    reference, current = drift_windows(rules, now)
    case = DriftCase(alerts=tuple(alerts), model=model, reference=reference, current=current)
    if model is None:
        return case
    champion = await sources.ask("registry", readers.registry.alias(model, Alias.CHAMPION), None)
    skew = await _skew(model, champion, current, readers, sources, rules) if champion else None
    training = await sources.ask("jobs", readers.registry.training_run(model, champion), None) if champion else None
    rollout = await sources.ask(_SOURCE, _rollout(model, current, readers), None) if champion else None
    without = await sources.ask("quarantines", left_out(model, reference, current, rules, readers.quarantines), ())
    question = observe_drift(model, reference, current, readers.predictions, rules, without=without)
    observations = await sources.ask(_SOURCE, question, None)
    measured = await asyncio.to_thread(explain, observations, rules.rules) if observations is not None else None
    broken_since = None
    if observations is not None and measured is not None and measured.cause == "data_quality":
        search = _broken_since(model, observations.reference, current, readers.predictions, rules)
        broken_since = await sources.ask(_SOURCE, search, None)
    return case.model_copy(
        update={
            "champion": champion,
            "skew": skew,
            "training": training,
            "trainings": await sources.ask("jobs", readers.jobs.jobs(model=model), ()),
            "beside": await sources.ask("serving", _beside(model, champion, readers), ()),
            "rollout": rollout,
            "measured": measured,
            "left_out": without,
            "broken_since": broken_since,
            "before": perform((), observations.outcomes[0]) if observations is not None else None,
            "missing": (*sources.missing, *(observations.missing if observations is not None else ())),
        }
    )


async def _beside(model: str, champion: str | None, readers: Readers) -> tuple[str, ...]:
    if champion is None or model not in await readers.serving.models():
        return ()
    route = await readers.serving.route(model)
    answering = {version for version, part in (*route.weights.items(), *route.shadow.items()) if part}
    return tuple(sorted(answering - {champion}))


async def _rollout(model: str, current: Window, readers: Readers) -> Rollout | None:
    """None where the champion did not change within the window."""
    moves = [each for each in await readers.registry.history(model) if each.alias is Alias.CHAMPION]
    last = max(moves, key=lambda each: each.at, default=None)
    if last is None or last.before is None or last.after is None or not current.start < last.at < current.end:
        return None
    parts = Window(start=current.start, end=last.at), Window(start=last.at, end=current.end)
    before, since = [await readers.predictions.versions(model, part) for part in parts]
    return Rollout(version=last.after, previous=last.before, at=last.at, before=before, since=since)


async def left_out(
    model: str, reference: Window, current: Window, rules: Drift, quarantines: QuarantineReader
) -> tuple[LeftOut, ...]:
    """What is quarantined of all that the two windows, and the same hours of earlier seasons, have."""
    earliest = min(reference.start, current.start - rules.season * rules.seasons)
    window = Window(start=earliest, end=max(reference.end, current.end))
    return tuple(each.left_out for each in await quarantines.in_force(model, window))


_STEPS = 24
"""Of the current window, that a fault's beginning is looked for in: of a day, hours."""


async def _broken_since(
    model: str, before: Distributions, current: Window, predictions: PredictionReader, rules: Drift
) -> datetime | None:
    """The start of the first stretch of the current window in which a value is broken; None where no stretch by itself has
    enough rows to show it."""
    step = current.length / _STEPS
    for place in range(_STEPS):
        stretch = Window(start=current.start + place * step, end=current.start + (place + 1) * step)
        now = await predictions.distributions(model, stretch, like=before)
        compared = await asyncio.to_thread(compare, pairs(before.features, now.features), rules.rules)
        if any(each.faults for each in compared.features):
            return stretch.start
    return None


async def beside_training(
    model: str, version: str, window: Window, registry: RegistryReader, predictions: PredictionReader
) -> tuple[Distributions, Distributions] | None:
    """What the version was trained on and what it is asked now, on the same grids; None where its training left nothing."""
    learnt = await registry.reference(model, version)
    if learnt is None:
        return None
    return learnt, await predictions.distributions(model, window, version=version, like=learnt)


async def _skew(
    model: str, version: str, window: Window, readers: Readers, sources: Sources, rules: Drift
) -> Comparison | None:
    question = beside_training(model, version, window, readers.registry, readers.predictions)
    found = await sources.ask("registry", question, None)
    if found is None:
        return None
    return await asyncio.to_thread(compare, pairs(found[0].features, found[1].features), rules.rules)


def drift_windows(rules: Drift, now: datetime) -> tuple[Window, Window]:
    """Reference and current."""
    current = Window(start=now - rules.window, end=now)
    return Window(start=current.start - rules.reference, end=current.start), current


async def observe_drift(
    model: str,
    reference: Window,
    current: Window,
    predictions: PredictionReader,
    rules: Drift,
    *,
    version: str | None = None,
    without: Sequence[LeftOut] = (),
) -> DriftObservations:
    """`without`: what is passed over in all that is compared with; the current window is looked at as it is.

    Raises TemporaryError or PermanentError when the two windows themselves cannot be read.
    """
    before = await predictions.distributions(model, reference, version=version, without=without)
    now = await predictions.distributions(model, current, version=version, like=before)
    sources = Sources()
    windows = [current.shifted(-rules.season * (place + 1)) for place in range(rules.seasons)]
    earlier, outcomes, by_label = await asyncio.gather(
        _earlier(model, windows, predictions, sources, before, without),
        asyncio.gather(
            sources.ask(_SOURCE, predictions.outcomes(model, reference, version=version, without=without), ()),
            sources.ask(_SOURCE, predictions.outcomes(model, current, version=version), ()),
        ),
        _by_label(model, before, now, predictions, sources, rules, without),
    )
    return DriftObservations(
        reference=before,
        current=now,
        earlier=tuple(each for each in earlier if each.rows),
        by_label=by_label,
        outcomes=(outcomes[0], outcomes[1]),
        missing=sources.missing,
    )


async def _earlier(
    model: str,
    windows: Sequence[Window],
    predictions: PredictionReader,
    sources: Sources,
    like: Distributions,
    without: Sequence[LeftOut],
) -> list[Distributions]:
    """Of all versions: what the world sent does not depend on who answered."""
    return await asyncio.gather(
        *(
            sources.ask(
                _SOURCE,
                predictions.distributions(model, window, like=like, without=without),
                Distributions(window=window, rows=0),
            )
            for window in windows
        )
    )


async def _by_label(
    model: str,
    before: Distributions,
    now: Distributions,
    predictions: PredictionReader,
    sources: Sources,
    rules: Drift,
    without: Sequence[LeftOut],
) -> dict[str, Pair]:
    """By label: what the inputs are like. It takes some statements for each class, so only where the labels moved."""
    if before.label is None or now.label is None or not await asyncio.to_thread(labels_moved, before, now, rules.rules):
        return {}
    counts = {
        str(value): min(count, now.label.values.get(value, 0))
        for value, count in before.label.values.items()
        if value in now.label.values
    }
    frequent = sorted(counts, key=lambda label: (-counts[label], label))[: rules.rules.most_classes]
    found: dict[str, Pair] = {}
    for label in frequent:
        sides = []
        for whole in (before, now):
            question = predictions.distributions(
                model,
                whole.window,
                version=whole.version,
                label=label,
                like=before,
                without=without if whole is before else (),
            )
            sides.append(await sources.ask(_SOURCE, question, Distributions(window=whole.window, rows=0)))
        found[label] = (sides[0], sides[1])
    return found
