"""No cost ledger. Who asks is told so, and does without."""

from datetime import datetime

from tools.costs.port import Amount, Line, Question
from tools.errors import PermanentError
from tools.values import Window

_WHY = "there is no cost ledger here"


class AbsentCosts:
    """`CostReader`."""

    async def ping(self) -> None:
        raise PermanentError(_WHY)

    async def breakdown(self, question: Question) -> tuple[Amount, ...]:  # noqa: ARG002
        raise PermanentError(_WHY)

    async def lines(self, window: Window, *, after: str = "", most: int = 1_000) -> tuple[tuple[str, Line], ...]:  # noqa: ARG002
        raise PermanentError(_WHY)

    async def last(self) -> datetime | None:
        raise PermanentError(_WHY)
