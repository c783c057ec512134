"""Small real models for the gateway's tests: exported torch programs, ONNX graphs and a pickle.

All take what `SPEC` says, and answer with a logit of `distance * slope + bias`, which tells versions apart.
"""

import json
from pathlib import Path
from typing import Any

import torch

from tools.registry.serving_spec import FILE, CategoricalFeature, Feature, NumericFeature, ServingSpec

FEATURES: tuple[Feature, ...] = (
    NumericFeature(name="distance"),
    NumericFeature(name="wind"),
    CategoricalFeature(name="carrier", categories=("AA", "UA")),
)
SPEC = ServingSpec(features=FEATURES, task="binary", classes=("on_time", "late"))
MULTICLASS = ServingSpec(features=FEATURES, task="multiclass", classes=("a", "b", "c"))
REGRESSION = ServingSpec(features=FEATURES, task="regression")


class Linear(torch.nn.Module):
    """A missing wind counts as 0, a missing distance makes the output NaN. A `wind` above 1000 makes it raise."""

    def __init__(self, slope: float, bias: float, outputs: int = 1) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.full((1,), slope))
        self.bias = torch.nn.Parameter(torch.arange(outputs, dtype=torch.float32) + bias)
        self.carriers = torch.nn.Embedding.from_pretrained(torch.tensor([[0.0], [1.0], [2.0]]))
        self.outputs = outputs

    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        wind = torch.nan_to_num(numeric[:, 1:2])
        # An index past the table raises: a failure inside the model, by its input.
        wind = wind + self.carriers((wind[:, 0] > 1000).long() * 7) * 0
        logit = numeric[:, :1] * self.slope + self.bias + 0.001 * (wind + self.carriers(categorical[:, 0]))
        return logit if self.outputs > 1 else logit[:, 0]


def write_pt2(folder: Path, slope: float = 1.0, bias: float = 0.0, spec: ServingSpec = SPEC) -> Path:
    """A version's folder with `model.pt2` and `serving.json`."""
    module = Linear(slope, bias, outputs=max(1, len(spec.classes)) if spec.task == "multiclass" else 1).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.zeros(4, 2), torch.zeros(4, 1, dtype=torch.int64))
    program = torch.export.export(module, example, dynamic_shapes=({0: batch}, {0: batch}))
    _write_spec(folder, spec)
    torch.export.save(program, folder / "model.pt2")
    return folder


class Narrow(Linear):
    """Raises for more than 64 rows at once."""

    def __init__(self) -> None:
        super().__init__(1.0, 0.0)
        self.places = torch.nn.Embedding.from_pretrained(torch.zeros(64, 1))

    def forward(self, numeric: torch.Tensor, categorical: torch.Tensor) -> torch.Tensor:
        return super().forward(numeric, categorical) + self.places(torch.arange(numeric.shape[0]))[:, 0]


def write_narrow_pt2(folder: Path) -> Path:
    batch = torch.export.Dim("batch", min=1, max=4096)
    example = (torch.zeros(4, 2), torch.zeros(4, 1, dtype=torch.int64))
    program = torch.export.export(Narrow().eval(), example, dynamic_shapes=({0: batch}, {0: batch}))
    _write_spec(folder, SPEC)
    torch.export.save(program, folder / "model.pt2")
    return folder


def write_fixed_pt2(folder: Path) -> Path:
    """Exported for four rows and no other number."""
    program = torch.export.export(Linear(1.0, 0.0).eval(), (torch.zeros(4, 2), torch.zeros(4, 1, dtype=torch.int64)))
    _write_spec(folder, SPEC)
    torch.export.save(program, folder / "model.pt2")
    return folder


def write_pickle(folder: Path) -> Path:
    _write_spec(folder, SPEC)
    torch.save(Linear(1.0, 0.0), folder / "model.pth")
    return folder


def write_onnx(folder: Path, slope: float = 1.0) -> Path:
    """`distance * slope + 0 * carrier`, made of ONNX operators by hand."""
    from onnx import TensorProto, helper, save_model

    nodes = [
        helper.make_node("Mul", ["numeric", "slope"], ["scaled"]),
        helper.make_node("Cast", ["categorical"], ["codes"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["codes", "nothing"], ["zero"]),
        helper.make_node("ReduceSum", ["scaled", "axis"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "zero"], ["logit"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [
            helper.make_tensor_value_info("numeric", TensorProto.FLOAT, ["batch", 2]),
            helper.make_tensor_value_info("categorical", TensorProto.INT64, ["batch", 1]),
        ],
        [helper.make_tensor_value_info("logit", TensorProto.FLOAT, ["batch", 1])],
        [
            helper.make_tensor("slope", TensorProto.FLOAT, [2], [slope, 0.0]),
            helper.make_tensor("nothing", TensorProto.FLOAT, [1], [0.0]),
            helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        ],
    )
    _write_spec(folder, SPEC)
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), folder / "model.onnx")
    return folder


def _write_spec(folder: Path, spec: ServingSpec) -> None:
    folder.mkdir(parents=True)
    (folder / FILE).write_text(spec.model_dump_json())


def body(
    distance: list[Any], *, wind: list[Any] | None = None, carrier: list[Any] | None = None, **more: Any
) -> dict[str, Any]:
    """An inference request of as many rows as there are distances."""
    count = len(distance)
    columns = [
        ("distance", "FP64", distance),
        ("wind", "FP64", wind or [1.0] * count),
        ("carrier", "BYTES", carrier or ["AA"] * count),
    ]
    inputs = [{"name": name, "datatype": kind, "shape": [count], "data": data} for name, kind, data in columns]
    return {"inputs": inputs, **more}


def encoded(distance: list[Any], **more: Any) -> bytes:
    return json.dumps(body(distance, **more)).encode()
