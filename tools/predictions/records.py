"""What the gateway writes and the prediction store loads: newline-delimited JSON in local segment files.

A segment is appended to as `*.open` and renamed to `*.ndjson` when it is complete; only complete ones are loaded. A line that
was cut off by a crash has no newline and is dropped by whoever completes the segment afterwards. One segment holds one kind.
Times are microseconds since the epoch (UTC).
"""

from msgspec import Struct

FeatureValue = float | int | str | bool | None


class PredictionRecord(Struct, frozen=True, tag_field="kind", tag="prediction"):
    id: str
    model: str
    version: str
    at: int
    entity: str
    latency_us: int
    features: dict[str, FeatureValue]
    prediction: str | None = None
    """The predicted class (binary, multiclass) or None (regression, error)."""
    score: float | None = None
    """Probability of the positive class (binary), of the predicted class (multiclass), or the value (regression)."""
    error: str | None = None
    cpu_us: float | None = None
    """Processor time of its row in its batch, in microseconds; None where that is not known."""


class ShadowRecord(Struct, frozen=True, tag_field="kind", tag="shadow"):
    """How a version that got a copy of a request would have answered it. Never served, so never counted as traffic: it is kept
    apart from predictions all the way."""

    id: str
    """The prediction's that was served; its label is for both."""
    model: str
    version: str
    at: int
    """The prediction's."""
    latency_us: int
    """What the request would have taken with it."""
    cpu_us: float | None = None
    prediction: str | None = None
    score: float | None = None
    error: str | None = None


class LabelRecord(Struct, frozen=True, tag_field="kind", tag="label"):
    id: str
    """The prediction's id."""
    model: str
    at: int
    label: str
    """The true class, or the true value as a decimal."""


class ValueRecord(Struct, frozen=True, tag_field="kind", tag="value"):
    """What a prediction was worth, in one of the business's own measures."""

    id: str
    """The prediction's."""
    model: str
    at: int
    name: str
    value: float


Record = PredictionRecord | LabelRecord | ShadowRecord | ValueRecord
