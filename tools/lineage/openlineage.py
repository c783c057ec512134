"""Our events as OpenLineage's, by its own classes. Its library takes half a second to import: import this where it is used."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from openlineage.client.event_v2 import InputDataset, OutputDataset, RunEvent
from openlineage.client.event_v2 import Job as JobElement
from openlineage.client.event_v2 import Run as RunElement
from openlineage.client.event_v2 import RunState as EventType
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    JobFacet,
    OutputDatasetFacet,
    RunFacet,
    data_quality_metrics_dataset,
    dataset_version_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    processing_engine_run,
    schema_dataset,
)
from openlineage.client.serde import Serde

from tools.lineage import facets
from tools.lineage.port import ColumnStatistics, Dataset, Event, Run
from tools.lineage.secrets import cleaned

VERSION = version("oppen")
PRODUCER = f"urn:oppen:producer:{VERSION}"
_ERROR = 2_000
"""Characters of an error's message that are told."""


def as_openlineage(event: Event) -> dict[str, Any]:
    """As JSON, without what is empty and without secrets. The same event is the same text."""
    made = RunEvent(
        eventType=EventType[event.state.name],
        eventTime=_time(event.at),
        run=RunElement(event.run.id, _of_run(event.run, event.error)),
        job=JobElement(event.run.job.namespace, event.run.job.name, _of_job(event.run)),
        inputs=[_input(each) for each in event.inputs],
        outputs=[_output(each) for each in event.outputs],
        producer=PRODUCER,
    )
    told: dict[str, Any] = cleaned(_stamped(Serde.to_dict(made)))
    return told


def _of_run(run: Run, error: str | None) -> dict[str, RunFacet]:
    found: dict[str, RunFacet] = {"processing_engine": processing_engine_run.ProcessingEngineRunFacet(VERSION, "OPPEN")}
    if run.code is not None:
        code = run.code
        found[facets.CODE] = facets.CodeRunFacet(code.package, code.version, code.commit, code.changed)
    if run.mlflow is not None:
        found[facets.MLFLOW] = facets.MlflowRunFacet(run.mlflow.run_id, run.mlflow.experiment or None)
    if run.counts:
        found[facets.COUNTS] = facets.CountsRunFacet(dict(run.counts))
    if error is not None:
        found["errorMessage"] = error_message_run.ErrorMessageRunFacet(error[:_ERROR], "PYTHON")
    return found


def _of_job(run: Run) -> dict[str, JobFacet]:
    return {"jobType": job_type_job.JobTypeJobFacet("BATCH", "OPPEN", run.job.kind)}


def _input(dataset: Dataset) -> InputDataset:
    found: dict[str, InputDatasetFacet] = {}
    if dataset.rows is not None or dataset.bytes is not None:
        found["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(dataset.rows, dataset.bytes)
    if dataset.window is not None:
        window = dataset.window
        found[facets.WINDOW] = facets.WindowInputDatasetFacet(_time(window.start), _time(window.end))
    return InputDataset(dataset.namespace, dataset.name, facets=_of_dataset(dataset), inputFacets=found)


def _output(dataset: Dataset) -> OutputDataset:
    found: dict[str, OutputDatasetFacet] = {}
    if dataset.rows is not None or dataset.bytes is not None:
        found["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            dataset.rows, dataset.bytes, len(dataset.batches) or None
        )
    return OutputDataset(dataset.namespace, dataset.name, facets=_of_dataset(dataset), outputFacets=found)


def _of_dataset(dataset: Dataset) -> dict[str, DatasetFacet]:
    found: dict[str, DatasetFacet] = {}
    if dataset.version is not None:
        found["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(dataset.version)
    if dataset.columns:
        fields = [schema_dataset.SchemaDatasetFacetFields(each.name, each.type) for each in dataset.columns]
        found["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields)
    if dataset.statistics:
        found["dataQualityMetrics"] = data_quality_metrics_dataset.DataQualityMetricsDatasetFacet(
            {name: _metrics(each) for name, each in dataset.statistics.items()}, dataset.rows, dataset.bytes
        )
    if dataset.location is not None:
        found[facets.LOCATION] = facets.LocationDatasetFacet(dataset.location)
    if dataset.batches:
        batches = [
            facets.BatchOfDataset(each.key, each.name or None, each.rows, each.quarantined, each.bytes)
            for each in dataset.batches
        ]
        found[facets.BATCHES] = facets.BatchesDatasetFacet(batches=batches)
    return found


def _metrics(statistics: ColumnStatistics) -> data_quality_metrics_dataset.ColumnMetrics:
    return data_quality_metrics_dataset.ColumnMetrics(
        nullCount=statistics.nulls,
        distinctCount=statistics.distinct,
        sum=statistics.total,
        count=statistics.count,
        min=statistics.minimum,
        max=statistics.maximum,
        quantiles=dict(statistics.quantiles),
    )


def _stamped(value: Any) -> Any:
    """The library's facets name it as their producer: ours are ours. Objects without anything in them are left out."""
    if isinstance(value, list):
        return [_stamped(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _stamped(each) for name, each in value.items()}
    if "_producer" in kept:
        kept["_producer"] = PRODUCER
    empty = ("facets", "inputFacets", "outputFacets", "quantiles", "fields")
    return {name: each for name, each in kept.items() if each or name not in empty}


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
