"""Everything that was measured in one investigation, before anybody asks what it means."""

from collections.abc import Iterator
from dataclasses import dataclass

from agents.evidence import Evidence
from agents.incident.measures.comparisons import Metric
from agents.incident.measures.inputs import Inputs, inputs
from agents.incident.measures.labels import Labels, labels
from agents.incident.measures.load import saturation, traffic
from agents.incident.measures.promises import Promise, promises
from agents.incident.measures.shifts import Shift
from agents.incident.measures.versions import (
    Named,
    Rollout,
    against_previous,
    levels,
    named,
    rollout,
    steady,
    worst_slice,
)
from agents.incident.observations import Observations
from agents.policies import Policies


@dataclass(frozen=True)
class Facts:
    observations: Observations
    levels: tuple[Evidence, ...]
    rollout: Rollout | None
    named: Named | None
    """The version that the alerts name; None when they name none, several, or one that has nothing to do with the rollout."""
    against_previous: dict[Metric, Shift]
    """The new champion beside the one before it; empty without a rollout."""
    steady: dict[Metric, Shift]
    """The version that nobody touched, beside itself a season before: the champion, or after a rollout the one before it."""
    worst_slice: Shift | None
    inputs: Inputs
    labels: Labels
    traffic: Shift | None
    saturation: tuple[Shift, ...]
    promises: tuple[Promise, ...]

    @property
    def service(self) -> dict[Metric, Shift]:
        """Errors and latency of what was there before any rollout; where that no longer answers, of what replaced it."""
        source = (
            self.steady if self.rollout is None or any(each.enough for each in self.steady.values()) else self.against_previous
        )
        return {metric: shift for metric, shift in source.items() if metric != "accuracy"}

    @property
    def moved(self) -> tuple[Shift, ...]:
        """All that has really changed."""
        load = [each for each in (self.traffic, *self.saturation) if each is not None]
        candidates = (
            *self.against_previous.values(),
            *self.steady.values(),
            *self.inputs.faults,
            *self.inputs.drifted,
            *self.labels.broken,
            *load,
        )
        return tuple(each for each in candidates if each.real)

    def evidence(self) -> Iterator[Evidence]:
        """All of it, each id once."""
        seen: set[str] = set()
        for each in self._evidence():
            if each.id not in seen:
                seen.add(each.id)
                yield each

    def _evidence(self) -> Iterator[Evidence]:
        if self.rollout is not None:
            yield self.rollout.evidence
        if self.named is not None:
            yield self.named.evidence
        yield from self.levels
        shifts = (
            *self.against_previous.values(),
            *self.steady.values(),
            self.worst_slice,
            *self.inputs.faults,
            *self.inputs.drifted,
            self.labels.late,
            self.labels.one_class,
            self.labels.unrelated,
            self.labels.outputs,
            self.traffic,
            *self.saturation,
        )
        yield from (each.evidence for each in shifts if each is not None)
        if self.inputs.summary is not None:
            yield self.inputs.summary
        yield from (each.evidence for each in self.promises)


def measure(observations: Observations, policies: Policies) -> Facts:
    rules = policies.investigation
    change = rollout(observations)
    untouched = change.previous if change is not None else observations.champion or _only_version(observations)
    return Facts(
        observations=observations,
        levels=tuple(levels(observations, policies)),
        rollout=change,
        named=named(observations, change, policies.intake),
        against_previous=against_previous(observations, change, rules) if change is not None else {},
        steady=steady(observations, untouched, rules),
        worst_slice=worst_slice(observations, change, rules) if change is not None else None,
        inputs=inputs(observations, rules),
        labels=labels(observations, rules),
        traffic=traffic(observations, rules),
        saturation=saturation(observations, rules),
        promises=promises(observations, policies),
    )


def _only_version(observations: Observations) -> str | None:
    """Without a registry: the version that answered, where it was a single one."""
    names = {each.version for each in (*observations.now.versions, *observations.before.versions)}
    return names.pop() if len(names) == 1 else None
