"""`from_torch`: a module or function of tensors becomes an oracle, differentiated by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from pertcore.adapters.parts import Part
from pertcore.adapters.shapes import checked_shape
from pertcore.adapters.torch.outputs import Reader, reader
from pertcore.adapters.torch.point import TorchPoint, Ways, at
from pertcore.adapters.torch.probe import Found, probe
from pertcore.adapters.torch.tensors import (
    DTYPES,
    as_tensor,
    back,
    batch_of,
    layout_of,
    settings_of,
)
from pertcore.adapters.torch.undisturbed import Around, Called, modules_called
from pertcore.errors import InputError
from pertcore.oracle import Array, Calls

NOTHING = Found((), {}, True, ())


def from_torch(
    model: Callable[..., Any],
    *,
    input_shape: int | Sequence[int],
    output_shape: int | Sequence[int] | None = None,
    output: int | str | Sequence[int | str] | None = None,
    weights: Mapping[Any, float] | Sequence[float] | None = None,
    dtype: Any = None,
    device: Any = None,
) -> TorchOracle:
    """Oracle of a PyTorch module, or of any function from a tensor (n, *input_shape) to one.

    Where several tensors come back, as a tuple, a mapping or an object, `output` chooses by place
    or name; a list of them is attacked as one (n, K), each times the root of its entry in
    `weights`, and `oracle.outputs` says where each lies. An output (n,) becomes (n, 1). Other
    inputs are frozen by a function: `lambda x: module(x, mask)`. dtype (float32 or float64) and
    device are those of the parameters unless given; inputs are laid out as the filters are
    (channels_last or contiguous). `output_shape` is found by a run, and checked where given.

    The module is left as it was found: modules in training mode run in evaluation mode and are put
    back, requires_grad and .grad stay, no hook remains, the global random numbers do not move.
    J^T v walks along the graph of one run; J u walks back through J^T v, or is forward-mode where
    an operator does not allow that. `notes` says what the user should know.

    Raises InputError for a wrong call or output, CapabilityError where the output depends on the
    input but autograd has no path there (torch.no_grad, detach, NumPy).
    """
    if not callable(model):
        raise InputError(f"model is a {type(model).__name__}: a module or a function is expected")
    shape = checked_shape(input_shape, "input_shape")
    roots = (
        (model,) if isinstance(model, torch.nn.Module) else _called_by(model, shape, dtype, device)
    )
    kind, place = settings_of(roots, dtype, device)
    around = Around(roots, place)
    oracle = TorchOracle(
        model, shape, kind, place, reader(output, weights, DTYPES[kind]), around, layout_of(roots)
    )
    oracle.found = probe(oracle, shape, torch.empty(0, dtype=DTYPES[kind], device=place))
    if output_shape is not None and oracle.output_shape != checked_shape(output_shape, "output"):
        raise InputError(f"output_shape={output_shape}: the model gives {oracle.output_shape}")
    return oracle


@dataclass(eq=False)
class TorchOracle:
    """What `from_torch` returns; it has no `take`, since a graph is of its whole batch."""

    model: Callable[..., Any]
    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    device: torch.device
    read: Reader
    around: Around
    layout: torch.memory_format
    found: Found = NOTHING
    ways: Ways = field(default_factory=Ways)
    calls: Calls = field(default_factory=Calls)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.found.output_shape

    @property
    def outputs(self) -> dict[str, Part]:
        """Where several outputs lie in the one that is attacked; empty for a single output."""
        return self.found.parts

    @property
    def capabilities(self) -> frozenset[str]:
        jvp = {"jvp"} if self.ways.has_jvp else set()
        device = {"device"} if self.device.type == "cuda" else set()
        return frozenset({"vjp", "exact"} | jvp | device)

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.found.notes, *self.ways.said)

    def __call__(self, x: Array) -> Array:
        batch = batch_of(x, self.input_shape, self.dtype, self.device)
        self.calls.f += len(batch)
        if len(batch) == 0:
            return back(self._nothing(), x)
        with self.around.running(graph=False):
            given = as_tensor(batch, self.device, self.layout)
            return back(self.run(given.clone() if self.found.writes else given), x, batch)

    def linearize(self, x: Array) -> TorchPoint:
        batch = batch_of(x, self.input_shape, self.dtype, self.device)
        self.calls.f += len(batch)
        if len(batch) == 0:
            nothing = self._nothing()
            return TorchPoint(self, nothing, nothing, back(nothing, x), self.around.random)
        return at(self, batch, x, copy=self.found.writes)

    def _nothing(self) -> torch.Tensor:
        return torch.zeros(0, *self.output_shape, dtype=DTYPES[self.dtype], device=self.device)

    def deterministic(self) -> TorchOracle:
        """The same model on one thread, with deterministic cuDNN algorithms; counts for itself."""
        quiet = replace(self.around, threads=1, random=[])
        return replace(self, around=quiet, ways=Ways(), calls=Calls())

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """The chosen output (n, *out) of a tensor (n, *in), in whatever mode autograd is."""
        return self.read(self.model(x), len(x))

    def parts(self, x: torch.Tensor) -> dict[str, Part]:
        """Where each of several outputs lies in the one that is attacked."""
        return self.read.parts(self.model(x))


def _called_by(
    model: Callable[..., Any], shape: tuple[int, ...], dtype: Any, device: Any
) -> tuple[torch.nn.Module, ...]:
    """The modules a function calls: it is run on zeros, again where they want another dtype."""
    called = _tried(model, (), shape, dtype, device)
    if called.error is not None and called.modules:
        called = _tried(model, called.modules, shape, dtype, device)
    if called.error is not None:
        raise called.error
    return called.modules


def _tried(
    model: Callable[..., Any],
    roots: tuple[torch.nn.Module, ...],
    shape: tuple[int, ...],
    dtype: Any,
    device: Any,
) -> Called:
    kind, place = settings_of(roots, dtype, device)
    zeros = torch.zeros(2, *shape, dtype=DTYPES[kind], device=place)
    with Around(roots, place).running(graph=False):
        return modules_called(lambda: model(zeros))
