"""What computes inside TorchServe. It travels in every archive as a plain file and runs in TorchServe's environment, so it may
import nothing of ours; `pack` and `unpack` are used at both ends.

It takes the Open Inference Protocol v2 in two forms: its binary one with the model's own tensors (`numeric`, `categorical`),
which the gateway speaks, and JSON with one column per feature, as the gateway itself takes, for people. It answers with the
model's raw `output`: what that means, `serving.json` tells, to whoever asked.
"""

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH_HEADER = "inference-header-content-length"
"""How many bytes of a binary body are its JSON head; what follows is the tensors, one after the other."""
BINARY, JSON = "application/octet-stream", "application/json"
NUMERIC, CATEGORICAL, OUTPUT = "numeric", "categorical", "output"
MODEL_FAILED = 500

_TYPES = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}


def pack(kind: str, tensors: Mapping[str, NDArray[Any]]) -> tuple[bytes, int]:
    """The binary form, and the length of its head; `kind`: inputs or outputs. A type that it has no name for becomes FP64."""
    head, parts = [], []
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor)
        if array.dtype not in _NAMES:
            array = array.astype("<f8")
        part = array.tobytes()
        size = {"binary_data_size": len(part)}
        head.append({"name": name, "datatype": _NAMES[array.dtype], "shape": list(tensor.shape), "parameters": size})
        parts.append(part)
    first = json.dumps({kind: head}).encode()
    return b"".join((first, *parts)), len(first)


def unpack(kind: str, body: bytes, length: int) -> dict[str, NDArray[Any]]:
    """Raises ValueError for what is no binary form of v2."""
    place = length
    tensors: dict[str, NDArray[Any]] = {}
    try:
        for entry in json.loads(body[:length])[kind]:
            until = place + entry["parameters"]["binary_data_size"]
            flat = np.frombuffer(body[place:until], dtype=_TYPES[entry["datatype"]])
            tensors[entry["name"]] = flat.reshape(entry["shape"])
            place = until
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the body is no binary tensors of v2: {type(error).__name__}: {error}") from error
    return tensors


def columns_to_tensors(inputs: list[dict[str, Any]], spec: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Named columns become the model's tensors, by the rules of `serving.json`. Raises ValueError that names the column."""
    columns = {column["name"]: column["data"] for column in inputs}
    features = {feature["name"]: feature for feature in spec["features"]}
    if columns.keys() != features.keys():
        raise ValueError(f"inputs: {sorted(columns.keys() ^ features.keys())} are missing, or no feature of the model")
    numeric, categorical = [], []
    for name, feature in features.items():
        if feature["kind"] == "numeric":
            numeric.append([float("nan") if cell is None else float(cell) for cell in columns[name]])
        else:
            codes = {category: code for code, category in enumerate(feature["categories"], start=1)}
            categorical.append([codes.get(_text(cell), 0) if cell is not None else 0 for cell in columns[name]])
    tensors: dict[str, NDArray[Any]] = {}
    if numeric:
        tensors[NUMERIC] = np.ascontiguousarray(np.array(numeric, dtype=np.float32).T)
    if categorical:
        tensors[CATEGORICAL] = np.ascontiguousarray(np.array(categorical, dtype=np.int64).T)
    return tensors


def _text(cell: Any) -> str:
    """What is no text, as JSON writes it, so that a category `true` or `7` is found."""
    return cell if isinstance(cell, str) else json.dumps(cell)


class Handler:
    """TorchServe looks for the one class of this file, and calls it from the one thread of a worker."""

    def initialize(self, context: Any) -> None:
        folder = Path(context.system_properties["model_dir"])
        self._spec = json.loads((folder / "serving.json").read_bytes())
        file = folder / context.manifest["model"]["serializedFile"]
        self._model = _load_pt2(file) if file.suffix == ".pt2" else _load_onnx(file)

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[Any]:
        return [self._answer(place, request, context) for place, request in enumerate(data)]

    def _answer(self, place: int, request: dict[str, Any], context: Any) -> Any:
        headers = {name.lower(): value for name, value in context.get_all_request_header(place).items()}
        body = request.get("body", request.get("data"))
        try:
            if isinstance(body, dict):
                output = self._compute(columns_to_tensors(body["inputs"], self._spec))
                # JSON has no word for what is not finite.
                data = [value if np.isfinite(value) else None for value in output.ravel().tolist()]
                context.set_response_content_type(place, JSON)
                return {"outputs": [{"name": OUTPUT, "datatype": "FP64", "shape": list(output.shape), "data": data}]}
            tensors = unpack("inputs", bytes(body or b""), int(headers.get(LENGTH_HEADER, 0)))
            answer, length = pack("outputs", {OUTPUT: self._compute(tensors)})
        except Exception as error:  # noqa: BLE001  else TorchServe says "Prediction failed", and nobody learns why
            context.set_response_status(MODEL_FAILED, "model failed", place)
            context.set_response_content_type(place, JSON)
            return {"error": f"{type(error).__name__}: {error}"}
        context.set_response_header(place, LENGTH_HEADER, str(length))
        context.set_response_content_type(place, BINARY)
        return answer

    def _compute(self, tensors: dict[str, NDArray[Any]]) -> NDArray[Any]:
        return self._model(*(tensors[name] for name in (NUMERIC, CATEGORICAL) if name in tensors))


Model = Callable[..., NDArray[Any]]


def _load_pt2(file: Path) -> Model:
    import torch

    # As the gateway loads it (tools/inference/engines.py): guards are left out of the file, checks of shapes are the gateway's.
    module: Any = torch.export.load(file).module(check_guards=False)
    module._forward_pre_hooks.clear()
    ready = threading.local()

    def run(*arrays: NDArray[Any]) -> NDArray[Any]:
        if not hasattr(ready, "single"):
            # TorchServe has a process per worker; threads within would fight for the cores of the others.
            torch.set_num_threads(1)
            ready.single = True
        with torch.inference_mode():
            output = module(*(torch.from_numpy(array.copy()) for array in arrays))
        array: NDArray[Any] = (output[0] if isinstance(output, (tuple, list)) else output).numpy()
        return array

    return run


def _load_onnx(file: Path) -> Model:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [wanted.name for wanted in session.get_inputs()]

    def run(*arrays: NDArray[Any]) -> NDArray[Any]:
        output: NDArray[Any] = session.run(None, dict(zip(names, arrays, strict=True)))[0]
        return output

    return run
