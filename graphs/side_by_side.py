"""What is measured of a rollout: both versions beside each other, period by period, as the pure decisions need it."""

import asyncio
from datetime import datetime

from agents.actions import StartRollout
from agents.promotion_rules import Rollouts
from agents.rollout_facts import Counts, Discordant, Period, Progress, Values
from graphs.state import Rollout
from tools.predictions.port import PredictionReader, Tally
from tools.values import Window


async def observed(
    rollout: Rollout, begun: tuple[datetime, ...], predictions: PredictionReader, rules: Rollouts, now: datetime
) -> Progress:
    """Both versions beside each other, period by period; none crosses from one stage, as `begun`, into the next."""
    ends, step = (*begun[1:], now), rules.look_every
    windows = [
        (stage, Window(start=start, end=start + (end - start) // step * step))
        for stage, start, end in zip(rollout.action.stages, begun, ends, strict=False)
        if end - start >= step
    ]
    looks = (
        _shadowed(rollout.action, predictions, rules, window)
        if stage.weight == 0
        else _side_by_side(rollout.action, predictions, rules, window)
        for stage, window in windows
    )
    found = await asyncio.gather(*looks)
    return Progress(started=begun, periods=tuple(period for of_stage in found for period in of_stage))


async def _side_by_side(
    action: StartRollout, predictions: PredictionReader, rules: Rollouts, window: Window
) -> tuple[Period, ...]:
    metric, step = rules.guardrails.metric, rules.look_every
    tallies = await predictions.tallies(
        action.model,
        window,
        step,
        slow_ms=action.slow_ms,
        metric=metric.name if metric is not None else None,
        cpu_hour=rules.cpu_hour,
        currency=rules.currency,
    )
    periods: dict[datetime, dict[str, Tally]] = {}
    for tally in tallies:
        periods.setdefault(tally.start, {})[tally.version] = tally
    return tuple(
        Period(
            window=Window(start=start, end=start + step),
            canary=_counts(found.get(action.version)),
            control=_counts(found.get(action.from_version)),
        )
        for start, found in sorted(periods.items())
    )


async def _shadowed(action: StartRollout, predictions: PredictionReader, rules: Rollouts, window: Window) -> tuple[Period, ...]:
    """Both on the requests that the challenger got a copy of."""
    found = await predictions.mirrored(
        action.model,
        action.version,
        action.from_version,
        window,
        rules.look_every,
        slow_ms=action.slow_ms,
        cpu_hour=rules.cpu_hour,
    )
    return tuple(
        Period(
            window=Window(start=each.start, end=each.start + rules.look_every),
            canary=_counts(each.shadow),
            control=_counts(each.served),
            pairs=Discordant(
                count=each.labelled, only_canary_wrong=each.only_shadow_wrong, only_control_wrong=each.only_served_wrong
            ),
        )
        for each in found
    )


def _counts(tally: Tally | None) -> Counts:
    if tally is None:
        nothing = Values()
        return Counts(failed=0, slow=0, labelled=0, wrong=0, loss=nothing, metric=nothing, cost=nothing)
    known = tally.wrong is not None
    return Counts(
        predictions=tally.count,
        failed=tally.errors,
        slow=tally.slow,
        labelled=tally.labelled if known else None,
        wrong=tally.wrong,
        loss=tally.loss,
        metric=tally.metric,
        cost=tally.cost,
    )
