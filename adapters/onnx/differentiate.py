"""`differentiate`: the derivative of an ONNX model as an ordinary ONNX model of its own."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import onnx
from onnx import helper

from pertcore.adapters.onnx import apart
from pertcore.adapters.onnx.derive import Derivatives, Product
from pertcore.adapters.onnx.export import export
from pertcore.adapters.onnx.foreign import adopted, pruned, used
from pertcore.adapters.onnx.half import is_half, widened
from pertcore.adapters.onnx.load import load
from pertcore.adapters.onnx.nodes import Node
from pertcore.adapters.onnx.normalise import main_opset, normalise
from pertcore.adapters.onnx.reemit import Primal, batch_name, input_dims, reemit
from pertcore.adapters.onnx.select import free_inputs
from pertcore.errors import CapabilityError, InputError, ModelError
from pertcore.oracle import Array

Mode = Literal["vjp", "jvp", "value_and_vjp"]
MODES = ("vjp", "jvp", "value_and_vjp")
LEAST_LARGE = 1 << 10
"""Numbers in a weight from which the checker is spared its content."""


@dataclass(frozen=True)
class DerivativeGraph:
    """An ONNX model that computes derivatives; `inputs` and `outputs` are its names in order.

    More than a gigabyte of weights lies in `weights`, apart from the model, and is saved beside it.
    """

    model: onnx.ModelProto
    mode: Mode
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[Array, ...] = ()

    def save(self, path: str | Path) -> Path:
        """Writes the model, whole or not at all, and returns where.

        Weights that lie apart are written to a second file, named as the first and `.data`.
        """
        target = Path(path)
        model, data = self.model, target.with_name(f"{target.name}.data")
        try:
            if self.weights:
                with _part(data) as part:
                    model = apart.beside(model, part, data.name)
            with _part(target) as part:
                part.write_bytes(model.SerializeToString())
        except OSError as error:
            raise InputError(f"path={str(path)!r} cannot be written: {error.strerror}") from error
        return target


@contextmanager
def _part(target: Path) -> Iterator[Path]:
    """A file to write to, which becomes `target` at the end or is gone."""
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    part.touch(exist_ok=False)
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def differentiate(
    model: Any,
    *,
    mode: Mode = "vjp",
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    straight_through: bool = False,
) -> DerivativeGraph:
    """Derivative graph of an ONNX model (path, bytes or ModelProto), opset 18, IR version 10.

    For inputs x in `wrt` and outputs y in `outputs` (by default all of type float):

    * "vjp": the model's inputs and `ct_<y>` (as y) -> `grad_<x>` (as x), sum over y of J^T ct_y;
    * "jvp": the model's inputs and `tan_<x>` (as x) -> `tanout_<y>` (as y), sum over x of J tan_x;
    * "value_and_vjp": as "vjp", and the outputs y themselves before the gradients.

    The model's inputs are those that the chosen outputs depend on. Every new input and output is
    described in the file. A derivative graph can be differentiated again. The batch stays as the
    file has it, and samples of it do not mix; a float16 model is float32 inside. With
    `straight_through`, roundings, signs and quantisation get estimates, as in `from_onnx`. Raises
    InputError for an unknown mode or name, ModelError for a broken file, CapabilityError for an
    operator without a rule or a gradient that is zero everywhere.
    """
    if mode not in MODES:
        raise InputError(f"mode={mode!r}: allowed are {', '.join(map(repr, MODES))}")
    given = load(model)
    made = {value.name: value for value in given.graph.output}
    ys = _names(outputs, made, "outputs")
    file = pruned(given, *ys)
    xs = _names(wrt, free_inputs(given), "wrt")
    primal, values = _primal(file, xs, ys, straight_through)
    # An input that the chosen outputs do not need stays where the caller asked for it.
    taken = {*primal.inputs, *made}
    derivatives = Derivatives(primal.graph, tuple(xs), tuple(values))
    if mode == "jvp":
        seeds = _unique("tan_", xs, taken)
        product = derivatives.pushforward(seeds)
        found = list(zip(_unique("tanout_", ys, {*taken, *seeds}), product.results, strict=True))
    else:
        seeds = _unique("ct_", ys, taken)
        product = derivatives.pullback(seeds)
        found = list(zip(_unique("grad_", xs, {*taken, *seeds}), product.results, strict=True))
    if mode == "value_and_vjp":
        found = [*zip(ys, values, strict=True), *found]
    return _joined(primal, product, mode, found, _docs(mode, xs, ys, seeds, found))


def _primal(
    file: onnx.ModelProto, xs: Sequence[str], ys: Sequence[str], straight: bool
) -> tuple[Primal, list[str]]:
    """The model emitted with its inputs, and its outputs; a float16 one is float32 inside."""
    narrow = is_half(file)
    wide = widened(file) if narrow else file
    normal, opset = normalise(adopted(wide, main_opset(wide)))
    inputs = free_inputs(normal)
    read = {name for node in file.graph.node for name in used(node)}
    kept = {name: v for name, v in inputs.items() if name in read or name in (*xs, *ys)}
    batch = batch_name(kept.values())
    shapes = {name: input_dims(value, batch) for name, value in kept.items()}
    half = {v.name for v in [*file.graph.input, *file.graph.output] if narrow and _is_half(v)}
    primal = reemit(normal, opset, shapes, freeze={}, straight=straight, narrow=half)
    missing = [y for y in ys if y not in primal.values]
    if missing:
        raise CapabilityError(f"output {missing[0]!r} is no number that has a derivative")
    cast = {"to": onnx.TensorProto.FLOAT16}
    values = [primal.values[y] for y in ys]
    emitted = [
        primal.graph.emit("Cast", (value,), cast)[0] if y in half else value
        for y, value in zip(ys, values, strict=True)
    ]
    return primal, emitted


def _docs(
    mode: Mode,
    xs: Sequence[str],
    ys: Sequence[str],
    seeds: Sequence[str],
    found: Sequence[tuple[str, str]],
) -> dict[str, str]:
    """What each of the new inputs and outputs is."""
    results = [name for name, _ in found][-len(ys if mode == "jvp" else xs) :]
    if mode == "jvp":
        docs = {t: f"tangent of the input {x}, in its shape" for t, x in zip(seeds, xs)}
        total = " + ".join(f"d {{y}}/d {x} . {t}" for t, x in zip(seeds, xs))
        outs = {r: f"{total.replace('{y}', y)}, in the shape of {y}" for r, y in zip(results, ys)}
        return docs | outs
    docs = {c: f"cotangent of the output {y}, in its shape" for c, y in zip(seeds, ys)}
    total = " + ".join(f"(d {y}/d {{x}})^T . {c}" for c, y in zip(seeds, ys))
    outs = {r: f"{total.replace('{x}', x)}, in the shape of {x}" for r, x in zip(results, xs)}
    values = dict.fromkeys(ys, "output of the model") if mode == "value_and_vjp" else {}
    return docs | values | outs


def _names(wanted: Sequence[str] | None, values: dict[str, Any], what: str) -> list[str]:
    floats = [name for name, value in values.items() if _is_float(value)]
    if not floats:
        kind = {"wrt": "input"}.get(what, "output")
        raise CapabilityError(f"the model has no {kind} that is a tensor of floats")
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


def _is_half(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16)


def _is_float(value: onnx.ValueInfoProto) -> bool:
    element = value.type.tensor_type.elem_type
    return bool(element) and helper.tensor_dtype_to_np_dtype(element).kind == "f"


def _joined(
    primal: Primal,
    product: Product,
    mode: Mode,
    outputs: Sequence[tuple[str, str]],
    docs: dict[str, str],
) -> DerivativeGraph:
    """The primal nodes and those of the product in one model, checked."""
    nodes: list[Node] = [*primal.graph.nodes, *product.nodes]
    inputs = [*primal.inputs, *product.seeds]
    listed = "; ".join(f"{name}: {text}" for name, text in docs.items())
    doc = f"{mode} of an ONNX model, made by pertcore. {listed}."
    docs |= {name: docs.get(name, "input of the model") for name in primal.inputs}
    made = export(product.graph, nodes, inputs, outputs, doc=doc, docs=docs)
    _check(made)
    weights = tuple(apart.array_of(t) for t in made.graph.initializer if apart.is_apart(t))
    names = tuple(name for name, _ in outputs)
    return DerivativeGraph(made, mode, tuple(inputs), names, weights)


def _check(made: onnx.ModelProto) -> None:
    """Raises ModelError where it is not valid ONNX. Large weights stand there as inputs of their
    type: the checker would copy them, and look for a file of those that are in none yet."""
    graph = made.graph
    bare = onnx.ModelProto(ir_version=made.ir_version, opset_import=made.opset_import)
    bare.graph.name = graph.name
    for name in ("node", "input", "output", "value_info"):
        getattr(bare.graph, name).extend(getattr(graph, name))
    for tensor in graph.initializer:
        if apart.is_apart(tensor) or math.prod(tensor.dims) > LEAST_LARGE:
            given = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            bare.graph.input.append(given)
        else:
            bare.graph.initializer.append(tensor)
    try:
        onnx.checker.check_model(bare)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the derivative graph is not valid ONNX: {error}") from error
