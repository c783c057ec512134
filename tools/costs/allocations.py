"""What somebody else, who watches the cluster, says that workloads have used and cost."""

from decimal import Decimal
from typing import Protocol, runtime_checkable

from pydantic import Field

from tools.values import Frozen, Window

IDLE = "__idle__"
"""What nobody asked for, and is paid for all the same."""
UNALLOCATED = "__unallocated__"
"""What has none of the properties by which it was asked for."""
UNMOUNTED = "__unmounted__"
"""Volumes that nobody has mounted."""


class Allocation(Frozen):
    """Of one workload in one step of time. Costs are in the currency that the other side is configured with, and do not say."""

    name: str
    window: Window
    """In which it ran; within its step."""
    cluster: str = ""
    namespace: str = ""
    controller_kind: str = ""
    controller: str = ""
    pod: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    cpu_core_hours: Decimal = Decimal(0)
    gpu_hours: Decimal = Decimal(0)
    memory_byte_hours: Decimal = Decimal(0)
    volume_byte_hours: Decimal = Decimal(0)
    cpu_cost: Decimal = Decimal(0)
    gpu_cost: Decimal = Decimal(0)
    memory_cost: Decimal = Decimal(0)
    volume_cost: Decimal = Decimal(0)
    network_cost: Decimal = Decimal(0)
    load_balancer_cost: Decimal = Decimal(0)
    shared_cost: Decimal = Decimal(0)
    external_cost: Decimal = Decimal(0)
    total_cost: Decimal = Decimal(0)
    """With adjustments: what its parts add up to before them may differ."""


@runtime_checkable
class AllocationReader(Protocol):
    async def ping(self) -> None: ...

    async def allocations(self, window: Window, *, aggregate: str = "controller") -> tuple[Allocation, ...]:
        """By days of UTC; idle cost is a line of its own (`IDLE`). `aggregate`: by which property, e.g. `controller`, `pod`,
        `label:app`. TemporaryError or PermanentError."""
        ...
