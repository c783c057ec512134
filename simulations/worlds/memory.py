"""What an installation's own metrics system remembers of the last hours: what its alert rules look at."""

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple


class Answer(NamedTuple):
    at: datetime
    milliseconds: float
    failed: bool


class Outcome(NamedTuple):
    at: datetime
    """When the label came."""
    right: bool


_KEPT = timedelta(hours=6)


class Memory:
    def __init__(self) -> None:
        self._answers: deque[Answer] = deque()
        self._outcomes: deque[Outcome] = deque()

    def answered(self, answer: Answer) -> None:
        self._answers.append(answer)

    def turned_out(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)

    def answers(self, since: datetime) -> list[Answer]:
        while self._answers and self._answers[0].at < since - _KEPT:
            self._answers.popleft()
        return [each for each in self._answers if each.at >= since]

    def outcomes(self, since: datetime) -> list[Outcome]:
        while self._outcomes and self._outcomes[0].at < since - _KEPT:
            self._outcomes.popleft()
        return [each for each in self._outcomes if each.at >= since]
