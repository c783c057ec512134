"""The facets that OpenLineage has no word for. Imports its library: imported by `tools/lineage/openlineage.py` alone."""

import attr
from openlineage.client.facet_v2 import DatasetFacet, InputDatasetFacet, RunFacet

BATCHES, CODE, COUNTS, MLFLOW, WINDOW, LOCATION = (
    f"oppen_{name}" for name in ("batches", "code", "counts", "mlflow", "window", "location")
)


def schema(name: str) -> str:
    return f"urn:oppen:lineage:{name}:1"


@attr.define
class BatchOfDataset:
    key: str
    name: str | None = None
    rows: int | None = None
    quarantined: int | None = None
    bytes: int | None = None


@attr.define
class BatchesDatasetFacet(DatasetFacet):
    """Which parts of the dataset were read or written; the others were not."""

    batches: list[BatchOfDataset] = attr.field(factory=list)

    @staticmethod
    def _get_schema() -> str:
        return schema(BATCHES)


@attr.define
class LocationDatasetFacet(DatasetFacet):
    uri: str

    @staticmethod
    def _get_schema() -> str:
        return schema(LOCATION)


@attr.define
class WindowInputDatasetFacet(InputDatasetFacet):
    """The half-open stretch of time that was read: start <= t < end."""

    start: str
    end: str

    @staticmethod
    def _get_schema() -> str:
        return schema(WINDOW)


@attr.define
class CodeRunFacet(RunFacet):
    package: str
    version: str
    commit: str | None = None
    changed: bool = False

    @staticmethod
    def _get_schema() -> str:
        return schema(CODE)


@attr.define
class MlflowRunFacet(RunFacet):
    runId: str  # noqa: N815 (the form of the names of OpenLineage)
    experiment: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return schema(MLFLOW)


@attr.define
class CountsRunFacet(RunFacet):
    counts: dict[str, int]

    @staticmethod
    def _get_schema() -> str:
        return schema(COUNTS)
