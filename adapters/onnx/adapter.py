"""`from_onnx`: an ONNX file becomes an oracle, its derivatives exact, run by ONNX Runtime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from pertcore.adapters.function import from_function
from pertcore.adapters.onnx import build as building
from pertcore.adapters.onnx import half, quotients, stacked
from pertcore.adapters.onnx.bounds import within_memory
from pertcore.adapters.onnx.kept import kept
from pertcore.adapters.onnx.linearization import (
    LoopedLinearization,
    OnnxLinearization,
    Piece,
    batch_axes,
)
from pertcore.adapters.onnx.load import load
from pertcore.adapters.onnx.pieces import pieces
from pertcore.adapters.onnx.select import Choice, choose
from pertcore.adapters.onnx.sessions import check_device, first, on_gpu
from pertcore.adapters.onnx.untouched import UserModel, runs
from pertcore.arrays import contiguous, library, on_device
from pertcore.errors import CapabilityError, InputError, PertcoreError, PertcoreWarning
from pertcore.oracle import Array, Calls, Linearization, Oracle

logger = logging.getLogger(__name__)


def from_onnx(
    model: Any,
    *,
    input: str | None = None,
    output: str | Sequence[str] | None = None,
    weights: Mapping[str, float] | Sequence[float] | None = None,
    freeze: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    finite_differences: bool = False,
    straight_through: bool = False,
) -> Oracle:
    """Oracle of an ONNX model given as a path, bytes or ModelProto (float32, float64 or float16,
    which is float32 outside).

    `input` and `output` choose where there are several. A list of outputs is attacked as one (n,
    K), flattened and laid side by side, each times the root of its entry in `weights` (a sequence,
    or a mapping by name; 1 by default), so that weights scale squared terms; `oracle.outputs` maps
    each name to its place and shape, and `outputs[name].read(value)` gives it back. `freeze` holds
    values for the inputs that do not move; `input_shape` is the shape of one sample where the model
    leaves it open; `threads` is how many work on a batch (None: ONNX Runtime's own choice, in
    pieces of a large batch one a processor), `providers` are its execution providers (None: the
    CPU). With `finite_differences`, operators without a rule get difference quotients instead of
    an error, each on its own where at most 64 entries of a sample go into it, else the whole model;
    `notes` says which. With `straight_through`, roundings count as the identity, signs as a ramp,
    and quantised models as their real values within the range of
    their type (Bengio, Leonard & Courville 2013); such an oracle is not "exact", and says so.

    Raises InputError for a wrong choice, ModelError for a broken file, CapabilityError for an
    operator without a derivative rule or a gradient that is zero everywhere.
    """
    loaded = load(model)
    if output is not None and not isinstance(output, str):
        settings = {
            "input": input, "freeze": freeze, "input_shape": input_shape, "threads": threads,
            "providers": providers, "finite_differences": finite_differences,
            "straight_through": straight_through,
        }  # fmt: skip
        return _of_several(loaded, stacked.checked_weights(loaded, output, weights), settings)
    if weights is not None:
        raise InputError(f"weights={weights!r}: they are for a list of outputs, output=[...]")
    choice = choose(loaded, input=input, output=output, freeze=freeze, input_shape=input_shape)
    try:
        return OnnxOracle(
            loaded,
            choice,
            threads=threads,
            providers=providers,
            straight_through=straight_through,
        )
    except CapabilityError:
        if not finite_differences:
            raise
    building.check(*half.twin(loaded, choice))
    user = UserModel(loaded, choice, threads=threads, providers=providers)
    partly = _by_operator(loaded, choice, user, threads, providers, straight_through)
    if partly is not None:
        return partly
    x = building.probes(choice, (0,))
    return from_function(
        user, input_shape=x.shape[1:], output_shape=user(x).shape[1:], dtype=choice.dtype
    )


def _by_operator(
    model: onnx.ModelProto,
    choice: Choice,
    user: UserModel,
    threads: int | None,
    providers: Sequence[str] | None,
    straight: bool,
) -> Oracle | None:
    """The oracle in which operators without a rule, and they alone, are differenced; None where
    they take too many inputs, or a difference of the whole model says otherwise."""
    try:
        oracle = OnnxOracle(
            model,
            choice,
            threads=threads,
            providers=providers,
            straight_through=straight,
            difference=True,
        )
        agrees = building.confirmed(oracle, user, choice)
    except PertcoreError as error:
        logger.info("the whole model is differenced: %s", error)
        return None
    if not agrees:
        logger.info("the whole model is differenced: its operators alone give another slope")
        return None
    for note in oracle.notes:
        warnings.warn(note, PertcoreWarning, stacklevel=3)
    return oracle


def _of_several(
    model: onnx.ModelProto, weights: Mapping[str, float], settings: dict[str, Any]
) -> Oracle:
    oracle = from_onnx(stacked.stacked(model, weights), output=stacked.STACKED, **settings)
    given = {name: settings[name] for name in ("input", "freeze", "input_shape")}
    choice = choose(model, output=next(iter(weights)), **given)
    parts = stacked.layout(model, choice, weights, building.probes(choice, (0,)))
    oracle.outputs = parts  # type: ignore[attr-defined]
    return oracle


@dataclass(frozen=True)
class Opened:
    """The judge of a model, what is built for it, and whether that is for its float32 twin."""

    judge: UserModel
    built: building.Built
    halved: bool

    def rested(self) -> Opened:
        """The same without sessions, which are opened when they are first needed."""
        engine = self.built.engine.rested()
        return Opened(self.judge.rested(), replace(self.built, engine=engine), self.halved)


@within_memory()
def _opened(
    model: onnx.ModelProto,
    choice: Choice,
    threads: int | None,
    providers: Sequence[str] | None,
    straight: bool,
    difference: bool,
) -> Opened:
    settings: dict[str, Any] = {"threads": threads, "providers": providers or None}
    judge = UserModel(model, choice, **settings)
    # Of a float16 model, all but the judge's runs are of its float32 twin.
    twin, of_twin = half.twin(model, choice)
    user = judge if twin is model else UserModel(twin, of_twin, **settings)
    built = building.build(
        twin, of_twin, user, straight=straight, difference=difference, **settings
    )
    judge.open()
    return Opened(judge, built, twin is not model)


class OnnxOracle:
    """y = f(x) of an ONNX model with J^T v and J u, one or many at a time.

    `f(x)` runs the user's own untouched model, so that results are judged on it (a model with a
    fixed batch runs lifted, verified against itself). `batch` tells which: "free",
    "lifted" or "looped"; `remarks` says why.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        choice: Choice,
        *,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
        straight_through: bool = False,
        difference: bool = False,
    ) -> None:
        self._model, self._choice, self._providers = model, choice, providers
        self._straight, self._difference = straight_through, difference
        options = (threads, tuple(providers or ()), straight_through, difference)
        # What it shares with other oracles of the same model lives as long as one of them.
        self._opened = kept(model, choice, options, lambda: _opened(model, choice, *options))
        built = self._opened.built
        self._user, self._half = self._opened.judge, self._opened.halved
        self._engine, self.batch = built.engine, built.batch
        self._estimates = built.estimated
        self.notes = (
            *built.doubts,
            *([half.NOTE] if self._half else []),
            *([building.ESTIMATE] if self._estimates else []),
            *quotients.notes(built.engine.graph),
        )
        self.remarks = built.remarks
        self.input_shape, self.output_shape = self._engine.input_shape, self._shape_of_output()
        self.dtype = choice.dtype
        self.calls = Calls()
        self._quiet: OnnxOracle | None = None
        self.capabilities = self._capabilities()
        # A model whose answer for a sample changes with the others is run as a whole.
        self._divides = self._engine.gains and "take" in self.capabilities and not built.doubts

    def _shape_of_output(self) -> tuple[int, ...]:
        """From the graph, or from one run where the graph leaves it open."""
        shape = self._engine.output_shape
        if not all(isinstance(dim, int) for dim in shape):
            self._engine.output_shape = self._user(building.probes(self._choice, (0,))).shape[1:]
        return self._engine.output_shape

    def _capabilities(self) -> frozenset[str]:
        found = {"vjp", "jvp", "take", "exact"} - set(self._engine.refusals)
        if self._estimates or self._engine.graph.differences:
            found.discard("exact")
        if self.batch == "looped":
            return frozenset(found)
        if on_gpu(first(self._providers)):
            found.add("device")
        try:
            self._engine.batch_axes = batch_axes(self._engine.graph, self._engine.residuals)
        except CapabilityError as error:
            self._engine.refusals["take"] = str(error)
            found.discard("take")
        return frozenset(found)

    def __call__(self, x: Array) -> Array:
        """f(x): (n, *input_shape) -> (n, *output_shape)."""
        x = self._checked(x)
        self.calls.f += len(x)
        if len(x) == 0:
            return library(x).zeros((0, *self.output_shape), self.dtype)
        lifted = self.batch == "lifted" and not self._half
        return self._engine.value(x) if lifted else self._user(x)

    def linearize(self, x: Array) -> Linearization:
        """Runs the model once at x, (n, *input_shape), and keeps what the products need."""
        x = self._checked(x)
        self.calls.f += len(x)
        if self.batch == "looped":
            return self._looped(x)
        return self._linearized(x)

    def _looped(self, x: Array) -> LoopedLinearization:
        width = int(self._choice.dims[0])  # type: ignore[arg-type]
        values, kept = [np.zeros((0, *self.output_shape), self.dtype)], []
        for rows in runs(x, width):
            value, residuals = self._engine.run(np.array(rows, order="C"))
            values.append(value)
            kept.append(residuals)
        value, places = np.concatenate(values)[: len(x)], np.arange(len(x))
        return LoopedLinearization(self._engine, self.calls, value, kept, places, width)

    def _linearized(self, x: Array) -> OnnxLinearization:
        if len(x) == 0:
            nothing = library(x).zeros((0, *self.output_shape), self.dtype)
            return OnnxLinearization(self._engine, self.calls, nothing, [])
        parts = pieces(len(x), self._engine.threads) if self._divides else ()
        if len(parts) < 2:
            value, residuals, lease = self._engine.run_again(x)
            held = [Piece(residuals, slice(0, len(x)), keeps=lease)]
            return OnnxLinearization(self._engine, self.calls, value, held)
        engine = self._engine.alone
        made = engine.run_pieces(x, parts)
        value = np.concatenate([value for value, _ in made])
        held = [Piece(residuals, part) for part, (_, residuals) in zip(parts, made)]
        return OnnxLinearization(engine, self.calls, value, held)

    def _checked(self, x: Array) -> Array:
        if on_device(x):
            self._check_device(x)
        else:
            x = np.asarray(x)
        if x.shape[1:] != self.input_shape or x.ndim == 0 or x.dtype.kind not in "fiu":
            raise InputError(
                f"x has shape {x.shape} and dtype {x.dtype}: expected numbers of shape "
                f"(n, {', '.join(map(str, self.input_shape))})"
            )
        return contiguous(x, self.dtype)

    def _check_device(self, x: Array) -> None:
        check_device(x, self._providers, "x")
        if self.batch == "looped":
            raise CapabilityError(
                "x is a CuPy array, and the samples of this model run as many at a time as the "
                "file says, which goes through the host: give NumPy arrays"
            )

    def deterministic(self) -> OnnxOracle:
        """The same model on one thread, built once."""
        if self._quiet is None:
            self._quiet = OnnxOracle(
                self._model,
                self._choice,
                threads=1,
                providers=self._providers,
                straight_through=self._straight,
                difference=self._difference,
            )
        return self._quiet
