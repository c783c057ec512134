"""A job that encodes a table has to make of it what the gateway makes of the same rows one by one."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.features import FeatureEncoder
from gateway.protocol import Tensor
from tools.errors import PermanentError
from tools.inference.engines import tensors
from tools.inference.outputs import decode
from tools.inference.tables import answer, encode
from tools.registry.serving_spec import CategoricalFeature, Feature, NumericFeature, ServingSpec

FEATURES: tuple[Feature, ...] = (
    NumericFeature(name="distance"),
    CategoricalFeature(name="carrier", categories=("AA", "UA")),
    NumericFeature(name="seats"),
    CategoricalFeature(name="gate", categories=("1", "7")),
    CategoricalFeature(name="night", categories=("true",)),
)
SPEC = ServingSpec(features=FEATURES, task="binary", classes=("no", "yes"))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "distance": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
            "carrier": st.none() | st.sampled_from(["AA", "UA", "", "aa", "É"]),
            "seats": st.none() | st.integers(-(2**31), 2**31),
            "gate": st.none() | st.integers(0, 9),
            "night": st.none() | st.booleans(),
        }
    ),
    min_size=1,
    max_size=20,
)
TYPES = {
    "distance": (pa.float32(), "FP32"),
    "carrier": (pa.string(), "BYTES"),
    "seats": (pa.int64(), "INT64"),
    "gate": (pa.int16(), "INT16"),
    "night": (pa.bool_(), "BOOL"),
}


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.table({name: pa.array([row[name] for row in rows], kind) for name, (kind, _) in TYPES.items()})


def as_gateway(rows: list[dict[str, Any]]) -> list[np.ndarray]:
    inputs = [
        Tensor(name=name, datatype=datatype, shape=[len(rows)], data=[row[name] for row in rows])  # type: ignore[arg-type]
        for name, (_, datatype) in TYPES.items()
    ]
    encoded = FeatureEncoder(SPEC).encode(inputs, len(rows))
    return tensors(encoded.numeric, encoded.categorical, len(rows))


@settings(deadline=None)
@given(rows=ROWS)
def test_a_table_is_encoded_as_the_gateway_encodes_the_same_rows(rows: list[dict[str, Any]]) -> None:
    for ours, theirs in zip(encode(as_table(rows), SPEC), as_gateway(rows), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_a_dictionary_column_in_several_pieces_is_encoded_as_plain_text_is() -> None:
    carriers = ["UA", None, "AA", "ZZ"]
    pieces = pa.chunked_array([pa.array(carriers[:1]).dictionary_encode(), pa.array(carriers[1:]).dictionary_encode()])
    rows = [{"distance": 1.0, "carrier": each, "seats": 1, "gate": 1, "night": True} for each in carriers]
    table = as_table(rows)
    _, plain = encode(table, SPEC)
    _, encoded = encode(table.set_column(1, "carrier", pieces), SPEC)
    np.testing.assert_array_equal(encoded, plain)
    assert plain[:, 0].tolist() == [2, 0, 1, 0]


def test_a_column_that_is_missing_or_of_another_kind_is_named() -> None:
    table = as_table([{"distance": 1.0, "carrier": "AA", "seats": 1, "gate": 1, "night": True}])
    with pytest.raises(PermanentError, match="seats: the table has no such column"):
        encode(table.drop_columns("seats"), SPEC)
    with pytest.raises(PermanentError, match="distance: string is no column of numbers"):
        encode(table.set_column(0, "distance", pa.array(["far"])), SPEC)


@pytest.mark.parametrize(
    ("task", "classes", "wide"), [("binary", ("no", "yes"), 0), ("multiclass", ("a", "b", "c"), 3), ("regression", (), 0)]
)
def test_answers_are_those_of_the_gateway(task: Any, classes: tuple[str, ...], wide: int) -> None:
    spec = ServingSpec(features=FEATURES, task=task, classes=classes, threshold=0.3)
    logits = np.random.default_rng(7).normal(scale=20, size=(9_000, wide) if wide else 9_000).astype(np.float32)
    logits[3] = math.nan
    place = iter([0, 4096, 8192])

    def engine(*arrays: np.ndarray) -> np.ndarray:
        start = next(place)
        return logits[start : start + len(arrays[0])]

    found = answer(engine, spec, [np.zeros((9_000, 2), np.float32), np.zeros((9_000, 3), np.int64)])
    wanted = decode(spec, logits, 9_000)
    np.testing.assert_allclose(found.scores, wanted.scores)
    if wanted.predictions is not None:
        assert found.predictions.tolist() == wanted.predictions
