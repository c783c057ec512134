"""Which versions an action is about: what they are must be there for as long as it may be carried out, or taken back."""

from agents.actions import (
    AbortRollout,
    Catalogue,
    Promote,
    Quantize,
    Rollback,
    StartExperiment,
    StartRollout,
    StopExperiment,
)
from agents.requests import Request


def versions_of(action: Catalogue) -> frozenset[str]:
    """A list that is discarded or had back names nothing: it needs none of it."""
    match action:
        case Rollback(from_version=before, to_version=after):
            return frozenset({before, after})
        case StartRollout(from_version=before, version=after):
            return frozenset({before, after})
        case Promote(from_version=before, version=after, beside=beside):
            return frozenset({before, after, *beside})
        case AbortRollout(version=version, to_version=champion):
            return frozenset({version, champion})
        case StartExperiment(from_version=control, versions=treatments):
            return frozenset({control, *treatments})
        case StopExperiment(versions=treatments, to_version=control):
            return frozenset({control, *treatments})
        case Quantize(version=version):
            return frozenset({version})
        case _:
            return frozenset()


def versions_asked_for(request: Request) -> frozenset[str]:
    """Of a request that is evaluated, or waits, before anything is proposed."""
    treatments = request.plan.treatments if request.plan is not None else ()
    return frozenset({*(each.version for each in treatments), *([request.version] if request.version is not None else [])})
