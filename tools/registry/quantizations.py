"""What an INT8 version is worth beside the version that it was made of: measured by a job of the platform's own, signed by it,
read by whoever decides (`signing.py`, docs/adr/0008).

Three forms of the same weights are measured in turn: `original`, as it is registered and served; `converted`, in FP32 on ONNX
Runtime; `quantized`, in INT8 on ONNX Runtime. What converting alone brings is no merit of INT8, so the two are told apart.
"""

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tools.jobs.prices import Prices
from tools.registry.evaluations import Count, Facts, Finite, Name
from tools.values import Frozen, Instant, Window

FOLDER = "quantizations"
INT8_FOLDER = "int8"
LEAST_ROUNDS = 5
"""Of fewer a spread says nothing."""

Recipe = Literal["static", "dynamic"]
"""`static`: the ranges of activations are fixed, from calibration rows. `dynamic`: they are found in each batch anew."""
Form = Literal["original", "converted", "quantized"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

_MS_OF_AN_HOUR = Decimal(3_600_000)
_PLACES = Decimal("0.000000001")


class Timing(Frozen):
    """Processor time of one batch in one thread, as the gateway meters it: from features to answers. In ms."""

    p50_ms: Positive
    """Median over the rounds, as p99 is: a moment in which the machine did something else spoils one of them. What a prediction
    costs is reckoned from it: the mean of a job's calls tells how often the machine took the processor away."""
    p99_ms: Positive
    p50s_ms: tuple[Positive, ...]
    """p50 of each round's calls."""
    p99s_ms: tuple[Positive, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if len(self.p50s_ms) != len(self.p99s_ms) or len(self.p50s_ms) < LEAST_ROUNDS:
            raise ValueError(f"rounds: as many p50s as p99s are needed, and {LEAST_ROUNDS} at least")
        return self


class Batch(Frozen):
    """One batch size. In each round the forms take turns: what the machine does meanwhile hits all alike."""

    rows: Annotated[int, Field(ge=1)]
    original: Timing
    converted: Timing
    quantized: Timing

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len({len(self.of(form).p50s_ms) for form in ("original", "converted", "quantized")}) > 1:
            raise ValueError("rounds: each form takes part in every round")
        return self

    def of(self, form: Form) -> Timing:
        found: Timing = getattr(self, form)
        return found


class Tried(Frozen):
    """One way to make it."""

    recipe: Recipe
    bytes: Count
    refused: Annotated[str, Field(max_length=500)] = ""
    """Why the gateway would not serve it; empty: it would."""
    agreement: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the calibration rows that it answers as the original does; None of a regression."""
    apart: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Mean absolute difference of its scores from the original's there."""


class Quantization(Frozen):
    """Of one version, as it was measured. `facts` has the INT8 form as the candidate and the original as the champion."""

    model: Name
    version: Name
    """What it was made of."""
    recipe: Recipe
    tried: tuple[Tried, ...]
    held_out: Window | None
    recent: Window | None
    facts: Facts
    original_bytes: Count
    converted_bytes: Count
    quantized_bytes: Count
    batches: Annotated[tuple[Batch, ...], Field(min_length=1)]
    calibration_rows: Count
    """Of the held-out rows, by which the ranges were found; they are not among those that `facts` speaks of."""
    seed: int = 0
    load_average: Finite = 0.0
    """Of the machine in the last minute, when it was measured."""
    built_with: dict[str, str] = Field(default_factory=dict)
    """Library -> version; the processor's name."""
    measured_at: Instant
    asked_at: Instant
    """By the platform's clock."""
    job: Annotated[str, Field(min_length=1, max_length=100)]
    artefact: Annotated[str, Field(min_length=1, max_length=64)]
    """SHA-256 of the INT8 version's files (`tools.registry.signing.digest`): with the same libraries, the same for the same
    version, rows and seed."""
    original_artefact: Annotated[str, Field(min_length=1, max_length=64)]
    kept_in: Annotated[str, Field(max_length=64)] = ""
    """The run among whose artifacts the INT8 files are, in `INT8_FOLDER`."""
    produced: Annotated[str, Field(max_length=200)] = ""
    """The INT8 version in the registry; empty: it was measured and not registered."""

    @model_validator(mode="after")
    def _once(self) -> Self:
        sizes = [batch.rows for batch in self.batches]
        if len(set(sizes)) < len(sizes):
            raise ValueError("batches: each size once")
        return self

    def batch(self, rows: int) -> Batch | None:
        return next((batch for batch in self.batches if batch.rows == rows), None)


def per_thousand(batch_ms: float, rows: int, prices: Prices) -> Decimal:
    """What 1,000 predictions cost in batches of so many rows, for the processor's time alone."""
    per_batch = Decimal(repr(batch_ms)) / _MS_OF_AN_HOUR * prices.cpu_hour
    return (per_batch * 1000 / rows).quantize(_PLACES, ROUND_HALF_UP)


def quantized_artifact(version: str) -> str:
    """Where the job leaves what it measured, among the artifacts of the run that made the original version."""
    return f"{FOLDER}/signed-{version}.json"
