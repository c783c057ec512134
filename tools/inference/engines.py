"""Model files become something that can be called with arrays.

`pt2` (cleaned first, see `tools.inference.archives`) and ONNX hold no code. A pickle runs whatever its author liked while it is
loaded, so it is refused unless this very model was named. torch and onnxruntime are imported here only, and late.
"""

import math
import pickle
import threading
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tools.errors import PermanentError
from tools.inference.archives import UnsafeModel, cleaned
from tools.inference.costs import Cost
from tools.inference.outputs import Misshapen, decode
from tools.registry.port import ModelFiles
from tools.registry.serving_spec import FILE, CategoricalFeature, NumericFeature, ServingSpec

_WARMING_CALLS = 5
_FATAL = 4
_MALFORMED = (RuntimeError, ValueError, LookupError, AttributeError, AssertionError, TypeError)
"""What torch's loader raises for a file that is not what it should be."""
PLATFORMS = {"pt2": "pytorch_pt2", "onnx": "onnxruntime_onnx", "pickle": "pytorch_pickle"}


class Unservable(PermanentError):
    """The version exists but cannot be served: a pickle without leave, a broken file, a spec that does not fit."""


class Engine(Protocol):
    def __call__(self, *tensors: NDArray[Any]) -> NDArray[Any]:
        """Blocking; safe to call from several threads at once."""
        ...


def read_spec(files: ModelFiles) -> ServingSpec:
    path = files.folder / FILE
    try:
        return ServingSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise Unservable(f"{files.model} {files.version} has no {FILE}: its features cannot be told") from error
    except ValueError as error:
        raise Unservable(f"{files.model} {files.version}: {FILE}: {error}") from error


def load(files: ModelFiles, *, allow_pickle: Collection[str]) -> Engine:
    """Blocking, seconds long. Raises Unservable with the reason."""
    what = f"{files.model} {files.version}"
    match files.format:
        case "pt2":
            return _load_pt2(what, _only_file(what, files.folder, ".pt2"))
        case "onnx":
            return _load_onnx(what, _only_file(what, files.folder, ".onnx"))
        case "pickle":
            if files.model not in allow_pickle:
                raise Unservable(
                    f"{what} is a pickle, which may run any code: save it as pt2 or ONNX, or start the gateway with "
                    f"--allow-pickle {files.model}"
                )
            return _load_pickle(what, _only_file(what, files.folder, ".pth", ".pt", ".pkl"))
        case "unknown":
            raise Unservable(f"{what} is in no format that can be served: use pt2 or ONNX")


def warm(engine: Engine, spec: ServingSpec, sizes: Sequence[int], what: str) -> Cost:
    """Run batches of every size in `sizes` (ascending): this proves that the model takes them and that rows of a batch do not
    change each other, pays what a first call costs, and tells what the later ones cost. Raises Unservable."""
    seconds: dict[int, float] = {}
    rows = _sample(spec, sizes[-1])
    try:
        for size in sizes:
            arrays = [array[:size] for array in rows]
            for _ in range(_WARMING_CALLS):
                started = time.thread_time()
                scores = decode(spec, engine(*arrays), size).scores
                seconds[size] = min(seconds.get(size, math.inf), time.thread_time() - started)
        alone = [decode(spec, engine(*(array[row : row + 1] for array in rows)), 1).scores[0] for row in range(sizes[1])]
    except (Misshapen, RuntimeError, ValueError, TypeError, IndexError) as error:
        raise Unservable(f"{what} cannot compute {size} rows at once: {error}") from error
    if not np.allclose(alone, scores[: sizes[1]], rtol=1e-3, atol=1e-4, equal_nan=True):
        raise Unservable(f"{what} answers a row differently when it is computed with others, so it cannot be batched")
    return Cost(sizes[0], seconds[sizes[0]], sizes[-1], seconds[sizes[-1]])


def _sample(spec: ServingSpec, count: int) -> list[NDArray[Any]]:
    """Plausible rows, the same every time."""
    random = np.random.default_rng(7)
    numeric = [random.normal(size=count) for f in spec.features if isinstance(f, NumericFeature)]
    categorical = [
        random.integers(0, len(f.categories) + 1, size=count) for f in spec.features if isinstance(f, CategoricalFeature)
    ]
    columns = (np.array(numeric, dtype=np.float32), np.array(categorical, dtype=np.int64))
    return [np.ascontiguousarray(part.T) for part in columns if part.size]


