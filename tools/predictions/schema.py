"""Tables of the prediction store, and names that are safe to put into SQL.

One table per model with a typed column per feature: a histogram over twenty features of ten million rows then reads just those
columns. The names of models and features come from outside, so they are values of the catalogue; into SQL goes what is made of
them here: a plain name as it is, behind a prefix, and any other as its digest.
"""

import hashlib
import re

from tools.predictions.kinds import FeatureKind

CATALOGUE = (
    """
    CREATE TABLE IF NOT EXISTS oppen_model_tables (model String, predictions String, labels String)
    ENGINE = ReplacingMergeTree ORDER BY model
    """,
    """
    CREATE TABLE IF NOT EXISTS oppen_feature_columns
        (model String, feature String, kind LowCardinality(String), column String, position UInt32)
    ENGINE = ReplacingMergeTree ORDER BY (model, feature)
    """,
)

TYPES: dict[FeatureKind, str] = {"numeric": "Nullable(Float64)", "categorical": "LowCardinality(Nullable(String))"}
ADDED = ("cpu_us Nullable(Float64)",)
"""Columns of predictions that older tables lack."""
_PREFIXES: dict[FeatureKind, str] = {"numeric": "n", "categorical": "c"}

COST_DIGITS, COST_SCALE = 38, 15
"""Of a sum of money: exact for prices of nine decimals for a million tokens."""

_TOKENS = 1_000
"""Inserts that a table remembers by their token. They guard against a repetition while the first try is still under way; what
was loaded longer ago is found by its `source`."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")


def column(feature: str, kind: FeatureKind) -> str:
    """Prefixed, so that no feature can be taken for a column of ours, nor a digest for the name of another feature."""
    prefix = _PREFIXES[kind]
    return f"{prefix}_{feature}" if _PLAIN.fullmatch(feature) else f"{prefix}x_{_digest(feature)}"


def predictions_table(model: str) -> str:
    return f"predictions_{_name(model)}"


def labels_table(model: str) -> str:
    return f"labels_{_name(model)}"


def usage_table(model: str) -> str:
    return f"usage_{_name(model)}"


def create_usage(model: str) -> str:
    """Of a language model; another has no such table. A table of its own, so that those of before stay as they are."""
    return f"""
    CREATE TABLE IF NOT EXISTS {usage_table(model)} (
        id String, version LowCardinality(String), at DateTime64(6, 'UTC'), prompt_tokens Nullable(UInt32),
        completion_tokens Nullable(UInt32), first_token_us Nullable(UInt64), finish LowCardinality(Nullable(String)),
        cost Nullable(Decimal({COST_DIGITS}, {COST_SCALE})), currency LowCardinality(Nullable(String)),
        source LowCardinality(String)
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (version, at)
    SETTINGS non_replicated_deduplication_window = {_TOKENS}, fsync_after_insert = 1, fsync_part_directory = 1
    """


def shadows_table(model: str) -> str:
    return f"shadows_{_name(model)}"


def values_table(model: str) -> str:
    return f"values_{_name(model)}"


def tables_of(model: str) -> tuple[str, ...]:
    """All that it has or may have."""
    kinds = predictions_table, labels_table, usage_table, shadows_table, values_table
    return tuple(kind(model) for kind in kinds)


def create(model: str) -> tuple[str, str]:
    """Every insert is on disk before it is answered: the segment it came from is deleted next."""
    predictions = f"""
    CREATE TABLE IF NOT EXISTS {predictions_table(model)} (
        id String, version LowCardinality(String), at DateTime64(6, 'UTC'), entity String, latency_us UInt64,
        prediction LowCardinality(Nullable(String)), score Nullable(Float64), error Nullable(String),
        misfits Array(LowCardinality(String)), source LowCardinality(String), {", ".join(ADDED)}
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (version, at)
    SETTINGS non_replicated_deduplication_window = {_TOKENS}, fsync_after_insert = 1, fsync_part_directory = 1
    """
    labels = f"""
    CREATE TABLE IF NOT EXISTS {labels_table(model)} (id String, at DateTime64(6, 'UTC'), label String)
    ENGINE = ReplacingMergeTree(at) PARTITION BY toYYYYMM(at) ORDER BY id
    SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
    """
    return predictions, labels


def extend(model: str) -> str:
    """The columns that have come since tables were first made; repeating it changes nothing."""
    return f"ALTER TABLE {predictions_table(model)} {', '.join(f'ADD COLUMN IF NOT EXISTS {each}' for each in ADDED)}"


def apart(model: str) -> tuple[str, str]:
    """Tables that are made when there is something for them: answers of shadows, and what predictions were worth.

    They are tables of their own so that what nobody was served is in no count of traffic, whoever counts.
    """
    shadows = f"""
    CREATE TABLE IF NOT EXISTS {shadows_table(model)} (
        id String, version LowCardinality(String), at DateTime64(6, 'UTC'), latency_us UInt64, cpu_us Nullable(Float64),
        prediction LowCardinality(Nullable(String)), score Nullable(Float64), error Nullable(String),
        source LowCardinality(String)
    ) ENGINE = MergeTree PARTITION BY toYYYYMM(at) ORDER BY (version, at)
    SETTINGS non_replicated_deduplication_window = {_TOKENS}, fsync_after_insert = 1, fsync_part_directory = 1
    """
    values = f"""
    CREATE TABLE IF NOT EXISTS {values_table(model)} (
        id String, name LowCardinality(String), at DateTime64(6, 'UTC'), value Float64
    ) ENGINE = ReplacingMergeTree(at) PARTITION BY toYYYYMM(at) ORDER BY (name, id)
    SETTINGS fsync_after_insert = 1, fsync_part_directory = 1
    """
    return shadows, values


def _name(model: str) -> str:
    """Readable, and by its digest another for every model."""
    readable = re.sub(r"[^a-z0-9]+", "_", model.lower()).strip("_")[:24]
    return f"{readable}_{_digest(model)}" if readable else _digest(model)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:24]
