"""Weights apart from the model: protobuf holds two gigabytes at most, and copies what it holds.

A tensor that lies apart is a stub in the model, its external location a token that only this
process knows. Weights of a file are mapped from it; constants of a graph stay the graph's arrays.
ONNX Runtime takes both by reference.
"""

from __future__ import annotations

import atexit
import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakValueDictionary

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from pertcore.errors import ModelError
from pertcore.oracle import Array

# Bytes of weights from which on they lie apart; the least of a tensor that does.
MOST_INSIDE, LEAST_APART = 1 << 30, 1 << 10
EXTERNAL = onnx.TensorProto.EXTERNAL


@dataclass(frozen=True)
class Place:
    """Where the bytes of a tensor lie, and the file's size and time when that was found out."""

    file: Path
    offset: int
    state: tuple[int, int]


PLACES: dict[str, Place] = {}
HELD: WeakValueDictionary[str, Any] = WeakValueDictionary()
FOLDERS: list[tempfile.TemporaryDirectory[str]] = []


def is_apart(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor is a stub of this process."""
    return tensor.data_location == EXTERNAL and (_token(tensor) in PLACES or _token(tensor) in HELD)


def any_apart(model: onnx.ModelProto) -> bool:
    return any(is_apart(tensor) for tensor in model.graph.initializer)


def array_of(tensor: onnx.TensorProto) -> Array:
    """The values of a tensor; one that lies apart is mapped or shared, not copied.

    Raises ModelError where its file has changed since the model was loaded.
    """
    token = _token(tensor) if tensor.data_location == EXTERNAL else ""
    if token in HELD:
        return HELD[token]
    if token not in PLACES:
        return numpy_helper.to_array(tensor)
    place = PLACES[token]
    if _state(place.file) != place.state:
        raise ModelError(f"weights {tensor.name!r}: {place.file.name!r} has changed since loading")
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    mapped = np.memmap(place.file, dtype, "r", place.offset, tuple(tensor.dims))
    return mapped if mapped.flags.aligned else np.array(mapped)


def large(tensors: Iterable[onnx.TensorProto]) -> bool:
    return sum(map(size, tensors)) > MOST_INSIDE


def size(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor by its dimensions; zero for text and for a type of no whole bytes."""
    if tensor.data_type == onnx.TensorProto.STRING:
        return 0
    if not onnx.TensorProto.FLOAT <= tensor.data_type < onnx.TensorProto.FLOAT8E4M3FN:
        return 0
    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def leave(tensor: onnx.TensorProto, file: Path, offset: int) -> None:
    """Makes a tensor of a file a stub of this process."""
    token = uuid4().hex
    PLACES[token] = Place(file, offset, _state(file))
    _refer(tensor, token)


def stub(name: str, array: Array) -> onnx.TensorProto:
    """A stub of an array that its owner keeps alive."""
    token = uuid4().hex
    HELD[token] = array
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=array.shape)
    _refer(tensor, token)
    return tensor


def lean(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model of many weights, those written to a file that lives as long as Python."""
    made = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _set(made, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _set(made.graph, field.name, value)
    left = []
    file = _folder() / "weights"
    with file.open("wb") as target:
        for tensor in model.graph.initializer:
            copy = made.graph.initializer.add()
            if is_apart(tensor) or size(tensor) < LEAST_APART:
                copy.CopyFrom(tensor)
                continue
            copy.name, copy.data_type = tensor.name, tensor.data_type
            copy.dims.extend(tensor.dims)
            left.append((copy, target.seek(-(-target.tell() // 64) * 64)))
            target.write(tensor.raw_data or numpy_helper.to_array(tensor).tobytes())
    for copy, offset in left:
        leave(copy, file, offset)
    return made


def spill(tensor: onnx.TensorProto, array: Array) -> None:
    """Gives a stub other values, written to a file that lives as long as Python."""
    file = _folder() / "weights"
    array.tofile(file)
    tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    leave(tensor, file, 0)


def shared(model: onnx.ModelProto, options: onnxruntime.SessionOptions) -> list[Any]:
    """Hands the weights that lie apart to the options of a session, which must be outlived by
    what is returned. Named in both ways, ONNX Runtime takes them by reference; prepacked, it
    would copy them."""
    stubs = [tensor for tensor in model.graph.initializer if is_apart(tensor)]
    arrays = [array_of(tensor) for tensor in stubs]
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays]
    names = [tensor.name for tensor in stubs]
    if stubs:
        options.add_external_initializers(names, values)
        options.add_session_config_entry("session.disable_prepacking", "1")
    for name, value in zip(names, values, strict=True):
        options.add_initializer(name, value)
    return [*arrays, *values]


def beside(model: onnx.ModelProto, file: Path, location: str) -> onnx.ModelProto:
    """The model with its stubs written to `file`, as external data that any runtime reads once it
    lies beside the model under the name `location`."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    with file.open("wb") as target:
        for tensor in made.graph.initializer:
            if is_apart(tensor):
                offset = target.seek(-(-target.tell() // 4096) * 4096)
                array_of(tensor).tofile(target)
                _refer(tensor, location, offset=offset, length=size(tensor))
    return made


def _folder() -> Path:
    if not FOLDERS:
        FOLDERS.append(tempfile.TemporaryDirectory(prefix="pertcore-"))
        atexit.register(FOLDERS[0].cleanup)
    folder = Path(FOLDERS[0].name) / uuid4().hex
    folder.mkdir()
    return folder


def _set(message: Any, name: str, value: Any) -> None:
    if isinstance(value, str | bytes | int | float):
        setattr(message, name, value)
    elif hasattr(value, "ListFields"):
        getattr(message, name).CopyFrom(value)
    else:
        getattr(message, name).extend(value)


def _token(tensor: onnx.TensorProto) -> str:
    return next((e.value for e in tensor.external_data if e.key == "location"), "")


def _refer(tensor: onnx.TensorProto, location: str, **more: int) -> None:
    del tensor.external_data[:]
    tensor.data_location = EXTERNAL
    entries = {"location": location, **{key: str(number) for key, number in more.items()}}
    for key, entry in entries.items():
        tensor.external_data.add(key=key, value=entry)


def _state(file: Path) -> tuple[int, int]:
    facts = file.stat()
    return facts.st_size, facts.st_mtime_ns
