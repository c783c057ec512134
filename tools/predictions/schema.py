"""Tables of the prediction store, and names that are safe to put into SQL.

One table per model with a typed column per feature: a histogram over twenty features of ten million rows then reads just those
columns. The names of models and features come from outside; a table's name is a digest, a column's is quoted.

Numbers and booleans are `Nullable(Float64)`, text is `LowCardinality(Nullable(String))`. A feature's type is the one of its
first value. A later value that does not fit is stored as null, and the feature's name in the row's `misfits`: no row is lost.
"""

import hashlib
from typing import Literal

FeatureKind = Literal["numeric", "categorical"]

CATALOGUE = """
CREATE TABLE IF NOT EXISTS oppen_models (model String) ENGINE = ReplacingMergeTree ORDER BY model
"""
COLUMNS = """
CREATE TABLE IF NOT EXISTS oppen_features (model String, feature String, kind LowCardinality(String), position UInt32)
ENGINE = ReplacingMergeTree ORDER BY (model, feature)
"""
_REMEMBERED_LOADS = 10_000
"""Blocks whose tokens are kept, so that a segment loaded twice is once; at one segment a second, almost three hours."""

TYPES: dict[FeatureKind, str] = {"numeric": "Nullable(Float64)", "categorical": "LowCardinality(Nullable(String))"}


def quoted(name: str) -> str:
    """An identifier."""
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


def column(feature: str) -> str:
    """Prefixed, so that no feature can be taken for a column of ours."""
    return quoted(f"f_{feature}")


def suffix(model: str) -> str:
    return hashlib.sha256(model.encode()).hexdigest()[:24]


def predictions_table(model: str) -> str:
    return f"predictions_{suffix(model)}"


def labels_table(model: str) -> str:
    return f"labels_{suffix(model)}"


def create(model: str) -> tuple[str, str]:
    predictions = f"""
    CREATE TABLE IF NOT EXISTS {predictions_table(model)} (
        id String, version LowCardinality(String), at DateTime64(6, 'UTC'), entity String, latency_us UInt64,
        prediction LowCardinality(Nullable(String)), score Nullable(Float64), error Nullable(String),
        misfits Array(LowCardinality(String))
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (version, at)
    SETTINGS non_replicated_deduplication_window = {_REMEMBERED_LOADS}
    """
    labels = f"""
    CREATE TABLE IF NOT EXISTS {labels_table(model)} (id String, at DateTime64(6, 'UTC'), label String)
    ENGINE = ReplacingMergeTree(at) ORDER BY id
    """
    return predictions, labels
