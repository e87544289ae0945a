"""Builds the engine of a model: free batch, batch of one lifted and verified, or looped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx

from pertcore.adapters.onnx.engine import Engine
from pertcore.adapters.onnx.foreign import adopted, pruned
from pertcore.adapters.onnx.normalise import main_opset, normalise
from pertcore.adapters.onnx.reemit import BATCH, reemit
from pertcore.adapters.onnx.select import Choice
from pertcore.adapters.onnx.symbolic import Poly, symbol
from pertcore.adapters.onnx.untouched import UserModel
from pertcore.errors import CapabilityError, PertcoreError
from pertcore.oracle import Array

Batch = Literal["free", "lifted", "looped"]
# Largest difference of a batch from single runs, least difference between outputs that tells
# samples apart, both as fractions of the largest output; share of ones in a sparse input.
CLOSE, TELLING, SPARSE = 1e-4, 1e-6, 0.05


@dataclass(frozen=True)
class Built:
    """An engine, how it carries the batch, remarks on that, and doubts about its answers."""

    engine: Engine
    batch: Batch
    remarks: tuple[str, ...]
    doubts: tuple[str, ...] = ()


def build(
    model: onnx.ModelProto,
    choice: Choice,
    user: UserModel,
    *,
    threads: int | None,
    providers: Sequence[str] | None,
    straight: bool = False,
) -> Built:
    """Differentiates the model and settles how it carries a batch.

    Raises CapabilityError where a rule is missing, the gradient is zero, or the batch is fixed at
    another number than one.
    """
    normal, opset = normalise(adopted(pruned(model, choice.output), main_opset(model)))
    remarks = (f"the graphs need opset {opset}",) if opset > 18 else ()

    def engine(dims: Sequence[int | Poly], *, lift: bool) -> Engine:
        shapes = {choice.input: dims}
        primal = reemit(normal, opset, shapes, freeze=choice.freeze, lift=lift, straight=straight)
        output = primal.values.get(choice.output)
        if output is None:
            raise CapabilityError(
                f"output {choice.output!r} is no number that has a derivative (a label or an "
                "index): choose the scores with output="
            )
        return Engine(primal.graph, choice.input, output, threads=threads, providers=providers)

    first = choice.dims[0]
    if isinstance(first, Poly):
        made = engine(choice.dims, lift=False)
        _check_batch_first(made, choice)
        return Built(made, "free", remarks, _mixing(user, choice))
    if first != 1:
        raise CapabilityError(
            f"input {choice.input!r} has a fixed batch of {first}: "
            "export it with a batch of 1 or free"
        )
    reason = ""
    try:
        lifted = engine((symbol(BATCH), *choice.dims[1:]), lift=True)
        reason = _difference(lifted, user, choice)
    except PertcoreError as error:
        reason = str(error)
    if not reason:
        return Built(lifted, "lifted", (*remarks, "its batch of one was lifted, and verified"))
    single = engine(choice.dims, lift=False)
    _check_batch_first(single, choice)
    remark = f"its batch of one cannot be lifted ({reason}): samples run one by one"
    return Built(single, "looped", (*remarks, remark))


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
    x = probes(choice)
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
    x = probes(choice)[[0, 3]]
    whole, alone = user(x), user(x[:1])
    allowed = CLOSE * float(np.nanmax(np.abs(whole), initial=0.0))
    same = whole[:1].shape == alone.shape
    if same and not np.allclose(whole[:1], alone, rtol=0, atol=allowed, equal_nan=True):
        return ("its output for a sample changes with the other samples or from run to run",)
    return ()


def probes(choice: Choice) -> Array:
    """Random inputs of several kinds, so that some of them wake the model up: uniform, faint,
    sparse, normal and as large as bytes."""
    rng = np.random.default_rng(0)
    sample = tuple(int(dim) for dim in choice.dims[1:])  # type: ignore[arg-type]
    rows = [
        rng.random(sample, np.float32),
        0.1 * rng.random(sample, np.float32),
        (rng.random(sample, np.float32) < SPARSE).astype(np.float32),
        rng.standard_normal(sample, np.float32),
        255.0 * rng.random(sample, np.float32),
    ]
    return np.stack(rows).astype(choice.dtype)