def tensors(numeric: list[float], categorical: list[int], count: int) -> list[NDArray[Any]]:
    """The model's arguments from flat row-major lists; a kind of feature that the model does not have is left out."""
    arrays: list[NDArray[Any]] = []
    if numeric:
        arrays.append(np.array(numeric, dtype=np.float32).reshape(count, -1))
    if categorical:
        arrays.append(np.array(categorical, dtype=np.int64).reshape(count, -1))
    return arrays


def _only_file(what: str, folder: Path, *suffixes: str) -> Path:
    found = [path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file()]
    if len(found) != 1:
        raise Unservable(f"{what}: {len(found)} files end in {' or '.join(suffixes)} where one was due")
    return found[0]


def prepare() -> None:
    """Import torch and what its loader needs, seconds of work that holds the interpreter: done before anything is served."""
    import torch.export.pt2_archive._package  # noqa: F401


def torch_engine(module: Any) -> Engine:
    import torch

    this_thread = threading.local()

    def run(*arrays: NDArray[Any]) -> NDArray[Any]:
        if not hasattr(this_thread, "single"):
            # A batch is one worker's work. OpenMP keeps this per thread, and its helpers, spinning on the cores that the
            # loop and the clients need, took two thirds of the throughput and added 40 ms to the p99.
            torch.set_num_threads(1)
            this_thread.single = True
        with torch.inference_mode():
            output = module(*map(torch.from_numpy, arrays))
        array: NDArray[Any] = (output[0] if isinstance(output, (tuple, list)) else output).numpy()
        return array

    return run


def _load_pt2(what: str, path: Path) -> Engine:
    import torch
    from torch.fx.graph import CodeGen

    prepare()
    try:
        # Guards are code from the file, see `tools.inference.archives`.
        program = torch.export.load(cleaned(path))
        _require_any_batch(what, program)
        module: Any = program.module(check_guards=False)
    except UnsafeModel as error:
        raise Unservable(f"{what}: {error}") from error
    except (*_MALFORMED, torch._export.serde.serialize.SerializeError) as error:
        raise Unservable(f"{what}: {path.name} cannot be read: {error}") from error
    # Checks of inputs that are ours, and flattening of arguments that are flat: half of the time of a small model's call.
    module._forward_pre_hooks.clear()
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten._assert_tensor_metadata.default:
            module.graph.erase_node(node)
    module.graph.set_codegen(CodeGen())
    module.recompile()
    return torch_engine(module)


def _require_any_batch(what: str, program: Any) -> None:
    """Without its guards a program for four rows would take five and might compute anything."""
    for name, value in zip(program.graph_signature.user_inputs, _inputs(program), strict=True):
        if isinstance(value.shape[0], int):
            raise Unservable(
                f"{what}: {name} is exported for batches of {value.shape[0]} rows only; give it a dynamic batch dimension"
            )


def _inputs(program: Any) -> list[Any]:
    wanted = set(program.graph_signature.user_inputs)
    return [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in wanted]


def _load_onnx(what: str, path: Path) -> Engine:
    import onnxruntime

    state = onnxruntime.capi.onnxruntime_pybind11_state
    errors = (
        state.Fail,
        state.InvalidProtobuf,
        state.InvalidGraph,
        state.InvalidArgument,
        state.NotImplemented,
        state.RuntimeException,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL  # what goes wrong is raised as well
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except errors as error:
        raise Unservable(f"{what}: {path.name} cannot be read: {error}") from error
    names = [wanted.name for wanted in session.get_inputs()]

    def run(*arrays: NDArray[Any]) -> NDArray[Any]:
        try:
            output: NDArray[Any] = session.run(None, dict(zip(names, arrays, strict=True)))[0]
        except errors as error:
            raise RuntimeError(str(error)) from error
        return output

    return run


def _load_pickle(what: str, path: Path) -> Engine:
    import torch

    prepare()
    try:
        module = torch.load(path, weights_only=False, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, AttributeError, ImportError, EOFError) as error:
        raise Unservable(f"{what}: {path.name} cannot be unpickled: {error}") from error
    if not isinstance(module, torch.nn.Module):
        raise Unservable(f"{what}: {path.name} holds a {type(module).__name__}, not a torch module")
    return torch_engine(module.eval())
