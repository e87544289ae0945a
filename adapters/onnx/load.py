"""A model from a path, bytes or a ModelProto, refused with a reason where it is broken."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, helper

from pertcore.adapters.onnx import apart
from pertcore.adapters.onnx.inspection import check_tensor, inner_graphs, inspect, tensors
from pertcore.errors import InputError, ModelError

# Operators that make any number of outputs.
ANY_NUMBER = ("If", "Loop", "Scan", "SequenceMap", "Split")


def load(source: Any) -> onnx.ModelProto:
    """The model with its weights inside; more than a gigabyte of them lies apart (`apart`).

    Raises InputError for a missing file or another type, ModelError for text, truncated or
    incomplete models and for external data outside the model's own folder.
    """
    if isinstance(source, onnx.ModelProto):
        model, folder = _copied(source), None
    elif isinstance(source, bytes | bytearray | memoryview):
        model, folder = _parse(bytes(source), "the bytes"), None
    elif isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            raise InputError(f"model={str(source)!r} is a folder: give the .onnx file in it")
        if not path.is_file():
            raise InputError(f"model={str(source)!r}: no such file")
        model, folder = _parse(path.read_bytes(), str(path)), path.resolve().parent
    else:
        raise InputError(
            f"model has type {type(source).__name__}: expected a path, bytes or ModelProto"
        )
    _take_in_external_data(model, folder)
    inspect(model)
    numbers = count()
    for graph in (model.graph, *model.functions):
        _complete(graph.node, numbers)
    return model


def _complete(nodes: Iterable[onnx.NodeProto], numbers: Iterator[int]) -> None:
    """Takes off inputs left out at the end, and names outputs left out among any number of them:
    the same to ONNX, but ONNX Runtime crashes on some."""
    for node in nodes:
        while node.input and not node.input[-1]:
            del node.input[-1]
        if node.op_type in ANY_NUMBER:
            node.output[:] = [name or f"pc.unread.{next(numbers)}" for name in node.output]
        for attribute in node.attribute:
            for inner in inner_graphs(attribute):
                _complete(inner.node, numbers)


def _copied(source: onnx.ModelProto) -> onnx.ModelProto:
    whole = [t for t in source.graph.initializer if t.data_location != apart.EXTERNAL]
    if apart.large(whole):
        for tensor in whole:
            check_tensor(tensor)
        return apart.lean(source)
    model = onnx.ModelProto()
    model.CopyFrom(source)
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
    """Reads external weights, each from a plain file inside the model's folder; many stay there."""
    outside = [t for t in tensors(model) if external_data_helper.uses_external_data(t)]
    own = sum(map(external_data_helper.uses_external_data, model.graph.initializer))
    many = apart.large(outside)
    for index, tensor in enumerate(outside):
        if folder is not None or not apart.is_apart(tensor):
            # The model's own come first, then those of inner graphs, which stay inside.
            _take_in(tensor, folder, stays=many and index < own)


def _take_in(tensor: onnx.TensorProto, folder: Path | None, *, stays: bool) -> None:
    try:
        info = external_data_helper.ExternalDataInfo(tensor)
    except (ValueError, TypeError) as error:
        raise ModelError(f"weights {tensor.name!r} cannot be read: {error}") from error
    place = _checked_place(tensor, info, folder)
    if stays and apart.size(tensor) >= apart.LEAST_APART:
        apart.leave(tensor, place, info.offset or 0)
        return
    try:
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
    except Exception as error:
        raise ModelError(f"weights {tensor.name!r} cannot be read: {error}") from error
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _checked_place(tensor: onnx.TensorProto, info: Any, folder: Path | None) -> Path:
    """The file of the data. Raises ModelError unless it is a plain file inside the model's own
    folder, and holds as much as the tensor needs."""
    name, location = f"weights {tensor.name!r}", info.location
    if folder is None:
        raise ModelError(f"{name} lie in {location!r} outside the model: give its path")
    place = (folder / location).resolve()
    if Path(location).is_absolute() or not place.is_relative_to(folder):
        raise ModelError(f"{name} point to {location!r}, outside the model's folder: refused")
    if not place.is_file():
        raise ModelError(f"{name} are missing: no file {location!r}")
    room = place.stat().st_size - (info.offset or 0)
    stored = room if info.length is None else info.length
    whole = onnx.TensorProto.FLOAT <= tensor.data_type < onnx.TensorProto.FLOAT8E4M3FN
    size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize if whole else 1
    needed = math.prod(tensor.dims) * size
    if stored > needed or (whole and stored != needed):
        raise ModelError(
            f"{name} have {stored} bytes in {location!r}, {list(tensor.dims)} needs {needed}"
        )
    if not 0 <= stored <= room or (info.offset or 0) < 0:
        raise ModelError(f"{name} lie beyond the end of {location!r}")
    return place
