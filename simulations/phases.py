"""How far a training has come on its way to champion, told by what the service does: for a drill that kills it in each part.

A part is entered by what happens in it for the first time, and never left backwards: a process that was killed begins where
the one before it was, and repeats some of it.
"""

from collections.abc import Iterable

PHASES = (
    "request and first question",
    "executing the training",
    "training",
    "evaluation and second question",
    "executing the first stage",
    "first stage",
    "shift to the second stage",
    "second stage",
    "shift to the last stage",
    "last stage",
    "executing the promotion",
    "verification",
)

_BEGIN = {
    "ledger.intend retrain: before": 1,
    "registry.evaluation: before": 3,
    "ledger.intend start_rollout: before": 4,
    "serving.set_weights stage/1: before": 6,
    "serving.set_weights stage/2: before": 8,
    "ledger.intend promote: before": 10,
}
"""What is the first of a part."""
_FOLLOW = {
    "ledger.complete retrain: after": 2,
    "ledger.complete start_rollout: after": 5,
    "serving.set_weights stage/1: after": 7,
    "serving.set_weights stage/2: after": 9,
    "ledger.complete promote: after": 11,
}
"""What is the last of the part before."""
_RESUMED = {"jobs.usage: before": (1, 2), "predictions.tallies: before": (4, 5), "predictions.periods: before": (10, 11)}
"""What shows that a part is over whose last was killed away: from, to. Shifts are repeated, and have their own."""


class Phases:
    """`reached`: the number of the part that a process before this one was killed in."""

    def __init__(self, reached: int = 0) -> None:
        self.reached = reached

    def cross(self, boundary: str) -> int:
        """The number of the part that the boundary lies in."""
        self._to(_BEGIN.get(boundary, 0))
        if boundary in _RESUMED and _RESUMED[boundary][0] == self.reached:
            self._to(_RESUMED[boundary][1])
        here = self.reached
        self._to(_FOLLOW.get(boundary, 0))
        return here

    def _to(self, phase: int) -> None:
        self.reached = max(self.reached, phase)


def instants(crossed: Iterable[tuple[int, str]], wanted: int) -> list[tuple[int, str, int]]:
    """So many of the boundaries that a whole way has: as many in each part, in a part each kind of boundary in turn, and of
    a kind the first, the last and what lies between. Part, boundary, and which of its kind in the part (from 1)."""
    kinds: dict[int, dict[str, int]] = {phase: {} for phase in range(len(PHASES))}
    for phase, boundary in crossed:
        kinds[phase][boundary] = kinds[phase].get(boundary, 0) + 1
    lanes = [list(_in_turn(phase, of_phase)) for phase, of_phase in kinds.items() if of_phase]
    chosen: list[tuple[int, str, int]] = []
    place = 0
    while len(chosen) < wanted and any(place < len(lane) for lane in lanes):
        chosen += [lane[place] for lane in lanes if place < len(lane)][: wanted - len(chosen)]
        place += 1
    return chosen


def _in_turn(phase: int, kinds: dict[str, int]) -> Iterable[tuple[int, str, int]]:
    # What the ports, the ledger and the threads do first: there are far more commits and connections than of these.
    order = sorted(kinds, key=lambda kind: (kind.startswith("sql"), not kind.startswith(("ledger", "serving", "jobs"))))
    left = {kind: _spread(kinds[kind]) for kind in order}
    while any(left.values()):
        for kind in order:
            if left[kind]:
                yield phase, kind, left[kind].pop(0)


def _spread(count: int) -> list[int]:
    """1 to count: first the ends, then halves, and so on."""
    found, gaps = [1] + ([count] if count > 1 else []), [(1, count)]
    while gaps:
        low, high = gaps.pop(0)
        middle = (low + high) // 2
        if low < middle < high:
            found.append(middle)
            gaps += [(low, middle), (middle, high)]
    return found
