"""Formats: what is loaded, and what is not."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.gateway.model_files import SPEC, Linear, write_fixed_pt2, write_pickle
from tools.inference.archives import UnsafeModel, cleaned
from tools.inference.engines import Unservable, load, warm
from tools.registry.port import ArtifactFormat, ModelFiles
from tools.registry.serving_spec import FILE

ROWS = (np.array([[2.0, 1.0], [-1.0, np.nan]], dtype=np.float32), np.array([[1], [0]], dtype=np.int64))


def files(folder: Path, kind: ArtifactFormat) -> ModelFiles:
    return ModelFiles(model="late", version="1", folder=folder, format=kind)


def test_a_pt2_file_computes_what_its_module_does(model_root: Path) -> None:
    engine = load(files(model_root / "late" / "3", "pt2"), allow_pickle=())
    with torch.inference_mode():
        expected = Linear(3.0, 0.0)(*map(torch.from_numpy, ROWS))
    np.testing.assert_allclose(engine(*ROWS), expected.numpy(), rtol=1e-6)


def test_an_onnx_file_is_served(model_root: Path) -> None:
    engine = load(files(model_root / "late" / "4", "onnx"), allow_pickle=())
    np.testing.assert_allclose(engine(ROWS[0][:1], ROWS[1][:1]), [[8.0]])


def test_a_pickle_is_refused_unless_policy_names_the_model(tmp_path: Path) -> None:
    found = files(write_pickle(tmp_path / "1"), "pickle")
    for allowed in ((), ("another",)):
        with pytest.raises(Unservable, match="pickle"):
            load(found, allow_pickle=allowed)
    engine = load(found, allow_pickle=("late",))
    assert engine(*ROWS)[0] == pytest.approx(2.002)


def test_a_file_that_is_no_model_says_so(tmp_path: Path) -> None:
    for kind, name in (("pt2", "model.pt2"), ("onnx", "model.onnx"), ("pickle", "model.pth")):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / name).write_bytes(b"no model at all")
        with pytest.raises(Unservable, match=name):
            load(files(folder, kind), allow_pickle=("late",))  # type: ignore[arg-type]
        (folder / name).unlink()
        with pytest.raises(Unservable, match="0 files"):
            load(files(folder, kind), allow_pickle=("late",))  # type: ignore[arg-type]


def test_a_program_for_a_fixed_number_of_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unservable, match="dynamic batch dimension"):
        load(files(write_fixed_pt2(tmp_path / "1"), "pt2"), allow_pickle=())


def test_a_model_that_does_not_fit_its_spec_is_refused_while_warming(model_root: Path) -> None:
    engine = load(files(model_root / "late" / "1", "pt2"), allow_pickle=())
    fewer = SPEC.model_copy(update={"features": SPEC.features[:2]})
    with pytest.raises(Unservable, match="cannot compute"):
        warm(engine, fewer, [1, 2, 4], "late 1")


def test_a_model_whose_rows_change_each_other_is_refused() -> None:
    def mean(numeric: Any, categorical: Any) -> Any:
        return numeric[:, 0] - numeric[:, 0].mean()

    with pytest.raises(Unservable, match="cannot be batched"):
        warm(mean, SPEC, [1, 2, 4], "late 1")


class Marked:
    """Unpickling it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def rewritten(source: Path, target: Path, name: str, change: Callable[[bytes], bytes] | bytes) -> Path:
    """The archive with one file changed or added."""
    with zipfile.ZipFile(source) as before, zipfile.ZipFile(target, "w") as after:
        top = before.namelist()[0].split("/")[0]
        for entry in before.namelist():
            content = before.read(entry)
            if entry == f"{top}/{name}" and callable(change):
                content = change(content)
            if entry != f"{top}/{name}" or callable(change):
                after.writestr(entry, content)
        if not callable(change):
            after.writestr(f"{top}/{name}", change)
    return target


