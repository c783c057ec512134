"""Reads what an investigation rests on: all ports at once, each tolerated missing.

A source that does not answer costs its part of the picture and is named in `missing`; it never stops an investigation.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from agents.actions import NoAction, Notify
from agents.alerts import Alert
from agents.evidence import Missing
from agents.incident.observations import Observations, Reading
from agents.policies import Policies
from agents.proposals import Proposal
from agents.subjects import model_of
from tools.errors import PortError
from tools.predictions.port import Period, PredictionReader
from tools.registry.port import Alias, AliasChange
from tools.toolbox import Readers
from tools.values import Window

T = TypeVar("T")

VOLUME_STEPS = 12
"""Points of a volume series: enough to see a surge or a gap, few enough to read."""


class Sources:
    """Asks, and keeps account of who did not answer."""

    def __init__(self) -> None:
        self._missing: dict[str, str] = {}

    async def ask(self, source: str, question: Awaitable[T], fallback: T) -> T:
        try:
            return await question
        except PortError as error:
            self._missing.setdefault(source, str(error))
            return fallback

    @property
    def missing(self) -> tuple[Missing, ...]:
        return tuple(Missing(source=source, reason=reason) for source, reason in sorted(self._missing.items()))


async def observe(alerts: Sequence[Alert], readers: Readers, policies: Policies, now: datetime) -> Observations:
    """What is known about the model that the alerts name: now, and in the same hours before."""
    rules = policies.investigation
    window = Window(start=now - rules.window, end=now)
    model = next((name for alert in alerts if (name := model_of(alert, policies.intake)) is not None), None)
    since = min((alert.starts_at for alert in alerts), default=window.start) - rules.lead
    lately = Window(start=since, end=now) if window.start < since < now else None
    return await _observe(tuple(alerts), model, window, window.shifted(-rules.season), readers, policies, lately)


async def observe_since(
    moment: datetime, proposal: Proposal, readers: Readers, policies: Policies, now: datetime
) -> Observations:
    """The traffic since the action at `moment` has settled, and as `before` the traffic that had led to it.

    What came while it settled was answered by caches that were cold and batches that were under way: it proves nothing. Asked
    before it has settled, there is no traffic to judge.
    """
    rules = policies.investigation
    model = None if isinstance(proposal.action, Notify | NoAction) else proposal.action.model
    settled = moment + policies.verification.settle
    since = Window(start=settled, end=max(now, settled + timedelta(milliseconds=1)))
    led_to_it = Window(start=moment - rules.window, end=moment)
    return await _observe((), model, since, led_to_it, readers, policies)


async def _observe(
    alerts: tuple[Alert, ...],
    model: str | None,
    window: Window,
    before: Window,
    readers: Readers,
    policies: Policies,
    lately: Window | None = None,
) -> Observations:
    if model is None:
        return Observations(alerts=alerts, model=None, now=Period(window=window), before=Period(window=before))
    sources = Sources()
    registry, serving = readers.registry, readers.serving
    changes: tuple[AliasChange, ...] = ()
    changes = await sources.ask("registry", registry.history(model), changes)
    champion = next((change.after for change in reversed(changes) if change.alias is Alias.CHAMPION), None)
    training, route, capacity, readings, periods = await asyncio.gather(
        sources.ask("jobs", registry.training_run(model, champion) if champion else _nothing(), None),
        sources.ask("serving", serving.route(model), None),
        sources.ask("serving", serving.capacity(model), None),
        _readings(model, window, before, readers, policies, sources),
        _periods(model, window, before, _rollout(changes, window), lately, readers.predictions, sources, policies),
    )
    return Observations(
        alerts=alerts,
        model=model,
        now=periods["now"],
        before=periods["before"],
        preceding=periods.get("preceding"),
        lately=periods.get("lately"),
        earlier=periods.get("earlier"),
        champion=champion,
        history=changes,
        training=training,
        route=route,
        capacity=capacity,
        readings=readings,
        missing=sources.missing,
    )


async def _nothing() -> None:
    """There is no champion, so no run that made it."""


def _rollout(history: Sequence[AliasChange], window: Window) -> datetime | None:
    """When the champion last changed, if that is recent enough to have to do with what is seen now."""
    moves = [change.at for change in history if change.alias is Alias.CHAMPION and change.before is not None]
    latest = max(moves, default=None)
    return latest if latest is not None and window.start - window.length <= latest < window.end else None


async def _periods(
    model: str,
    window: Window,
    before: Window,
    rollout: datetime | None,
    lately: Window | None,
    predictions: PredictionReader,
    sources: Sources,
    policies: Policies,
) -> dict[str, Period]:
    """`before` comes first: all profiles are on its bins, so that any two of them compare."""
    windows = {"before": before, "now": window, "earlier": before.shifted(-policies.investigation.season)}
    if rollout is not None:
        windows["preceding"] = Window(start=rollout - window.length, end=rollout)
    if lately is not None:
        windows["lately"] = lately
    nothing = tuple(Period(window=each) for each in windows.values())
    question = predictions.periods(model, tuple(windows.values()), steps=VOLUME_STEPS)
    return dict(zip(windows, await sources.ask("predictions", question, nothing), strict=True))


async def _readings(
    model: str, window: Window, before: Window, readers: Readers, policies: Policies, sources: Sources
) -> tuple[Reading, ...]:
    """The metrics that policy names for the model; none is asked for where none is named."""
    found: list[Reading] = []
    for metric in policies.metrics:
        query = metric.promql.replace("$model", _quoted(model))
        now = await sources.ask("telemetry", readers.telemetry.query(query, window.end), ())
        then = await sources.ask("telemetry", readers.telemetry.query(query, before.end), ())
        if now:
            found.append(
                Reading(
                    name=metric.name,
                    kind=metric.kind,
                    query=query,
                    unit=metric.unit,
                    now=max(sample.value for sample in now),
                    before=max((sample.value for sample in then), default=None),
                )
            )
    return tuple(found)


def _quoted(model: str) -> str:
    """A model's name comes with an alert: it goes into a query as the inside of a string, and never as more than that."""
    return model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
