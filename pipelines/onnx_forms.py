"""A version's weights in other forms: in FP32 on ONNX Runtime, and from there in INT8. Blocking; heavy libraries come late.

What is made is a graph and weights, and holds no code; names of our machine's files, which torch writes beside its nodes, are
taken out, so that the same version, rows and seed give the same bytes.
"""

import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.errors import PermanentError
from tools.inference.archives import UnsafeModel, cleaned
from tools.inference.engines import Unservable, prepare
from tools.registry.port import ModelFiles
from tools.registry.quantizations import Recipe
from tools.registry.serving_spec import FILE

MODEL = "model.onnx"
_MULTIPLICATIONS = ("MatMul", "Gemm")
"""What takes a network's time. Embeddings are looked up, not computed."""
_MOST_BYTES = 2**31 - 1
"""A protobuf message holds no more, and weights in files of their own are not made here."""
_PER_CHANNEL_FROM = 13
"""Operator set of ONNX in which a scale for each output is known."""
_CALIBRATION_BATCH = 256


def convert(files: ModelFiles, folder: Path) -> ModelFiles:
    """The same weights in FP32 for ONNX Runtime, in `folder`, which is made. Raises Unservable for a file that is not served
    either, PermanentError where it has no form in ONNX."""
    import onnx

    what = f"{files.model} {files.version}"
    source = [path for path in files.folder.iterdir() if path.suffix == f".{files.format}"]
    if files.format not in ("pt2", "onnx") or len(source) != 1:
        raise PermanentError(f"{what} is {files.format}: only pt2 and ONNX can be quantised")
    model = _exported(what, source[0]) if files.format == "pt2" else onnx.load(source[0])
    if model.ByteSize() > _MOST_BYTES:
        raise PermanentError(f"{what} has {model.ByteSize():,} bytes: more than {_MOST_BYTES:,} are not quantised")
    _anonymous(model)
    folder.mkdir(parents=True)
    onnx.save(model, folder / MODEL)
    shutil.copyfile(files.folder / FILE, folder / FILE)
    return ModelFiles(model=files.model, version=files.version, folder=folder, format="onnx")


def quantize(converted: ModelFiles, folder: Path, recipe: Recipe, calibration: Sequence[NDArray[Any]]) -> ModelFiles:
    """INT8 weights, of 7 bits: with 8 the sums of two products overflow on processors without VNNI, which then answer otherwise
    than the one that it was measured on. `calibration`: the model's arguments for some rows.

    Raises PermanentError where there is nothing to quantise, or onnxruntime cannot."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    what = f"{converted.model} {converted.version}"
    folder.mkdir(parents=True)
    prepared, target = folder / "prepared.onnx", folder / MODEL
    settings: dict[str, Any] = {
        "weight_type": QuantType.QInt8,
        "reduce_range": True,
        "op_types_to_quantize": list(_MULTIPLICATIONS),
    }
    with _quiet():
        try:
            quant_pre_process(str(converted.folder / MODEL), str(prepared), skip_symbolic_shape=True)
            model = onnx.load(prepared)
            settings["per_channel"] = _operators(model) >= _PER_CHANNEL_FROM
            if recipe == "static":
                rows = _reader([each.name for each in model.graph.input], calibration)
                activations = QuantType.QUInt8
                quantize_static(
                    prepared, target, rows, quant_format=QuantFormat.QOperator, activation_type=activations, **settings
                )
            else:
                quantize_dynamic(prepared, target, **settings)
        except (ValueError, RuntimeError, TypeError, LookupError, AssertionError) as error:
            raise PermanentError(f"{what} cannot be quantised ({recipe}): {error}") from error
    prepared.unlink()
    made = onnx.load(target)
    if not any(np.dtype("int8") == onnx.helper.tensor_dtype_to_np_dtype(each.data_type) for each in made.graph.initializer):
        raise PermanentError(f"{what} has nothing to quantise: no product with a matrix of weights")
    _anonymous(made)
    onnx.save(made, target)
    shutil.copyfile(converted.folder / FILE, folder / FILE)
    return ModelFiles(model=converted.model, version=converted.version, folder=folder, format="onnx")


def _exported(what: str, path: Path) -> Any:
    import torch

    prepare()
    with _quiet():
        try:
            program = torch.export.load(cleaned(path))
            made = torch.onnx.export(program, dynamo=True, verbose=False)
        except UnsafeModel as error:
            raise Unservable(f"{what}: {error}") from error
        except (torch.onnx.OnnxExporterError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise PermanentError(f"{what} has no form in ONNX: {error}") from error
    assert made is not None
    return made.model_proto


def _operators(model: Any) -> int:
    """Version of ONNX's own set of operators."""
    return int(max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0))


def _anonymous(model: Any) -> None:
    """Without what says where and by whom it was made."""
    del model.metadata_props[:]
    model.doc_string = model.producer_name = model.producer_version = ""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _reader(names: Sequence[str], rows: Sequence[NDArray[Any]]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Rows(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            starts = range(0, len(rows[0]), _CALIBRATION_BATCH)
            self._batches = iter([[each[start : start + _CALIBRATION_BATCH] for each in rows] for start in starts])

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            batch = next(self._batches, None)
            return dict(zip(names, batch, strict=True)) if batch is not None else None

    return Rows()


@contextmanager
def _quiet() -> Iterator[None]:
    """Both libraries advise on stderr about what is done here on purpose, or is not there and not needed."""
    loggers = [logging.getLogger(name) for name in (None, "torch.onnx")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)
