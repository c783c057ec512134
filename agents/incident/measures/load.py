"""How much came in, and how busy that kept what answers."""

import math
from collections.abc import Sequence
from datetime import timedelta

from agents.evidence import Evidence
from agents.incident.measures.shifts import Shift, asked
from agents.incident.observations import Observations
from agents.policies import Investigation
from agents.statistics import normal_tail
from agents.wording import share
from tools.predictions.port import Volume

_RECENT = 4
"""A rush that began an hour ago drowns in a window of six: the window's last quarter is looked at by itself as well."""


def traffic(observations: Observations, rules: Investigation) -> Shift | None:
    """How many times more (or fewer) requests than in the same hours before, as a power of two; the largest of the whole
    window, its last quarter, and the time of the alerts. None where there is nothing to compare."""
    now, before = observations.now, observations.before
    counts = [("over the window", float(now.count), before.count * (now.window.length / before.window.length))]
    if len(now.volume) >= _RECENT and len(now.volume) == len(before.volume):
        counts.append(("in its last quarter", _tail(now.volume), _tail(before.volume)))
    if (lately := observations.lately) is not None and lately.count >= rules.min_predictions:
        counts.append(("since shortly before the alerts", float(lately.count), _usual(before.volume, lately.window.length)))
    # A model that answered nothing in those hours is new, or was not looked at: there is no usual to depart from.
    compared = [each for each in counts if each[2] > 0]
    if not compared:
        return None
    when, count, usual = max(compared, key=lambda each: _distance(each[1], each[2]))
    p_value = normal_tail((count - usual) / math.sqrt(count + usual))
    return Shift(
        evidence=Evidence(
            id="traffic",
            statement=(
                f"{count:,.0f} requests came {when}, {usual:,.0f} in the same hours before: {count / usual:.2g} times as many."
            ),
            source="predictions",
            query=asked("predictions.volume", observations.model, now.window),
            value=count,
            unit="requests",
            limit=usual * rules.volume_factor if count >= usual else usual / rules.volume_factor,
            sample_size=int(count + usual),
            window=now.window,
        ),
        size=_distance(count, usual),
        limit=math.log2(rules.volume_factor),
        significant=p_value < rules.significance,
        enough=max(count, usual) >= rules.min_predictions,
    )


def saturation(observations: Observations, rules: Investigation) -> tuple[Shift, ...]:
    """What is nearly used up: the workers, and what the metrics system says about the machines. Fullest first."""
    found: list[Shift] = []
    if (capacity := observations.capacity) is not None:
        workers = f"{capacity.workers} of at most {capacity.limit} workers"
        statement = f"{workers} were busy {share(capacity.utilisation)} of the last minute."
        evidence = Evidence(
            id="utilisation",
            statement=statement,
            source="serving",
            query=f"serving.capacity(model={observations.model})",
            value=capacity.utilisation,
            limit=rules.high_utilisation,
        )
        found.append(_fullness(evidence, capacity.utilisation, rules))
    for reading in observations.readings:
        if reading.kind == "saturation":
            was = f", it was {share(reading.before)}" if reading.before is not None else ""
            evidence = Evidence(
                id=f"reading.{reading.name}",
                statement=f"{reading.name} is used to {share(reading.now)}{was}.",
                source="telemetry",
                query=reading.query,
                value=reading.now,
                limit=rules.high_utilisation,
            )
            found.append(_fullness(evidence, reading.now, rules))
    return tuple(sorted(found, key=lambda each: -each.size))


def _fullness(evidence: Evidence, used: float, rules: Investigation) -> Shift:
    return Shift(evidence, used, rules.high_utilisation, significant=True, enough=True)


def _usual(volume: Sequence[Volume], length: timedelta) -> float:
    """Of the same hours before, as long as `length` at their end; 0 where that is not known by steps."""
    if len(volume) < 2:
        return 0.0
    step = volume[1].start - volume[0].start
    whole, part = divmod(length, step)
    tail = [float(each.count) for each in reversed(volume)]
    if whole >= len(tail):
        return 0.0
    return sum(tail[:whole]) + tail[whole] * (part / step)


def _tail(volume: Sequence[Volume]) -> float:
    return float(sum(each.count for each in volume[-(len(volume) // _RECENT) :]))


def _distance(count: float, usual: float) -> float:
    # One request more on each side keeps the distance to silence finite.
    return abs(math.log2((count + 1) / (usual + 1)))
