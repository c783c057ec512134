"""The batches of a table as they came, with what was measured of each."""

from collections import deque
from typing import TYPE_CHECKING, Protocol

from tools.quality.statistics import BatchStatistics, read
from tools.values import Frozen, Instant

if TYPE_CHECKING:
    from tools.lake.port import LakeReader  # it imports Arrow, which whoever only judges a history does not need


class PastBatch(Frozen):
    key: str
    name: str
    at: Instant
    """When it was stored or refused."""
    rows: int
    quarantined: int
    refused: str | None = None
    statistics: BatchStatistics | None = None
    """None: it was refused, or came without a schema."""

    @property
    def bad_share(self) -> float:
        read = self.rows + self.quarantined
        return self.quarantined / read if read else 0.0


class Histories(Protocol):
    """Of the tables of a lake. Raises TemporaryError while it is away or in use, PermanentError where there is no such lake."""

    async def tables(self) -> tuple[str, ...]:
        """Those with a batch or a refusal, by name."""
        ...

    async def batches(self, table: str, latest: int) -> tuple[PastBatch, ...]:
        """The `latest` batches and refusals, oldest first; none of a table that is not there."""
        ...


def history(table: "LakeReader", latest: int) -> tuple[PastBatch, ...]:
    """The `latest` batches and refusals, oldest first."""
    receipts = deque(table.receipts(), latest)
    wanted = {each.key for each in receipts if each.refused is None}
    described = {receipt.key: text for receipt, text in table.statistics() if receipt.key in wanted} if wanted else {}
    return tuple(
        PastBatch(
            key=each.key,
            name=each.name,
            at=each.at,
            rows=each.rows,
            quarantined=each.quarantined,
            refused=each.refused,
            statistics=read(described[each.key]) if each.refused is None and each.key in described else None,
        )
        for each in receipts
    )
