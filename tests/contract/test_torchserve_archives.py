"""What goes to TorchServe: the archive, and the handler in it, which speaks as the gateway does."""

import ast
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.features import FeatureEncoder
from gateway.protocol import Tensor
from tests.gateway.model_files import SPEC, write_onnx, write_pickle, write_pt2
from tools.errors import PermanentError
from tools.inference.engines import tensors
from tools.registry.port import ArtifactFormat, ModelFiles
from tools.registry.serving_spec import CategoricalFeature, NumericFeature, ServingSpec
from tools.serving import torchserve_handler
from tools.serving.archives import archive, is_archive_of, remove_archives, write_archive
from tools.serving.torchserve_handler import CATEGORICAL, NUMERIC, columns_to_tensors, pack, unpack


def files(folder: Path, kind: ArtifactFormat = "pt2", *, model: str = "late", version: str = "1") -> ModelFiles:
    return ModelFiles(model=model, version=version, folder=folder, format=kind)


@pytest.fixture(scope="module")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pt2(tmp_path_factory.mktemp("pt2") / "1")


def test_the_same_version_is_the_same_archive(pt2: Path, tmp_path: Path) -> None:
    assert archive(files(pt2)) == archive(files(pt2))
    store = tmp_path / "store"
    store.mkdir()
    name = write_archive(files(pt2), store)
    written = (store / name).stat().st_mtime_ns
    assert write_archive(files(pt2), store) == name
    assert (store / name).stat().st_mtime_ns == written
    assert [path.name for path in store.iterdir()] == [name]


def test_an_archive_holds_the_model_its_spec_our_handler_and_nothing_else(pt2: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / write_archive(files(pt2), tmp_path)) as made:
        assert sorted(made.namelist()) == ["MAR-INF/MANIFEST.json", "model.pt2", "oppen_handler.py", "serving.json"]
        manifest = json.loads(made.read("MAR-INF/MANIFEST.json"))
        assert (manifest["model"]["modelName"], manifest["model"]["modelVersion"]) == ("late", "1")
        assert made.read("oppen_handler.py") == Path(torchserve_handler.__file__).read_bytes()
        assert ServingSpec.model_validate_json(made.read("serving.json")) == SPEC
        made.extract("model.pt2", tmp_path)
    with zipfile.ZipFile(tmp_path / "model.pt2") as model:
        # torch pickles the example of a call into it; ours is made anew without.
        assert [model.read(name) for name in model.namelist() if name.endswith(".pt")] == [b""]


def test_an_onnx_file_goes_as_it_is(tmp_path: Path) -> None:
    folder = write_onnx(tmp_path / "4")
    with zipfile.ZipFile(tmp_path / write_archive(files(folder, "onnx"), tmp_path)) as made:
        assert made.read("model.onnx") == (folder / "model.onnx").read_bytes()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="never a pickle"):
        archive(files(write_pickle(tmp_path / "1"), "pickle"))
    (tmp_path / "2").mkdir()
    with pytest.raises(PermanentError, match="0 files"):
        archive(files(tmp_path / "2"))
    (tmp_path / "2" / "model.pt2").write_bytes(b"no archive")
    with pytest.raises(PermanentError, match="no pt2 archive"):
        archive(files(tmp_path / "2"))


@pytest.mark.parametrize("name", ["", "a b", "../late", "-late", "spät", "a/b", "late-"])
def test_a_name_that_torchserve_cannot_take_is_refused(pt2: Path, name: str) -> None:
    with pytest.raises(PermanentError, match="letters, digits"):
        archive(files(pt2, model=name))
    with pytest.raises(PermanentError, match="letters, digits"):
        archive(files(pt2, version=name))


def test_a_folder_that_cannot_be_written_is_named(pt2: Path, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="nowhere"):
        write_archive(files(pt2), tmp_path / "nowhere")


def test_archives_of_other_versions_stay(pt2: Path, tmp_path: Path) -> None:
    names = {version: write_archive(files(pt2, version=version), tmp_path) for version in ("1", "11")}
    (tmp_path / "late--1--by-hand.mar").write_text("")
    remove_archives("late", "1", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["late--1--by-hand.mar", names["11"]]
    assert is_archive_of("late", "1", names["1"])
    assert not is_archive_of("late", "1", names["11"])


def test_the_handler_needs_nothing_of_ours() -> None:
    tree = ast.parse(Path(torchserve_handler.__file__).read_text())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported - sys.stdlib_module_names == {"numpy", "torch", "onnxruntime"}


FEATURES = (
    NumericFeature(name="distance"),
    CategoricalFeature(name="carrier", categories=("AA", "null", "true", "7")),
    NumericFeature(name="wind"),
    CategoricalFeature(name="day", categories=("1", "7")),
)
ROWS = st.lists(
    st.tuples(
        st.none() | st.floats(-1e30, 1e30, allow_subnormal=False) | st.integers(-1000, 1000),
        st.none() | st.sampled_from(["AA", "null", "true", "7", "other", ""]),
        st.none() | st.floats(-1e3, 1e3, allow_subnormal=False),
        st.none() | st.integers(0, 9),
    ),
    min_size=1,
    max_size=5,
)


@given(rows=ROWS)
def test_columns_mean_to_the_handler_what_they_mean_to_the_gateway(rows: list[tuple[Any, ...]]) -> None:
    spec = ServingSpec(features=FEATURES, task="regression")
    kinds = ("FP64", "BYTES", "FP64", "INT64")
    columns = [
        {"name": feature.name, "datatype": kind, "shape": [len(rows)], "data": list(cells)}
        for feature, kind, cells in zip(FEATURES, kinds, zip(*rows, strict=True), strict=True)
    ]
    sent = [Tensor(c["name"], c["shape"], c["datatype"], c["data"]) for c in columns]
    encoded = FeatureEncoder(spec).encode(sent, len(rows))
    numeric, categorical = tensors(encoded.numeric, encoded.categorical, len(rows))
    there = columns_to_tensors(columns, json.loads(spec.model_dump_json()))
    np.testing.assert_array_equal(there[NUMERIC], numeric)
    np.testing.assert_array_equal(there[CATEGORICAL], categorical)


def test_columns_that_do_not_fit_are_named() -> None:
    spec = json.loads(SPEC.model_dump_json())
    with pytest.raises(ValueError, match="wind"):
        columns_to_tensors([{"name": "distance", "data": [1]}, {"name": "carrier", "data": ["AA"]}], spec)


@given(rows=st.integers(0, 4), width=st.integers(1, 3), kind=st.sampled_from(["<f4", "<f8", "<i8"]))
def test_what_is_packed_is_unpacked(rows: int, width: int, kind: str) -> None:
    sent = {"a": np.arange(rows * width).reshape(rows, width).astype(kind).T.copy().T, "b": np.full(rows, np.nan, "<f4")}
    body, length = pack("inputs", sent)
    found = unpack("inputs", body, length)
    assert found.keys() == sent.keys()
    for name, array in sent.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(("body", "length"), [(b"", 0), (b"{}", 2), (b'{"inputs": [{}]}', 16), (b"\xff", 1)])
def test_a_body_that_is_no_tensors_says_so(body: bytes, length: int) -> None:
    with pytest.raises(ValueError, match="no binary tensors"):
        unpack("inputs", body, length)
