"""One request, from its body to its answer: who answers, what they say, and the line in the log.

The row goes into the log before the answer goes out; a request that the log has no room for is refused before it costs
anything. Failed predictions are logged too, with `error`; refused ones are only counted, because logging an overload adds
to it.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET

from gateway.features import Rows, pick_rows, row_count
from gateway.fleet import Fleet
from gateway.ids import PredictionIds
from gateway.metrics import Metrics
from gateway.mirroring import Served
from gateway.models import Model
from gateway.protocol import (
    AnswerParameters,
    Feedback,
    InferAnswer,
    InferRequest,
    Label,
    OutputTensor,
    decode,
    decode_infer,
)
from gateway.refusals import Backlogged, Failed, Refused, TooLarge
from gateway.segments import SegmentLog
from gateway.versions import Version
from tools.clock import Clock
from tools.inference.outputs import Outputs
from tools.predictions.records import LabelRecord, PredictionRecord, Record, ValueRecord

_ENCODER = msgspec.json.Encoder()
_MAX_METRICS = 20
"""Of one prediction."""
_MAX_VALUE = 1e15
"""Its square is still added up exactly enough."""
T = TypeVar("T")


class _Part:
    """The rows of a request that one version answers. `places` are their positions in the request; None: all, in order."""

    __slots__ = ("outputs", "places", "rows", "version")

    def __init__(self, version: Version, places: list[int] | None, rows: Rows) -> None:
        self.version = version
        self.places = places
        self.rows = rows
        self.outputs = Outputs(None, [])


class Inference:
    def __init__(
        self, fleet: Fleet, predictions: SegmentLog, labels: SegmentLog, clock: Clock, metrics: Metrics, *, max_rows: int
    ) -> None:
        self._metrics = metrics
        self._fleet = fleet
        self._predictions = predictions
        self._labels = labels
        self._clock = clock
        self._max_rows = max_rows
        self._ids = PredictionIds()

    async def infer(self, name: str, pinned: str | None, body: bytes, started: float) -> bytes:
        """`started`: `perf_counter` when the body was complete. Raises a Refused of any kind."""
        model = self._fleet.model(name)
        request = decode_infer(body)
        count = row_count(request.inputs)
        if count > self._max_rows:
            raise TooLarge(f"inputs: {count} rows where {self._max_rows} are taken at once")
        entities = _entities(request, count)
        parts = _split(model, pinned, request, entities, count)
        wanted = _wanted(request, parts)
        if not self._predictions.reserve(count):
            raise Backlogged(f"{self._predictions.pending} predictions wait to be written; try again")
        try:
            await _compute(parts)
        except Failed as failure:
            at, ids, elapsed = self._write(name, parts, entities, started, str(failure))
            if pinned is None and model.mirror is not None:
                model.mirror.offer(Served(request.inputs, len(body), ids, at, elapsed, 0.0))
            raise
        except BaseException:
            self._predictions.release(count)
            raise
        at, ids, elapsed = self._write(name, parts, entities, started, None)
        for part in parts:
            part.version.metrics.latency(elapsed)
            part.version.metrics.predictions(part.rows.count)
        if pinned is None and model.mirror is not None:
            took_s = max(part.outputs.took_s for part in parts)
            model.mirror.offer(Served(request.inputs, len(body), ids, at, elapsed, took_s))
        return _ENCODER.encode(_answer(name, request, parts, wanted, ids))

    def feedback(self, name: str, body: bytes) -> bytes:
        """Take labels, and what predictions were worth; returns of how many.

        Raises Refused for a bad body, NotFound, Backlogged."""
        self._fleet.model(name)
        labels = decode(body, Feedback).labels
        if len(labels) > self._max_rows:
            raise TooLarge(f"labels: {len(labels)} where {self._max_rows} are taken at once")
        at = self._now()
        records: list[Record] = []
        for place, label in enumerate(labels):
            if not 1 <= len(label.id) <= 64:
                raise Refused(f"labels[{place}].id: {label.id[:80]!r} is no prediction id")
            if label.label is UNSET and not label.metrics:
                raise Refused(f"labels[{place}]: send a label, metrics, or both")
            records += _values(name, place, label, at)
            if label.label is UNSET:
                continue
            # A class as JSON writes it (`true`, `7`), so that it compares with the predicted class.
            text = label.label if isinstance(label.label, str) else _ENCODER.encode(label.label).decode()
            records.append(LabelRecord(id=label.id, model=name, at=at, label=text))
        if not self._labels.reserve(len(records)):
            raise Backlogged(f"{self._labels.pending} labels wait to be written; try again")
        self._labels.append(records)
        self._metrics.labelled(name, sum(isinstance(record, LabelRecord) for record in records))
        return _ENCODER.encode({"accepted": len(labels)})

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)

    def _write(
        self, model: str, parts: Sequence[_Part], entities: Sequence[str], started: float, error: str | None
    ) -> tuple[int, list[str], float]:
        """Log every row; returns when, the prediction ids by place, and the seconds it took."""
        at = self._now()
        elapsed = time.perf_counter() - started
        latency_us = int(elapsed * 1_000_000)
        ids = [""] * len(entities)
        records: list[Record] = []
        for part in parts:
            predictions, scores = part.outputs.predictions, part.outputs.scores
            for row, place in enumerate(part.places if part.places is not None else range(part.rows.count)):
                ids[place] = self._ids.next(at)
                records.append(
                    PredictionRecord(
                        id=ids[place],
                        model=model,
                        version=part.version.version,
                        at=at,
                        entity=entities[place],
                        latency_us=latency_us,
                        cpu_us=part.outputs.cpu_us,
                        features=part.rows.features[row],
                        prediction=predictions[row] if predictions is not None and error is None else None,
                        score=scores[row] if error is None else None,
                        error=error,
                    )
                )
        self._predictions.append(records)
        return at, ids, elapsed


def _values(model: str, place: int, label: Label, at: int) -> list[Record]:
    """Raises Refused for a name or a number that cannot be kept."""
    if len(label.metrics) > _MAX_METRICS:
        raise Refused(f"labels[{place}].metrics: {len(label.metrics)} where {_MAX_METRICS} are taken of one prediction")
    records: list[Record] = []
    for name, value in label.metrics.items():
        if not 1 <= len(name) <= 100:
            raise Refused(f"labels[{place}].metrics: {name[:80]!r} is no name of a metric; it has 1 to 100 characters")
        if not abs(value) <= _MAX_VALUE:
            raise Refused(f"labels[{place}].metrics.{name}: {value} is no amount; it lies between -1e15 and 1e15")
        records.append(ValueRecord(id=label.id, model=model, at=at, name=name, value=value))
    return records


def _entities(request: InferRequest, count: int) -> list[str]:
    """One per row; empty where the request names none."""
    given = request.parameters.entity_id if request.parameters is not None else None
    match given:
        case None:
            return [""] * count
        case str():
            return [given] * count
        case list():
            if len(given) != count:
                raise Refused(f"parameters.entity_id: {len(given)} entities for {count} rows")
            return given


def _split(model: Model, pinned: str | None, request: InferRequest, entities: list[str], count: int) -> list[_Part]:
    if pinned is not None:
        version = model.pinned(pinned)
        return [_Part(version, None, version.encoder.encode(request.inputs, count))]
    if count == 1 or isinstance(request.parameters and request.parameters.entity_id, str | None):
        version = model.pick(entities[0] or None)
        return [_Part(version, None, version.encoder.encode(request.inputs, count))]
    places: dict[Version, list[int]] = {}
    for place, entity in enumerate(entities):
        places.setdefault(model.pick(entity or None), []).append(place)
    if len(places) == 1:
        (version,) = places
        return [_Part(version, None, version.encoder.encode(request.inputs, count))]
    return [
        _Part(version, own, version.encoder.encode(pick_rows(request.inputs, own, count), len(own)))
        for version, own in places.items()
    ]


async def _compute(parts: list[_Part]) -> None:
    """Fill in the outputs. Raises Overloaded or Failed."""
    if len(parts) == 1:
        parts[0].outputs = await parts[0].version.infer(parts[0].rows)
    else:
        outputs = await asyncio.gather(*(part.version.infer(part.rows) for part in parts), return_exceptions=True)
        for part, output in zip(parts, outputs, strict=True):
            if isinstance(output, BaseException):
                raise output
            part.outputs = output
    for part in parts:
        for row, score in enumerate(part.outputs.scores):
            if score - score != 0.0:  # NaN or infinite
                raise Failed(f"{part.version.model} {part.version.version} gave {score} for row {row} of its batch")


def _wanted(request: InferRequest, parts: list[_Part]) -> list[str]:
    """The outputs to give, in order. Raises Refused for one that does not exist."""
    scored_only = any(part.version.spec.task == "regression" for part in parts)
    given = ["score"] if scored_only else ["prediction", "score"]
    if not request.outputs:
        return given
    wanted = [output.name for output in request.outputs]
    for name in wanted:
        if name not in given:
            raise Refused(f"outputs[{name}]: the model gives {' and '.join(given)}")
    return wanted


def _answer(name: str, request: InferRequest, parts: list[_Part], wanted: list[str], ids: list[str]) -> InferAnswer:
    count = len(ids)
    outputs = []
    for output in wanted:
        if output == "score":
            outputs.append(OutputTensor(output, [count], "FP64", _placed(parts, count, [p.outputs.scores for p in parts])))
        else:
            predictions = [part.outputs.predictions or [] for part in parts]
            outputs.append(OutputTensor(output, [count], "BYTES", _placed(parts, count, predictions)))
    mixed = len(parts) > 1
    versions = _placed(parts, count, [[part.version.version] * part.rows.count for part in parts]) if mixed else None
    return InferAnswer(
        model_name=name,
        model_version=None if mixed else parts[0].version.version,
        id=request.id or ids[0],
        parameters=AnswerParameters(ids, versions),
        outputs=outputs,
    )


def _placed(parts: list[_Part], count: int, values: list[list[T]]) -> list[T]:
    """The parts' values in the order of the request."""
    if len(parts) == 1:
        return values[0]
    by_place = {
        place: value
        for part, own in zip(parts, values, strict=True)
        for place, value in zip(part.places or (), own, strict=True)
    }
    return [by_place[place] for place in range(count)]
