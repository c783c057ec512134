"""The Open Inference Protocol v2 as types, and the bodies of feedback and admin calls.

msgspec checks the form while it decodes, at a tenth of what pydantic costs on this path, and names the place of a mistake.
"""

from typing import Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.refusals import Refused

Cell = float | int | str | bool | None
Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]


class Tensor(Struct, gc=False):
    """One feature: shape `[n]`, or `[n, 1]` with flat or nested data; null is a missing value."""

    name: str
    shape: list[int]
    datatype: Datatype
    data: list[Cell | list[Cell]]


class RequestParameters(Struct, gc=False):
    entity_id: str | list[str] | None = None
    """Whom the rows are about: one for all, or one per row. Decides which version answers."""


class RequestedOutput(Struct):
    name: str


class InferRequest(Struct, gc=False):
    inputs: list[Tensor]
    id: str | None = None
    parameters: RequestParameters | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(Struct, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[str] | list[float]


class AnswerParameters(Struct, omit_defaults=True, gc=False):
    prediction_ids: list[str]
    model_versions: list[str] | None = None
    """One per row, where the rows were served by more than one version."""


class InferAnswer(Struct, omit_defaults=True, gc=False):
    model_name: str
    id: str
    parameters: AnswerParameters
    outputs: list[OutputTensor]
    model_version: str | None = None


class Label(Struct):
    id: str
    label: str | float | int | bool | UnsetType = UNSET
    """The true class, or the true value; left out, it has not come yet."""
    metrics: dict[str, float] = {}
    """What the prediction was worth, by the names of the business's own measures: `{"revenue": 12.3}`."""


class Feedback(Struct):
    labels: list[Label]


class RouteChange(Struct, forbid_unknown_fields=True):
    weights: dict[str, int]
    expected_generation: int
    key: str
    shadow: dict[str, int] = {}
    """A version that gets copies of so many percent of the requests, and whose answers are discarded."""
    salt: str | None = None
    """Of the hash that assigns entities to versions; None keeps what there is."""


class ScaleChange(Struct, forbid_unknown_fields=True):
    workers: int
    expected_workers: int
    key: str


class BatchingChange(Struct, forbid_unknown_fields=True):
    rows: int
    wait_ms: float
    expected_generation: int
    key: str


T = TypeVar("T")

_INFER = msgspec.json.Decoder(InferRequest)


def decode_infer(body: bytes) -> InferRequest:
    try:
        return _INFER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the body is no inference request: {error}") from error


def decode(body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(f"the body is no {form.__name__}: {error}") from error
