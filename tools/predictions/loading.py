"""A segment becomes rows: in batches, by model, each insert under a token, so that the same segment twice is once.

ClickHouse drops an insert whose token it has seen for the table (`insert_deduplication_token`). The tokens are made of the
segment's name and the batch's position, so a load that was killed at any point is simply repeated.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from tools.predictions.records import LabelRecord, PredictionRecord, Record
from tools.predictions.schema import TYPES, FeatureKind, column, create, labels_table, predictions_table

_BATCH = 50_000
"""Records in memory at once."""

_decode = msgspec.json.Decoder(Record)


def load(client: Any, segment: Path) -> int:
    """The records that were taken. Lines that are none go to `{segment}.rejected` with the reason; the others go on."""
    rejected: list[bytes] = []
    taken = 0
    with segment.open("rb") as lines:
        records = _records(lines, rejected)
        for batch in iter(lambda: list(islice(records, _BATCH)), []):
            _insert(client, batch, f"{segment.name}/{taken}")
            taken += len(batch)
    if rejected:
        segment.with_name(f"{segment.name}.rejected").write_bytes(b"".join(rejected))
    return taken


def _records(lines: Iterator[bytes], rejected: list[bytes]) -> Iterator[PredictionRecord | LabelRecord]:
    for line in lines:
        if not line.strip():
            continue
        try:
            yield _decode.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            rejected.append(b"# " + str(error).encode() + b"\n" + line.rstrip(b"\n") + b"\n")


def _insert(client: Any, batch: Sequence[PredictionRecord | LabelRecord], token: str) -> None:
    predictions: dict[str, list[PredictionRecord]] = {}
    labels: dict[str, list[LabelRecord]] = {}
    for record in batch:
        if isinstance(record, PredictionRecord):
            predictions.setdefault(record.model, []).append(record)
        else:
            labels.setdefault(record.model, []).append(record)
    for model in {*predictions, *labels}:
        for statement in create(model):
            client.command(statement)
        client.command("INSERT INTO oppen_models VALUES ({model:String})", parameters={"model": model})
    for model, rows in predictions.items():
        _put(client, predictions_table(model), _prediction_table(rows, _columns(client, model, rows)), token)
    for model, labelled in labels.items():
        _put(client, labels_table(model), _label_table(labelled), token)


def _put(client: Any, table: str, rows: Any, token: str) -> None:
    client.insert_arrow(table, rows, settings={"insert_deduplication_token": token})


def _columns(client: Any, model: str, rows: Sequence[PredictionRecord]) -> dict[str, FeatureKind]:
    """The model's features with their kinds, those that this batch brings first included."""
    query = "SELECT feature, kind FROM oppen_features FINAL WHERE model = {model:String}"
    known: dict[str, FeatureKind] = dict(client.query(query, parameters={"model": model}).result_rows)
    fresh: dict[str, FeatureKind] = {}
    for row in rows:
        for name, value in row.features.items():
            if value is not None and name not in known and name not in fresh:
                fresh[name] = "categorical" if isinstance(value, str) else "numeric"
    for name, kind in fresh.items():
        client.command(f"ALTER TABLE {predictions_table(model)} ADD COLUMN IF NOT EXISTS {column(name)} {TYPES[kind]}")
        client.command(
            "INSERT INTO oppen_features VALUES ({model:String}, {feature:String}, {kind:String}, {position:UInt32})",
            parameters={"model": model, "feature": name, "kind": kind, "position": len(known)},
        )
        known[name] = kind
    return known


def _prediction_table(rows: Sequence[PredictionRecord], kinds: dict[str, FeatureKind]) -> Any:
    import pyarrow as pa

    misfits: list[list[str]] = [[] for _ in rows]
    columns: dict[str, Any] = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "version": pa.array([row.version for row in rows], pa.string()),
        "at": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
        "entity": pa.array([row.entity for row in rows], pa.string()),
        "latency_us": pa.array([max(0, row.latency_us) for row in rows], pa.uint64()),
        "prediction": pa.array([row.prediction for row in rows], pa.string()),
        "score": pa.array([row.score for row in rows], pa.float64()),
        "error": pa.array([row.error for row in rows], pa.string()),
    }
    for name, kind in kinds.items():
        values: list[Any] = []
        for row, odd in zip(rows, misfits, strict=True):
            value = row.features.get(name)
            if value is not None and isinstance(value, str) != (kind == "categorical"):
                odd.append(name)
                value = None
            values.append(value if value is None or kind == "categorical" else float(value))
        columns[f"f_{name}"] = pa.array(values, pa.string() if kind == "categorical" else pa.float64())
    columns["misfits"] = pa.array(misfits, pa.list_(pa.string()))
    return pa.table(columns)


def _label_table(rows: Sequence[LabelRecord]) -> Any:
    import pyarrow as pa

    return pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "at": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
            "label": pa.array([row.label for row in rows], pa.string()),
        }
    )
