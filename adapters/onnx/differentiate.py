"""`differentiate`: the derivative of an ONNX model as an ordinary ONNX model of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
from onnx import helper

from pertcore.adapters.onnx.derive import Derivatives, Product
from pertcore.adapters.onnx.export import export
from pertcore.adapters.onnx.load import load
from pertcore.adapters.onnx.nodes import Node
from pertcore.adapters.onnx.normalise import normalise
from pertcore.adapters.onnx.reemit import Primal, batch_name, input_dims, reemit
from pertcore.adapters.onnx.select import free_inputs
from pertcore.errors import InputError, ModelError

Mode = Literal["vjp", "jvp", "value_and_vjp"]
MODES = ("vjp", "jvp", "value_and_vjp")


@dataclass(frozen=True)
class DerivativeGraph:
    """An ONNX model that computes derivatives; `inputs` and `outputs` are its names in order."""

    model: onnx.ModelProto
    mode: Mode
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def save(self, path: str | Path) -> Path:
        """Writes the model, whole or not at all, and returns where."""
        target = Path(path)
        content = self.model.SerializeToString()
        try:
            handle, temporary = tempfile.mkstemp(dir=target.parent, suffix=".onnx.part")
        except OSError as error:
            raise InputError(f"path={str(path)!r} cannot be written: {error.strerror}") from error
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(temporary).replace(target)
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise InputError(f"path={str(path)!r} cannot be written: {error.strerror}") from error
        return target


def differentiate(
    model: Any,
    *,
    mode: Mode = "vjp",
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> DerivativeGraph:
    """Derivative graph of an ONNX model (path, bytes or ModelProto), opset 18, IR version 10.

    For inputs x in `wrt` and outputs y in `outputs` (by default all of type float):

    * "vjp": the model's inputs and `ct_<y>` (as y) -> `grad_<x>` (as x), sum over y of J^T ct_y;
    * "jvp": the model's inputs and `tan_<x>` (as x) -> `tanout_<y>` (as y), sum over x of J tan_x;
    * "value_and_vjp": as "vjp", and the outputs y themselves before the gradients.

    The batch stays as the file has it, and samples of it do not mix. Raises InputError for an
    unknown mode or name, ModelError for a broken file, CapabilityError for an operator without a
    rule or a gradient that is zero everywhere.
    """
    if mode not in MODES:
        raise InputError(f"mode={mode!r}: allowed are {', '.join(map(repr, MODES))}")
    normal, opset = normalise(load(model))
    inputs = free_inputs(normal)
    made = {value.name: value for value in normal.graph.output}
    batch = batch_name(inputs.values())
    shapes = {name: input_dims(value, batch) for name, value in inputs.items()}
    primal = reemit(normal, opset, shapes, freeze={})
    xs = _names(wrt, inputs, "wrt")
    ys = _names(outputs, made, "outputs")
    values = tuple(primal.values[y] for y in ys)
    derivatives = Derivatives(primal.graph, tuple(primal.values[x] for x in xs), values)
    if mode == "jvp":
        product = derivatives.pushforward(_unique("tan_", xs, inputs))
        found = list(zip(_unique("tanout_", ys, inputs), product.results, strict=True))
        return _joined(primal, product, mode, found)
    product = derivatives.pullback(_unique("ct_", ys, inputs))
    found = list(zip(_unique("grad_", xs, {*inputs, *ys}), product.results, strict=True))
    if mode == "value_and_vjp":
        found = [*zip(ys, values, strict=True), *found]
    return _joined(primal, product, mode, found)


def _names(wanted: Sequence[str] | None, values: dict[str, Any], what: str) -> list[str]:
    floats = [name for name, value in values.items() if _is_float(value)]
    if wanted is None:
        return floats
    unknown = [name for name in wanted if name not in floats]
    if unknown or not wanted:
        raise InputError(f"{what}={list(wanted)}: the model has {', '.join(floats)} of type float")
    return list(wanted)


def _unique(prefix: str, names: Sequence[str], taken: Collection[str]) -> list[str]:
    """prefix + name, with an underscore more for every time that it is taken."""
    made: list[str] = []
    for name in names:
        fresh = prefix + name
        while fresh in taken or fresh in made:
            fresh += "_"
        made.append(fresh)
    return made


def _is_float(value: onnx.ValueInfoProto) -> bool:
    element = value.type.tensor_type.elem_type
    return bool(element) and helper.tensor_dtype_to_np_dtype(element).kind == "f"


def _joined(
    primal: Primal, product: Product, mode: Mode, outputs: Sequence[tuple[str, str]]
) -> DerivativeGraph:
    """The primal nodes and those of the product in one model, checked."""
    nodes: list[Node] = [*primal.graph.nodes, *product.nodes]
    inputs = [*primal.inputs, *product.seeds]
    doc = f"{mode} of an ONNX model, made by pertcore: {', '.join(n for n, _ in outputs)}"
    made = export(product.graph, nodes, inputs, outputs, doc=doc)
    try:
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the derivative graph is not valid ONNX: {error}") from error
    return DerivativeGraph(made, mode, tuple(inputs), tuple(name for name, _ in outputs))
