"""What serves the model in a world: workers on a machine with so many processors and so much memory, and their queue.

Waiting follows the usual approximation of an M/M/c queue (Sakasegawa 1977); what is more than they can do
times out.
"""

import math
from dataclasses import dataclass

from simulations.worlds.scenario import Serving

_LONGEST = 40.0
"""Times the work, that a request is waited for before it is given up."""
_MEMORY = 0.45
"""Share of its limit that a process takes when it is new."""
_TIGHT = 0.8
"""From this share of memory on, work is slower: collecting garbage, then swapping."""
_DYING = 0.92
"""From this share on, requests fail for want of memory."""


@dataclass(frozen=True)
class Load:
    """How it stands at one moment."""

    utilisation: float
    """Of the workers, as a gateway measures it."""
    processors: float
    memory: float
    slower: float
    """Times the work of a request that it takes, waiting included."""
    lost: float
    """Share of the requests that fail for want of room or time."""


def load(serving: Serving, workers: int, demand: float, stolen: float, memory: float) -> Load:
    """`demand`: requests times their work, where 1 is an average hour of the history's version. `stolen`: of the processors."""
    needed = serving.processors * demand
    left = 1 - stolen
    # What does not fit onto the processors takes its turn: each piece of work takes longer.
    stretched = max(1.0, needed / left) * (1 + 2 * max(0.0, memory - _TIGHT) / (1 - _TIGHT))
    offered = serving.busy * demand * stretched * serving.workers / workers
    lost = max(0.0, 1 - 1 / offered) if offered > 1 else 0.0
    lost = 1 - (1 - lost) * (1 - 0.4 * max(0.0, min(1.0, (memory - _DYING) / (1 - _DYING))))
    return Load(
        utilisation=min(1.0, offered),
        processors=min(1.0, stolen + min(needed, left)),
        memory=memory,
        slower=min(_LONGEST, stretched * (1 + _waiting(offered, workers))),
        lost=lost,
    )


def leaked(hours: float, per_hour: float) -> float:
    """Share of the memory in use after so long: the process is killed when it is full, and begins anew."""
    return _MEMORY + (hours * per_hour) % (1 - _MEMORY)


def _waiting(offered: float, workers: int) -> float:
    """Mean wait in units of the work of a request."""
    if offered >= 1:
        return _LONGEST
    return math.pow(offered, math.sqrt(2 * (workers + 1)) - 1) / (workers * (1 - offered))
