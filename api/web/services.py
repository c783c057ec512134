"""What the web layer needs of the rest, as one value; `api/container.py` makes it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from agents.policies import Policies
from api.settings import Sender
from api.store.database import Database
from api.work.approvals import Approvals
from api.work.autonomy import Autonomy
from api.work.chores import Chore
from api.work.experiments import Experiments
from api.work.gates import Gates
from api.work.intake import Intake
from api.work.metering import Billing
from api.work.reports import Reports
from api.work.rollouts import Rollouts
from tools.clock import Clock
from tools.costs.allocations import AllocationReader
from tools.costs.port import CostReader
from tools.errors import TemporaryError
from tools.features.port import Features
from tools.jobs.port import Jobs
from tools.predictions.port import Lag, PredictionReader
from tools.quality.history import Histories
from tools.quarantines.port import Quarantines
from tools.registry.port import RegistryReader
from tools.serving.port import ServingReader

log = structlog.get_logger()


@dataclass(frozen=True)
class Auditor:
    """Somebody else who reckons what the cluster costs, and how our names are said there."""

    reader: AllocationReader
    currency: str
    """Which it reckons in."""
    controllers: Mapping[str, str]
    """Our workload -> the controller that it runs under, where that has another name."""


@dataclass(frozen=True)
class Services:
    database: Database
    intake: Intake
    approvals: Approvals
    autonomy: Autonomy
    rollouts: Rollouts
    experiments: Experiments
    policies: Callable[[], Policies]
    clock: Clock
    dispatch: Callable[[str], Awaitable[None]]
    """Have a run moved on; called after the commit that queued it."""
    registry: RegistryReader
    serving: ServingReader
    predictions: PredictionReader
    quarantines: Quarantines
    jobs: Jobs
    costs: CostReader
    billing: Billing
    reports: Reports
    datasets: Histories | None
    """Of the lake's tables; None: no lake is configured."""
    features: Features | None
    """None: there is no feature store."""
    checks: Mapping[str, Callable[[], Awaitable[None]]]
    """Readiness: each raises PortError when its dependency does not answer."""
    required: frozenset[str]
    """Checks without which nothing can be taken in. An investigation does without the others, and says so."""
    lag: Callable[[], Awaitable[Lag]]
    chores: Sequence[Chore[Any]]
    dropped: Mapping[str, int]
    """Rows that had served their time and went, by kind."""
    retried: Mapping[str, int]
    """Moves of runs that did not succeed and are tried again, by event: `run.delayed`, `run.stuck`."""
    senders: Mapping[str, Sender]
    gates: Gates | None = None
    """None: nothing asks before it moves traffic."""
    auditor: Auditor | None = None
    """None: no OpenCost is configured."""

    async def wake(self, run_id: str) -> None:
        """Have a run moved on whose commit is on disk. An engine that is away is no reason to tell the caller that it failed:
        what was asked for is done, and the sweep finds the run."""
        try:
            await self.dispatch(run_id)
        except TemporaryError as error:
            log.warning("dispatch.delayed", run_id=run_id, reason=str(error))
