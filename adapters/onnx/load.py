"""A model from a path, bytes or a ModelProto, refused with a reason where it is broken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, numpy_helper

from pertcore.errors import InputError, ModelError


def load(source: Any) -> onnx.ModelProto:
    """The model with its weights inside.

    Raises InputError for a missing file or another type, ModelError for text, truncated or
    incomplete models and for external data outside the model's own folder.
    """
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
        folder = None
    elif isinstance(source, bytes | bytearray | memoryview):
        model, folder = _parse(bytes(source), "the bytes"), None
    elif isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise InputError(f"model={str(source)!r}: no such file")
        model, folder = _parse(path.read_bytes(), str(path)), path.resolve().parent
    else:
        raise InputError(
            f"model has type {type(source).__name__}: expected a path, bytes or ModelProto"
        )
    _take_in_external_data(model, folder)
    _check(model)
    return model


def _parse(content: bytes, name: str) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise ModelError(
            f"{name} is not an ONNX model, or is cut off ({len(content)} bytes)"
        ) from error
    if not model.graph.node and not model.graph.output:
        raise ModelError(f"{name} is not an ONNX model: it holds no graph ({len(content)} bytes)")
    return model


def _take_in_external_data(model: onnx.ModelProto, folder: Path | None) -> None:
    """Reads external weights, each from a plain file inside the model's folder."""
    for tensor in external_data_helper._get_all_tensors(model):
        if not external_data_helper.uses_external_data(tensor):
            continue
        info = external_data_helper.ExternalDataInfo(tensor)
        if folder is None:
            raise ModelError(
                f"weights {tensor.name!r} lie in {info.location!r} outside the model: give its path"
            )
        place = (folder / info.location).resolve()
        if Path(info.location).is_absolute() or not place.is_relative_to(folder):
            raise ModelError(
                f"weights {tensor.name!r} point to {info.location!r}, "
                "outside the model's folder: refused"
            )
        if not place.is_file():
            raise ModelError(f"weights {tensor.name!r} are missing: no file {info.location!r}")
        try:
            external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        except Exception as error:
            raise ModelError(f"weights {tensor.name!r} cannot be read: {error}") from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _check(model: onnx.ModelProto) -> None:
    """Weights are whole, every tensor that is used is made before, and made once."""
    graph = model.graph
    for tensor in graph.initializer:
        _check_tensor(tensor)
    if graph.sparse_initializer:
        raise ModelError("the model has sparse weights: store them as dense tensors")
    if not graph.output:
        raise ModelError("the model has no outputs: it may be cut off")
    made = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    for node in graph.node:
        missing = [name for name in node.input if name and name not in made]
        if missing:
            raise ModelError(
                f"{node.op_type} {node.name!r} uses {missing[0]!r}, which nothing before it makes: "
                "weights are missing, or the graph is cyclic or cut off"
            )
        doubled = [name for name in node.output if name and name in made]
        if doubled:
            raise ModelError(f"two tensors are called {doubled[0]!r}")
        made.update(name for name in node.output if name)
    absent = [value.name for value in graph.output if value.name not in made]
    if absent:
        raise ModelError(f"output {absent[0]!r} is made by no node: the model may be cut off")


def _check_tensor(tensor: onnx.TensorProto) -> None:
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"weights {tensor.name!r} have a negative dimension: {list(tensor.dims)}")
    try:
        size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        stored = len(tensor.raw_data)
        count = 1
        for dim in tensor.dims:
            count *= dim
        if stored and tensor.data_type < onnx.TensorProto.FLOAT8E4M3FN and stored != count * size:
            raise ModelError(
                f"weights {tensor.name!r} hold {stored} bytes, "
                f"{list(tensor.dims)} needs {count * size}"
            )
        if not stored:
            numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"weights {tensor.name!r} are incomplete: {error}") from error
