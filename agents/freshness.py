"""Whether a table still comes: by what policy allows, or by its own rhythm."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from agents.policies import Dataset
from agents.wording import moment, span
from tools.quality.history import PastBatch
from tools.values import Frozen, Instant


class Freshness(Frozen):
    bad: bool | None
    """None: no limit is set, and no rhythm is known."""
    newest: Instant | None
    """When the newest batch was stored."""
    newest_event: Instant | None = None
    limit: timedelta | None = None
    """Of the newest batch's age."""
    summary: str


def freshness(history: Sequence[PastBatch], policy: Dataset, now: datetime) -> Freshness:
    stored = [each for each in history if each.refused is None]
    events = [each.statistics.newest for each in stored if each.statistics is not None and each.statistics.newest is not None]
    event = max(events, default=None)
    if not stored:
        return Freshness(bad=None, newest=None, summary="No batch was ever stored.")
    newest = max(each.at for each in stored)
    limit = policy.max_age or _rhythm([each.at for each in stored], policy)
    told = f"The newest batch is of {moment(newest)}"
    if limit is not None and now - newest > limit:
        usual = "policy allows" if policy.max_age is not None else "its rhythm allows"
        told += f", {span(now - newest)} ago, and {usual} {span(limit)}."
        return Freshness(bad=True, newest=newest, newest_event=event, limit=limit, summary=told)
    if policy.max_event_age is not None and event is not None and now - event > policy.max_event_age:
        told = (
            f"The newest event in it is of {moment(event)}, {span(now - event)} ago, "
            f"and policy allows {span(policy.max_event_age)}."
        )
        return Freshness(bad=True, newest=newest, newest_event=event, limit=limit, summary=told)
    if limit is None and policy.max_event_age is None:
        told += ", and neither policy nor a rhythm says when the next one is due."
        return Freshness(bad=None, newest=newest, newest_event=event, summary=told)
    return Freshness(bad=False, newest=newest, newest_event=event, limit=limit, summary=f"{told}.")


def _rhythm(moments: Sequence[datetime], policy: Dataset) -> timedelta | None:
    """Batches that came within one look at the table (`every`) are one delivery: a folder of files is stored in a second."""
    deliveries: list[datetime] = []
    for each in sorted(moments):
        if not deliveries or each - deliveries[-1] >= policy.every:
            deliveries.append(each)
    pauses = [(later - earlier).total_seconds() for earlier, later in pairwise(deliveries)]
    return timedelta(seconds=policy.silence_factor * median(pauses)) if len(pauses) >= policy.min_history else None
