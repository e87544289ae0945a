"""Builds the engine of a model: free batch, fixed batch lifted and verified, or looped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import onnx

from pertcore.adapters.onnx.bounds import entries
from pertcore.adapters.onnx.engine import Engine
from pertcore.adapters.onnx.foreign import adopted, pruned
from pertcore.adapters.onnx.normalise import main_opset, normalise
from pertcore.adapters.onnx.reemit import Primal, reemit
from pertcore.adapters.onnx.registry import STRAIGHT
from pertcore.adapters.onnx.select import Choice
from pertcore.adapters.onnx.symbolic import BATCH, Poly, symbol
from pertcore.adapters.onnx.untouched import UserModel
from pertcore.errors import CapabilityError, PertcoreError
from pertcore.oracle import Array, Linearization

ESTIMATE = "its gradients are straight-through estimates: roundings count as the identity"
Batch = Literal["free", "lifted", "looped"]
# Largest difference of a batch from single runs, least difference between outputs that tells
# samples apart, both as fractions of the largest output; share of ones in a sparse input.
CLOSE, TELLING, SPARSE = 1e-4, 1e-6, 0.05
# Entries of inputs and of all tensors that a batch of probes may take; two samples are run in any
# case.
PROBED = 1 << 26
# Step of a difference of the whole model over the size of its input; how far a derivative that is
# made of differences may be from it.
QUOTIENT, FAR = 5e-3, 0.1


@dataclass(frozen=True)
class Built:
    """An engine, how it carries the batch, remarks on that, and doubts about its answers."""

    engine: Engine
    batch: Batch
    remarks: tuple[str, ...]
    doubts: tuple[str, ...] = ()

    @property
    def estimated(self) -> bool:
        """Whether straight-through estimates are in the derivative."""
        graph = self.engine.graph
        return graph.straight and any(node.domain == STRAIGHT for node in graph.nodes)


def build(
    model: onnx.ModelProto,
    choice: Choice,
    user: UserModel,
    *,
    threads: int | None,
    providers: Sequence[str] | None,
    straight: bool = False,
    difference: bool = False,
) -> Built:
    """Differentiates the model and settles how it carries a batch.

    Raises CapabilityError where a rule is missing, the gradient is zero, or the first axis, fixed
    at more than one, is no batch.
    """
    normal, opset = normalise(adopted(pruned(model, choice.output), main_opset(model)))
    remarks = (f"the graphs need opset {opset}",) if opset > 18 else ()
    unruled = "difference" if difference else "refuse"
    settings: dict[str, Any] = {"freeze": choice.freeze, "straight": straight, "unruled": unruled}
    emit = partial(reemit, normal, opset, **settings)

    def engine(dims: Sequence[int | Poly], *, lift: int) -> Engine:
        primal = emit(shapes={choice.input: dims}, lift=lift)
        output = _tensor(primal, choice.output)
        return Engine(primal.graph, choice.input, output, threads=threads, providers=providers)

    first = choice.dims[0]
    if isinstance(first, Poly):
        made = engine(choice.dims, lift=0)
        _check_batch_first(made, choice)
        return Built(made, "free", remarks, _mixing(user, choice))
    reason = ""
    try:
        lifted = engine((symbol(BATCH), *choice.dims[1:]), lift=first)
        reason = _difference(lifted, user, choice)
    except PertcoreError as error:
        reason = str(error)
    if not reason:
        _check_apart(user, choice, first)
        remark = f"its batch of {_spelled(first)} was lifted, and verified"
        return Built(lifted, "lifted", (*remarks, remark))
    single = engine(choice.dims, lift=0)
    _check_batch_first(single, choice)
    _check_apart(user, choice, first)
    return Built(single, "looped", (*remarks, _looped(first, reason)))


def _tensor(primal: Primal, output: str) -> str:
    """The value of the graph that is the output. Raises CapabilityError where none has a slope."""
    value = primal.values.get(output)
    if value is None:
        raise CapabilityError(
            f"output {output!r} is no number that has a derivative (a label or an index): choose "
            "the scores with output="
        )
    if value in primal.graph.sequences:
        raise CapabilityError(
            f"output {output!r} is a sequence or an optional, and only a tensor has a derivative: "
            "choose another with output=, or end the model at a tensor of it"
        )
    return value


def check(model: onnx.ModelProto, choice: Choice) -> None:
    """The bounds on sizes and turns for a model that is only run, operators without a rule
    included. Raises ModelError where one is passed."""
    normal, opset = normalise(adopted(pruned(model, choice.output), main_opset(model)))
    reemit(normal, opset, {choice.input: choice.dims}, freeze=choice.freeze, unruled="keep")


def confirmed(oracle: Linearizes, user: UserModel, choice: Choice) -> bool:
    """Whether J u is the difference of the whole model at random points, but for its rounding."""
    x = probes(choice, (0, 1, 3))
    u = np.random.default_rng(1).standard_normal(x.shape).astype(x.dtype)
    step = QUOTIENT * np.sqrt(np.mean(np.square(x), axis=tuple(range(1, x.ndim)), keepdims=True))
    whole = (user(x + step * u).astype(np.float64) - user(x - step * u)) / 2
    found = (oracle.linearize(x).jvp(u).T * step.ravel()).T
    apart = np.linalg.norm((found - whole).reshape(len(x), -1), axis=1)
    size = np.linalg.norm(whole.reshape(len(x), -1), axis=1)
    return bool(np.all(np.isfinite(apart)) and np.median(apart - FAR * size) <= 0)


class Linearizes(Protocol):
    """What `confirmed` needs of an oracle."""

    def linearize(self, x: Array) -> Linearization: ...


def _spelled(width: int) -> str:
    return "one" if width == 1 else str(width)


def _looped(width: int, reason: str) -> str:
    by = "one by one" if width == 1 else f"{width} at a time"
    return f"its batch of {_spelled(width)} cannot be lifted ({reason}): samples run {by}"


def _check_apart(user: UserModel, choice: Choice, width: int) -> None:
    """Raises CapabilityError where a first axis fixed at several is no batch: its rows mix."""
    if width == 1:
        return
    x = probes(choice, (0, 3))
    whole = user(x)
    if not _agree(whole[:1], user(x[:1])) or not _agree(whole[::-1], user(x[::-1])):
        raise CapabilityError(
            f"the first axis of input {choice.input!r}, fixed at {width}, is no batch: the output "
            "for a row changes with the other rows; export the model with a batch axis before it"
        )


def _agree(whole: Array, alone: Array) -> bool:
    allowed = CLOSE * float(np.nanmax(np.abs(whole), initial=0.0))
    same = whole.shape == alone.shape
    return same and np.allclose(whole, alone, rtol=0, atol=allowed, equal_nan=True)


def _check_batch_first(engine: Engine, choice: Choice) -> None:
    shape = engine.graph.types[engine.output_value].shape
    if not shape or (isinstance(shape[0], int) and shape[0] != choice.dims[0]):
        raise CapabilityError(
            f"output {choice.output!r} has shape {shape}: its first axis must be the batch, as the "
            "input's is"
        )


def _difference(engine: Engine, user: UserModel, choice: Choice) -> str:
    """How a random batch differs from single runs of the untouched model; empty: it does not."""
    shape = engine.graph.types[engine.output_value].shape
    if not shape or shape[0] != symbol(BATCH):
        return f"the output's first axis is {shape[0] if shape else 'missing'}, not the batch"
    most = max(2, PROBED // (entries(engine.graph) + math.prod(engine.input_shape)))
    x = probes(choice, (0, 3, 4, 2, 1)[:most])
    single = user(x)
    scale = float(np.max(np.abs(single), initial=0.0))
    if np.all(np.ptp(single, axis=0) <= TELLING * scale):
        return "random inputs all give the same output, so a batch cannot be checked"
    whole, _ = engine.run(x)
    if whole.shape != single.shape:
        return f"a batch gives {whole.shape}, single runs {single.shape}"
    worst = float(np.max(np.abs(whole - single), initial=0.0))
    agrees = worst <= CLOSE * scale
    return "" if agrees else f"a batch differs from single runs by {worst:.3g} of {scale:.3g}"


def _mixing(user: UserModel, choice: Choice) -> tuple[str, ...]:
    """A sentence on a model of free batch whose answer for a sample changes with its neighbours."""
    x = probes(choice, (0, 3))
    whole, alone = user(x), user(x[:1])
    if whole[:1].shape == alone.shape and not _agree(whole[:1], alone):
        return ("its output for a sample changes with the other samples or from run to run",)
    return ()


def probes(choice: Choice, kinds: Sequence[int] = range(5)) -> Array:
    """Random inputs of several kinds, so that some of them wake the model up: uniform, faint,
    sparse, normal and as large as bytes."""
    rng = np.random.default_rng(0)
    sample = tuple(int(dim) for dim in choice.dims[1:])  # type: ignore[arg-type]
    draw: list[Callable[[], Array]] = [
        lambda: rng.random(sample, np.float32),
        lambda: 0.1 * rng.random(sample, np.float32),
        lambda: (rng.random(sample, np.float32) < SPARSE).astype(np.float32),
        lambda: rng.standard_normal(sample, np.float32),
        lambda: 255.0 * rng.random(sample, np.float32),
    ]
    return np.stack([draw[kind]() for kind in kinds]).astype(choice.dtype, copy=False)