def edited(edit: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        program = json.loads(content)
        edit(program)
        return json.dumps(program).encode()

    return change


def first_node(program: Any) -> Any:
    return program["graph_module"]["graph"]["nodes"][0]


def first_expression(value: Any) -> Any:
    """The first dict that holds an `expr_str`."""
    if isinstance(value, dict):
        if "expr_str" in value:
            return value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            if found := first_expression(inner):
                return found
    return None


MODEL, WEIGHTS, CONSTANTS = (
    "models/model.json",
    "data/weights/model_weights_config.json",
    "data/constants/model_constants_config.json",
)


@pytest.mark.parametrize(
    "edit",
    [
        lambda p: first_node(p).update(target="torch.os.system"),
        lambda p: first_node(p).update(target="torch.load"),
        lambda p: first_node(p).update(target="torch.ops.aten.from_file.default"),
        lambda p: first_node(p).update(target="torch.ops.aten.add.__globals__"),
        lambda p: first_node(p).update(target="_operator.call"),
        lambda p: first_node(p).update(target="#anything"),
        lambda p: first_node(p).update(name="x = __import__('os')"),
        lambda p: first_node(p)["inputs"][0].update(name="a(b)"),
        lambda p: first_expression(p).update(expr_str="__import__('os').getcwd()"),
        lambda p: first_expression(p).update(expr_str="Symbol('s0').__class__"),
        lambda p: first_expression(p).update(expr_str="9**9**9**9"),
        lambda p: p["graph_module"]["module_call_graph"][0].update(fqn='a"), os.system("b'),
    ],
)
def test_a_program_that_could_run_code_is_refused(model_root: Path, tmp_path: Path, edit: Callable[[Any], Any]) -> None:
    source = model_root / "late" / "1" / "model.pt2"
    with pytest.raises(UnsafeModel):
        cleaned(rewritten(source, tmp_path / "model.pt2", MODEL, edited(edit)))


def test_pickles_inside_an_archive_are_refused_or_left_out(model_root: Path, tmp_path: Path) -> None:
    source = model_root / "late" / "1" / "model.pt2"
    mark = tmp_path / "mark"
    buffer = io.BytesIO()
    torch.save(Marked(mark), buffer)
    bomb = buffer.getvalue()
    folder = tmp_path / "samples"
    folder.mkdir()
    rewritten(source, folder / "model.pt2", "data/sample_inputs/model.pt", bomb)
    (folder / FILE).write_text(SPEC.model_dump_json())
    assert load(files(folder, "pt2"), allow_pickle=())(*ROWS)[0] == pytest.approx(2.002)
    assert not mark.exists()

    for name in ("data/weights/model.pt", "data/constants/model.pt", "data/constants/opaque_obj_0", "models/second.json"):
        with pytest.raises(UnsafeModel):
            cleaned(rewritten(source, tmp_path / "a.pt2", name, pickle.dumps(Marked(mark))))

    def pickled(config: Any) -> None:
        next(iter(config["config"].values())).update(use_pickle=True)

    with pytest.raises(UnsafeModel, match="pickled"):
        cleaned(rewritten(source, tmp_path / "b.pt2", WEIGHTS, edited(pickled)))

    def opaque(config: Any) -> None:
        config["config"]["x"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False, "tensor_meta": None}

    with pytest.raises(UnsafeModel, match="pickled"):
        cleaned(rewritten(source, tmp_path / "c.pt2", CONSTANTS, edited(opaque)))


def test_guards_are_source_code_and_do_not_reach_the_loader(model_root: Path, tmp_path: Path) -> None:
    source = model_root / "late" / "1" / "model.pt2"
    changed = rewritten(
        source, tmp_path / "model.pt2", MODEL, edited(lambda p: p.update(guards_code=["__import__('os').abort()"]))
    )
    with zipfile.ZipFile(cleaned(changed)) as archive:
        program = json.loads(archive.read(f"model/{MODEL}"))
    assert program["guards_code"] == []
    assert "stack_trace" not in json.dumps(program)


def test_the_real_networks_of_the_product_pass(tmp_path: Path) -> None:
    """Embeddings, normalisation, `no_grad`, shape arithmetic: what training code exports."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(5, 4)
            self.register_buffer("mean", torch.zeros(3))
            self.layers = torch.nn.Sequential(
                torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 8), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(8, 4)
            )

        def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                known = torch.nan_to_num(numeric - self.mean)
            hidden = self.layers(torch.cat([known, self.embedding(categorical).flatten(1)], dim=1))
            pairs = hidden.view(numeric.shape[0], 2, 2)
            return torch.einsum("bij,bjk->bik", pairs, pairs).flatten(1).sum(dim=1)

    network = Network().eval()
    batch = torch.export.Dim("batch", min=1, max=1024)
    example = (torch.zeros(4, 3), torch.zeros(4, 1, dtype=torch.int64))
    torch.export.save(torch.export.export(network, example, dynamic_shapes=({0: batch}, {0: batch})), tmp_path / "model.pt2")
    rows = (np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32), np.array([[0], [1], [2], [3], [4]]))
    engine = load(files(tmp_path, "pt2"), allow_pickle=())
    with torch.inference_mode():
        expected = network(*map(torch.from_numpy, rows)).numpy()
    np.testing.assert_allclose(engine(*rows), expected, rtol=1e-5, atol=1e-6)
