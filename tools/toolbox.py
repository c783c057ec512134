"""All ports in one value. `Readers` is what evidence and the language model may use; only execution gets the `Toolbox`."""

from dataclasses import dataclass, field

from tools.costs.absent import AbsentCosts
from tools.costs.port import CostReader
from tools.jobs.port import Jobs, JobsReader
from tools.notify.port import Notifier
from tools.predictions.port import PredictionReader
from tools.quarantines.port import QuarantineReader, Quarantines
from tools.registry.port import Registry, RegistryReader
from tools.rollouts.port import Traffic, TrafficReader
from tools.serving.port import Serving, ServingReader
from tools.telemetry.port import Telemetry


@dataclass(frozen=True)
class Readers:
    registry: RegistryReader
    serving: ServingReader
    predictions: PredictionReader
    telemetry: Telemetry
    quarantines: QuarantineReader
    jobs: JobsReader
    traffic: TrafficReader
    costs: CostReader = field(default_factory=AbsentCosts)


@dataclass(frozen=True)
class Toolbox:
    registry: Registry
    serving: Serving
    predictions: PredictionReader
    telemetry: Telemetry
    notify: Notifier
    quarantines: Quarantines
    jobs: Jobs
    traffic: Traffic
    costs: CostReader = field(default_factory=AbsentCosts)
    """Nothing that acts books costs: they follow from what is used."""

    @property
    def readers(self) -> Readers:
        return Readers(
            self.registry,
            self.serving,
            self.predictions,
            self.telemetry,
            self.quarantines,
            self.jobs,
            self.traffic,
            self.costs,
        )
