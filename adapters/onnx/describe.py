"""What a model file holds and what pertcore can do with it, as `pertcore info` prints it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import onnx
from onnx import helper

import pertcore.adapters.onnx.rules  # noqa: F401  fills the registry
from pertcore.adapters.onnx import build as building
from pertcore.adapters.onnx import expansion, half, registry
from pertcore.adapters.onnx.load import load
from pertcore.adapters.onnx.normalise import main_opset, normalise
from pertcore.adapters.onnx.reemit import emittable, input_dims
from pertcore.adapters.onnx.select import choose, free_inputs
from pertcore.adapters.onnx.symbolic import Poly
from pertcore.adapters.onnx.untouched import UserModel
from pertcore.errors import CapabilityError, InputError, PertcoreError


@dataclass(frozen=True)
class TensorInfo:
    """A named input or output: its NumPy type and dimensions, a free one as text."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class OperatorInfo:
    """An operator of the model: how often it occurs, and "rule", "zero", "unknown" or, where it is
    asked for, "estimate" (straight-through)."""

    name: str
    count: int
    fact: registry.Fact | Literal["estimate"]


@dataclass(frozen=True)
class ModelInfo:
    """A model at a glance.

    `batch` is "free", "lifted" (a fixed batch, made free and verified), "looped" (lifting would
    be wrong: samples run as many at a time as the file says), or "fixed" where it was not tried;
    `exact` says whether the derivative is exact; `notes` are sentences for the user.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opset: int
    ir_version: int
    parameters: int
    operators: tuple[OperatorInfo, ...]
    batch: str
    exact: bool
    notes: tuple[str, ...]


def describe(
    model: Any,
    *,
    input: str | None = None,
    output: str | None = None,
    freeze: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    straight_through: bool = False,
) -> ModelInfo:
    """Reads and tries a model; what it cannot do becomes a note. Options as in `from_onnx`.

    Raises ModelError for a broken file, InputError for a missing one or a wrong choice.
    """
    loaded = load(model)
    normal, opset = normalise(loaded)
    given = {"input": input, "output": output, "freeze": freeze, "input_shape": input_shape}
    batch, exact, notes = _tried(loaded, given, straight_through)
    return ModelInfo(
        inputs=tuple(map(_tensor, free_inputs(loaded).values())),
        outputs=tuple(map(_tensor, loaded.graph.output)),
        opset=main_opset(loaded),
        ir_version=loaded.ir_version,
        parameters=sum(_size(tensor) for tensor in loaded.graph.initializer),
        operators=_operators(normal, opset, straight_through),
        batch=batch,
        exact=exact,
        notes=notes,
    )


def _tried(
    model: onnx.ModelProto, given: dict[str, Any], straight: bool
) -> tuple[str, bool, tuple[str, ...]]:
    free = [input_dims(value)[:1] for value in free_inputs(model).values()]
    guess = "free" if all(dims and isinstance(dims[0], Poly) for dims in free) else "fixed"
    try:
        choice = choose(model, **given)
    except (InputError, CapabilityError) as error:
        if any(value is not None for value in given.values()):
            raise
        return guess, False, (str(error),)
    try:
        twin, choice = half.twin(model, choice)
        user = UserModel(twin, choice, threads=1, providers=None)
        built = building.build(twin, choice, user, threads=1, providers=None, straight=straight)
    except PertcoreError as error:
        return guess, False, (str(error),)
    notes = [*built.remarks, *built.doubts, *([half.NOTE] if twin is not model else [])]
    exact = not built.estimated
    notes += [] if exact else [building.ESTIMATE]
    return built.batch, exact, (*notes, *built.engine.refusals.values())


def _operators(model: onnx.ModelProto, opset: int, straight: bool) -> tuple[OperatorInfo, ...]:
    counts: Counter[str] = Counter()
    facts: dict[str, Any] = {}
    for node in model.graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        name = f"{domain}::{node.op_type}".removeprefix("::")
        counts[name] += 1
        known = emittable(node, opset)
        fact = registry.fact(node.op_type, domain)
        facts[name] = fact if known or fact == "zero" else "unknown"
        if known and expansion.expandable(node.op_type, domain, opset):
            facts[name] = "rule"
        if straight and registry.estimate(node.op_type, domain) is not None:
            facts[name] = "estimate"
    return tuple(OperatorInfo(name, count, facts[name]) for name, count in counts.most_common())


def _tensor(value: onnx.ValueInfoProto) -> TensorInfo:
    element = value.type.tensor_type.elem_type
    dtype = str(helper.tensor_dtype_to_np_dtype(element)) if element else "not a tensor"
    dims = input_dims(value)
    return TensorInfo(value.name, dtype, tuple(d if isinstance(d, int) else str(d) for d in dims))


def _size(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count
