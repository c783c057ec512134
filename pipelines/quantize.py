"""The INT8 experiment as a job, and the registration of what it has made: environment in, MLflow run out.

What is asked for is in `quantization.json`, recent traffic beside it; the registry is MLFLOW_TRACKING_URI. The experiment
leaves a run of its own with the INT8 files, parameters and figures, and with the original's run what it measured, signed: that
is believed for its signature alone (docs/adr/0008). A registration makes a version of exactly those files.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from pipelines.examination import TRAFFIC, held_as_evaluated
from pipelines.held_out import Source, collect
from pipelines.metering import Meter
from pipelines.quantization_card import FILE as CARD
from pipelines.quantization_card import quantization_card
from pipelines.quantize_apart import quantized_apart
from pipelines.quantizing import Asked, Formed
from tools.errors import PermanentError
from tools.inference.engines import read_spec
from tools.jobs.port import Resources
from tools.jobs.prices import Prices, cost_of
from tools.predictions.port import LABEL
from tools.registry.evaluations import KEY
from tools.registry.library import artifact_location, opened
from tools.registry.port import ModelFiles, ModelVersion
from tools.registry.quantizations import INT8_FOLDER, Form, Quantization, per_thousand, quantized_artifact
from tools.registry.signing import digest, sign_quantization
from tools.registry.tracking import Tracking, translated
from tools.tables import stored
from tools.values import LeftOut, Window

CONFIG = "quantization.json"
_JOB_TAG = "oppen.job"
FROM, FORMAT, RECIPE = "quantized_from", "format", "quantized.recipe"
"""Tags of an INT8 version."""
INT8 = "int8"
_FORMS: tuple[Form, ...] = ("original", "converted", "quantized")


@dataclass(frozen=True)
class Order:
    """What is asked of the job."""

    job: str
    model: str
    version: str
    artefact: str
    """Digest of the INT8 files to register; empty: an experiment."""
    tracking_uri: str
    key: str
    source: Source
    held_out: Window | None
    recent: Window | None
    traffic: str
    asked_at: datetime
    asked: Asked
    left_out: tuple[LeftOut, ...] = ()
    memory_bytes: int | None = None
    resources: Resources | None = None
    prices: Prices | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """From what a job finds. Raises PermanentError, which names the variable or field."""
        try:
            folder = Path(environment["OPPEN_JOB_CONFIG"])
            told = json.loads((folder / CONFIG).read_text())
            traffic = folder / TRAFFIC
            groups = tuple(map(str, told["groups"]))
            return cls(
                job=environment["OPPEN_JOB"],
                model=str(told["model"]),
                version=str(told["version"]),
                artefact=str(told["artefact"]),
                tracking_uri=environment["MLFLOW_TRACKING_URI"],
                key=environment[KEY],
                source=Source(
                    name=str(told["source"]),
                    label=str(told["label"]),
                    time=str(told["time"]),
                    most_rows=int(told["most_rows"]),
                    groups=groups,
                ),
                held_out=Window(**told["held_out"]) if told["held_out"] is not None else None,
                recent=Window(**told["recent"]) if told["recent"] is not None else None,
                traffic=traffic.read_text() if traffic.is_file() else "",
                asked_at=datetime.fromisoformat(told["asked_at"]),
                asked=Asked(
                    calibration_rows=int(told["calibration_rows"]),
                    rounds=int(told["rounds"]),
                    calls=int(told["calls"]),
                    batches=tuple(map(int, told["batches"])),
                    groups=groups,
                    seed=int(told["seed"]),
                ),
                left_out=tuple(LeftOut(**each) for each in told["left_out"]),
                memory_bytes=int(told["memory_bytes"]),
                resources=Resources(**told["resources"]),
                prices=Prices(**told["prices"]) if told["prices"] is not None else None,
            )
        except KeyError as error:
            raise PermanentError(f"{error.args[0]}: it is not set, and a quantisation job needs it") from error
        except (OSError, ValueError, TypeError) as error:
            raise PermanentError(f"OPPEN_JOB_CONFIG: {CONFIG} cannot be used: {error}") from error


def quantize(order: Order, *, progress: Callable[[float, str], None] = lambda _fraction, _text: None) -> dict[str, Any]:
    """Repeating an experiment replaces what it has left, repeating a registration registers nothing again. Blocking, a minute.

    Raises PortError: a PermanentError when the original cannot be quantised, when there are no rows, or when what is to be
    registered is not what was measured."""
    tracking = Tracking(order.tracking_uri, order.key)
    original = tracking.version(order.model, order.version)
    if original.run_id is None:
        name = f"{order.model} {order.version}"
        raise PermanentError(f"{name} was registered by no run: there is nowhere to leave what is measured of it")
    found = _registered(order, tracking, original) if order.artefact else _measured(order, tracking, original, progress)
    progress(1.0, f"version {order.version} in INT8")
    return told(found)


def told(found: Quantization) -> dict[str, Any]:
    """In short, for the report of a job."""
    accuracy = next((each for each in found.facts.compared if each.name in ("accuracy", "mae")), None)
    return {
        "ok": True,
        "job": found.job,
        "model": found.model,
        "version": found.version,
        "produced": found.produced or None,
        "recipe": found.recipe,
        "artefact": found.artefact,
        "bytes": {"original": found.original_bytes, "quantized": found.quantized_bytes},
        accuracy.name if accuracy is not None else "accuracy": {
            "original": accuracy.champion,
            "quantized": accuracy.candidate,
            "rows": accuracy.rows,
        }
        if accuracy is not None
        else None,
        "batch_p50_ms": {
            str(batch.rows): {form: round(batch.of(form).p50_ms, 5) for form in _FORMS} for batch in found.batches
        },
    }


def _measured(order: Order, tracking: Tracking, original: ModelVersion, progress: Callable[[float, str], None]) -> Quantization:
    meter = Meter(None)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        progress(0.02, "fetching the version")
        files = tracking.fetch(order.model, order.version, folder / "models")
        artefact = digest(files.folder)
        held_as_evaluated(tracking, order.model, order.version, artefact)
        rows = collect(
            order.source,
            read_spec(files),
            folder,
            held_out=order.held_out,
            recent=order.recent,
            traffic=order.traffic,
            left_out=order.left_out,
        )
        progress(0.1, "; ".join(rows.told))
        parts = {str(part): path for part, path in rows.parts.items()}
        made, formed, timed = quantized_apart(files, parts, LABEL, order.asked, folder, memory_bytes=order.memory_bytes)
        found = Quantization(
            model=order.model,
            version=order.version,
            held_out=rows.windows.get("held_out"),
            recent=rows.windows.get("recent"),
            seed=order.asked.seed,
            measured_at=datetime.now(UTC),
            asked_at=order.asked_at,
            job=order.job,
            artefact=digest(made.folder),
            original_artefact=artefact,
            batches=timed.batches,
            load_average=timed.load_average,
            **{name: getattr(formed, name) for name in Formed.model_fields},
        )
        progress(0.92, "leaving what was made and measured")
        return _leave(order, tracking, original, found, made, "; ".join(rows.told), meter)


def _leave(
    order: Order,
    tracking: Tracking,
    original: ModelVersion,
    found: Quantization,
    made: ModelFiles,
    data: str,
    meter: Meter,
) -> Quantization:
    assert original.run_id is not None
    reference = tracking.reference(order.model, order.version)
    if reference is not None:
        # Production is held against what the original has learnt from: INT8 has learnt nothing.
        (made.folder / stored.FILE).write_text(stored.written(reference))
    with translated():
        mlflow = opened(order.tracking_uri)
        client = mlflow.MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.tracking_uri)
        experiment = _experiment(mlflow, order)
        for unfinished in client.search_runs([experiment], filter_string=f"tags.`{_JOB_TAG}` = '{order.job}'"):
            # Of an attempt that was killed here: nobody is to wait for it.
            if unfinished.info.status == "RUNNING":
                client.set_terminated(unfinished.info.run_id, "KILLED")
        run = client.create_run(experiment, tags={_JOB_TAG: order.job, **_tags(found)})
        run_id = run.info.run_id
        found = found.model_copy(update={"kept_in": run_id})
        for name, value in _parameters(order, found).items():
            client.log_param(run_id, name, value)
        for name, number in _figures(found, order.prices):
            client.log_metric(run_id, name, number)
        client.log_artifacts(run_id, str(made.folder), INT8_FOLDER)
        client.log_text(run_id, quantization_card(found, data, order.prices), CARD)
        if order.prices is not None and order.resources is not None:
            cost = cost_of(order.resources, meter.seconds, order.prices)
            client.set_tag(run_id, "cost.amount", f"{cost.amount:f}")
            client.set_tag(run_id, "cost.currency", cost.currency)
        client.set_terminated(run_id)
        # Last: whoever finds the measurement finds the files.
        client.log_text(original.run_id, sign_quantization(found, order.key), quantized_artifact(order.version))
    return found


def _registered(order: Order, tracking: Tracking, original: ModelVersion) -> Quantization:
    """The version of the files that were measured; made once, however often it is asked for."""
    assert original.run_id is not None
    found = tracking.quantization(order.model, order.version)
    if found is None or found.artefact != order.artefact:
        raise PermanentError(
            f"what was measured of {order.model} {order.version} in INT8 is not {order.artefact}: measure it anew"
        )
    if tracking.digest(order.model, order.version) != found.original_artefact:
        raise PermanentError(f"the files of {order.model} {order.version} have been changed since {found.job} measured them")
    versions = [each for each in tracking.versions(order.model) if each.tags.get(_JOB_TAG) == order.job]
    with translated():
        mlflow = opened(order.tracking_uri)
        client = mlflow.MlflowClient(tracking_uri=order.tracking_uri, registry_uri=order.tracking_uri)
        produced = versions[-1].version if versions else _made(client, order, found, original)
        if tracking.digest(order.model, produced) != found.artefact:
            raise PermanentError(
                f"the INT8 files of {order.model} {order.version} have been changed since {found.job} measured them: version "
                f"{produced} is not to be served"
            )
        found = found.model_copy(update={"produced": produced})
        client.log_text(original.run_id, sign_quantization(found, order.key), quantized_artifact(order.version))
    return found


def _made(client: Any, order: Order, found: Quantization, original: ModelVersion) -> str:
    run = client.get_run(found.kept_in)
    source = f"{run.info.artifact_uri}/{INT8_FOLDER}"
    # What the original learnt from, its INT8 form learnt from.
    tags = {**original.tags, **_tags(found), _JOB_TAG: order.job}
    made = client.create_model_version(order.model, source, found.kept_in, tags=tags, description=_described(found))
    return str(made.version)


def _described(found: Quantization) -> str:
    return f"{found.model} {found.version} in INT8 ({found.recipe}), made and measured by {found.job}. See {CARD} of its run."


def _tags(found: Quantization) -> dict[str, str]:
    tags = {FROM: found.version, FORMAT: INT8, RECIPE: found.recipe, "quantized.bytes": str(found.quantized_bytes)}
    for fact in found.facts.compared:
        if fact.window == ("held_out" if found.held_out is not None else fact.window) and fact.name in (
            "accuracy",
            "mae",
            "auc",
        ):
            tags[f"quantized.{fact.name}"] = f"{fact.candidate:.6f}"
            tags[f"quantized.{fact.name}_of_original"] = f"{fact.champion:.6f}"
    for batch in found.batches:
        tags[f"quantized.p50_ms.{batch.rows}"] = f"{batch.quantized.p50_ms:.6f}"
        tags[f"quantized.p50_ms_of_original.{batch.rows}"] = f"{batch.original.p50_ms:.6f}"
    return tags


def _parameters(order: Order, found: Quantization) -> dict[str, str]:
    asked = {each.name: getattr(order.asked, each.name) for each in fields(order.asked)}
    built = {f"built_with.{name}": value for name, value in found.built_with.items()}
    return {name: str(value) for name, value in {**asked, **built, "recipe": found.recipe, FROM: found.version}.items()}


def _figures(found: Quantization, prices: Prices | None) -> Iterator[tuple[str, float]]:
    """Of MLflow, where `@` is none of a name's letters."""
    for fact in found.facts.compared:
        if ":" not in fact.name:
            yield f"{fact.window}.{fact.name}.quantized", fact.candidate
            yield f"{fact.window}.{fact.name}.original", fact.champion
    sizes = {"original": found.original_bytes, "converted": found.converted_bytes, "quantized": found.quantized_bytes}
    for form in _FORMS:
        yield f"bytes.{form}", float(sizes[form])
        for batch in found.batches:
            timing = batch.of(form)
            yield f"p50_ms.{batch.rows}.{form}", timing.p50_ms
            yield f"p99_ms.{batch.rows}.{form}", timing.p99_ms
            yield f"cpu_s.{batch.rows}.{form}", timing.p50_ms / 1000
            if prices is not None:
                yield f"cost_per_1000.{batch.rows}.{form}", float(per_thousand(timing.p50_ms, batch.rows, prices))


def _experiment(mlflow: Any, order: Order) -> str:
    found = mlflow.get_experiment_by_name(order.model)
    if found is not None:
        return str(found.experiment_id)
    return str(mlflow.create_experiment(order.model, artifact_location=artifact_location(order.tracking_uri)))
