"""Quarantines of data in memory, by the rules of the real ones."""

import itertools
from collections.abc import Iterable

from tools.clock import Clock
from tools.errors import Conflict, PermanentError, TemporaryError
from tools.quarantines.port import Quarantine, ids
from tools.values import Window


class TwinQuarantines:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._numbers = itertools.count(1)
        self._placed: dict[str, str] = {}
        """Key -> id."""
        self._released: dict[str, str] = {}
        """Id -> key."""
        self.all: dict[str, Quarantine] = {}
        self._down = False

    def go_down(self) -> None:
        self._down = True

    async def in_force(self, model: str, window: Window | None = None) -> tuple[Quarantine, ...]:
        self._answer()
        found = [each for each in self.all.values() if each.model == model and each.released_at is None]
        found = [each for each in found if window is None or each.window.overlaps(window)]
        return tuple(sorted(found, key=lambda each: (each.window.start, each.id)))

    async def place(
        self,
        model: str,
        window: Window,
        features: tuple[str, ...],
        *,
        expected: Iterable[str],
        key: str,
        actor: str,
        reason: str,
    ) -> Quarantine:
        self._answer()
        if key in self._placed:
            known = self.all[self._placed[key]]
            if (known.model, known.window, known.features) != (model, window, features):
                raise PermanentError(f"{key} stands for another quarantine")
            return known
        there = ids(await self.in_force(model, window))
        if there != tuple(sorted(expected)):
            raise Conflict(f"{model}: {', '.join(there) or 'nothing'} is quarantined of it by now")
        placed = Quarantine(
            id=f"qua_{next(self._numbers):032x}",
            model=model,
            window=window,
            features=features,
            reason=reason,
            placed_by=actor,
            placed_at=self._clock.now(),
        )
        self._placed[key], self.all[placed.id] = placed.id, placed
        return placed

    async def release(self, quarantine: str, *, key: str, actor: str, reason: str) -> Quarantine:
        del reason
        self._answer()
        if quarantine not in self.all:
            raise PermanentError(f"there is no quarantine {quarantine!r}")
        known = self.all[quarantine]
        if known.released_at is not None:
            if self._released[quarantine] != key:
                raise Conflict(f"{quarantine} was released by {known.released_by} already")
            return known
        self._released[quarantine] = key
        self.all[quarantine] = known.model_copy(update={"released_by": actor, "released_at": self._clock.now()})
        return self.all[quarantine]

    def _answer(self) -> None:
        if self._down:
            raise TemporaryError("the quarantines are down")
