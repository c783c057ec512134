"""A batch of a segment becomes rows, once, however often it is tried.

Every row says which batch it came from (`source`), and an insert is one part of one partition: it is there as a whole or not
at all. So whoever loads a batch first looks whether it is there, inserts it if not, and looks again. The token lets ClickHouse
drop a second insert while a first, whose client was killed, is still under way on the server. The look afterwards is for a
crash between the moment ClickHouse has noted the token and the moment the rows are there.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tools.errors import TemporaryError
from tools.predictions.catalogue import Catalogue, Feature
from tools.predictions.connection import translated
from tools.predictions.kinds import fitting, kinds
from tools.predictions.records import FeatureValue, LabelRecord, PredictionRecord, ShadowRecord, ValueRecord
from tools.predictions.schema import labels_table, predictions_table, shadows_table, values_table
from tools.predictions.segments import Batch

_MONTH = "%Y%m"


class _Timed(Protocol):
    @property
    def at(self) -> int: ...


T = TypeVar("T", bound=_Timed)


def insert(client: Any, catalogue: Catalogue, segment: Path, batch: Batch) -> None:
    for model, predictions in _by_model(batch.predictions):
        features = catalogue.admit(model, kinds(predictions))
        for rows in _by_month(predictions):
            _insert_once(
                client,
                predictions_table(model),
                f"{segment.name}:{batch.start}",
                rows,
                partial(_predictions, features=features),
            )
    for model, shadows in _by_model(batch.shadows):
        catalogue.admit(model, {})
        catalogue.admit_apart(model)
        for copies in _by_month(shadows):
            _insert_once(client, shadows_table(model), f"{segment.name}:{batch.start}", copies, _shadows)
    for model, labels in _by_model(batch.labels):
        catalogue.admit(model, {})
        for labelled in _by_month(labels):
            with translated():
                # The same label twice is one row, sooner or later: no token is needed.
                client.insert_arrow(labels_table(model), _labels(labelled))
    for model, values in _by_model(batch.values):
        catalogue.admit(model, {})
        catalogue.admit_apart(model)
        for worth in _by_month(values):
            with translated():
                client.insert_arrow(values_table(model), _values_of(worth))


def _insert_once(client: Any, table: str, source: str, rows: Sequence[T], built: Callable[[Sequence[T], str], Any]) -> None:
    """`built`: an Arrow table of the rows that come from `source`."""
    span = {"source": source, "first": min(row.at for row in rows), "last": max(row.at for row in rows)}
    query = f"""
    SELECT count() FROM {table} WHERE source = {{source:String}}
    AND at >= fromUnixTimestamp64Micro({{first:Int64}}, 'UTC') AND at <= fromUnixTimestamp64Micro({{last:Int64}}, 'UTC')
    """

    def there() -> int:
        with translated():
            return int(client.query(query, parameters=span).result_rows[0][0])

    content = None
    for token in (source, f"{source}:again"):
        if there() == len(rows):
            return
        content = content or built(rows, source)
        with translated():
            client.insert_arrow(table, content, settings={"insert_deduplicate": "1", "insert_deduplication_token": token})
    if (found := there()) != len(rows):
        raise TemporaryError(f"{source}: {found} of {len(rows)} rows are in the store")


def _by_model(records: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    models: dict[str, list[Any]] = {}
    for record in records:
        models.setdefault(record.model, []).append(record)
    yield from models.items()


def _by_month(records: list[Any]) -> Iterator[list[Any]]:
    """A month is a partition."""
    if _month(min(record.at for record in records)) == _month(max(record.at for record in records)):
        yield records
        return
    for _, group in groupby(sorted(records, key=lambda record: _month(record.at)), lambda record: _month(record.at)):
        yield list(group)


def _month(micros: int) -> str:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime(_MONTH)


def _predictions(rows: Sequence[PredictionRecord], source: str, features: Sequence[Feature]) -> Any:
    import pyarrow as pa

    misfits = _unplaced(rows, features)
    columns = {**_answers(rows, source), "entity": pa.array([row.entity for row in rows], pa.string())}
    for feature in features:
        columns[feature.column] = _values(feature, [row.features.get(feature.name) for row in rows], misfits)
    columns["misfits"] = pa.array(misfits, pa.list_(pa.string()))
    return pa.table(columns)


def _shadows(rows: Sequence[ShadowRecord], source: str) -> Any:
    import pyarrow as pa

    return pa.table(_answers(rows, source))


def _answers(rows: Sequence[PredictionRecord] | Sequence[ShadowRecord], source: str) -> dict[str, Any]:
    import pyarrow as pa

    return {
        "id": pa.array([row.id for row in rows], pa.string()),
        "version": pa.array([row.version for row in rows], pa.string()),
        "at": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
        "latency_us": pa.array([row.latency_us for row in rows], pa.uint64()),
        "cpu_us": pa.array([row.cpu_us for row in rows], pa.float64()),
        "prediction": pa.array([row.prediction for row in rows], pa.string()),
        "score": pa.array([row.score for row in rows], pa.float64()),
        "error": pa.array([row.error for row in rows], pa.string()),
        "source": pa.array([source] * len(rows), pa.string()),
    }


def _unplaced(rows: Sequence[PredictionRecord], features: Sequence[Feature]) -> list[list[str]]:
    """Features with a value for which there is no column: the model has too many."""
    columns = {feature.name for feature in features}
    return [
        [name for name, value in row.features.items() if value is not None and name not in columns]
        if not row.features.keys() <= columns
        else []
        for row in rows
    ]


def _values(feature: Feature, values: list[FeatureValue], misfits: list[list[str]]) -> Any:
    """As a column; a value of the other kind becomes null, and its feature's name is noted for the row."""
    import pyarrow as pa

    kind = pa.string() if feature.kind == "categorical" else pa.float64()
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        stored = [fitting(value, feature.kind) for value in values]
        for value, kept, odd in zip(values, stored, misfits, strict=True):
            if kept is None and value is not None:
                odd.append(feature.name)
        return pa.array(stored, kind)


def _labels(rows: Sequence[LabelRecord]) -> Any:
    import pyarrow as pa

    return pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "at": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
            "label": pa.array([row.label for row in rows], pa.string()),
        }
    )


def _values_of(rows: Sequence[ValueRecord]) -> Any:
    import pyarrow as pa

    return pa.table(
        {
            "id": pa.array([row.id for row in rows], pa.string()),
            "name": pa.array([row.name for row in rows], pa.string()),
            "at": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
            "value": pa.array([row.value for row in rows], pa.float64()),
        }
    )
