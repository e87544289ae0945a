"""A PyTorch model at one batch of points: its graph is kept, products walk along it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch.autograd import forward_ad

from pertcore.adapters.shapes import as_many, leading
from pertcore.adapters.torch.tensors import as_tensor, back, owned, there
from pertcore.adapters.torch.undisturbed import Around
from pertcore.errors import CapabilityError
from pertcore.oracle import Array, Calls, Linearization

logger = logging.getLogger(__name__)
# Above this many rows a batched backward pass was slower than one pass after another.
ROWS_AT_ONCE = 256
WAYS = ("transposed", "forward")
ADJOINT = {torch.float32: 1e-3, torch.float64: 1e-9}


class Model(Protocol):
    """What a point needs of its oracle."""

    input_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    calls: Calls
    around: Around
    device: torch.device
    layout: torch.memory_format
    ways: Ways

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output."""

    def run(self, x: torch.Tensor) -> torch.Tensor:
        """The chosen output (n, *out) of a tensor (n, *in), in whatever mode autograd is."""


@dataclass(eq=False)
class Ways:
    """What was learnt about the operators of a model; `said` tells the user.

    `batched`: several (co)tangents go through one backward pass. `jvp`: "transposed", the pass
    backward through the pullback; "forward", forward-mode differentiation in another run of the
    model; else the reason why there is neither.
    """

    batched: bool = True
    jvp: str = "untried"
    said: list[str] = field(default_factory=list)

    @property
    def has_jvp(self) -> bool:
        return self.jvp in ("untried", *WAYS)

    def say(self, sentence: str) -> None:
        if sentence not in self.said:
            logger.warning("%s", sentence)
            self.said.append(sentence)


@dataclass(eq=False)
class TorchPoint:
    """f near x: `value`, J^T v along the graph that one run left, J u along its transpose."""

    model: Model
    leaf: torch.Tensor
    output: torch.Tensor
    value: Array
    random: list[torch.Tensor]
    _pullback: tuple[torch.Tensor, torch.Tensor] | None = None

    def vjp(self, cotangent: Array) -> Array:
        """J^T v: (n, *out) or (c, n, *out) -> (n, *in) or (c, n, *in)."""
        given, made = self.model.output_shape, self.model.input_shape
        many, lead = self._vectors("vjp", cotangent, given)
        if not self.output.requires_grad or 0 in many.shape:
            return self._zeros((*lead, *made), cotangent)
        with self.model.around.running(graph=True, random=self.random):
            seeds = [as_tensor(v, self.model.device, torch.contiguous_format) for v in many]
            pulled = self._along(self.output, self.leaf, seeds)
        return _stacked(pulled, (*lead, *made), cotangent, many)

    def jvp(self, tangent: Array) -> Array:
        """J u: (n, *in) or (c, n, *in) -> (n, *out) or (c, n, *out)."""
        given, made = self.model.input_shape, self.model.output_shape
        many, lead = self._vectors("jvp", tangent, given)
        if not self.output.requires_grad or 0 in many.shape:
            return self._zeros((*lead, *made), tangent)
        with self.model.around.running(graph=True, random=self.random):
            seeds = [as_tensor(u, self.model.device, self.model.layout) for u in many]
            pushed = self._pushed(seeds)
        return _stacked(pushed, (*lead, *made), tangent, many)

    def take(self, index: Array) -> Linearization:
        """Refused: the graph of a batch cannot leave samples out."""
        kept, n = len(np.arange(len(self.leaf))[index]), len(self.leaf)
        raise CapabilityError(
            f"take: the graph that PyTorch keeps is of all {n} samples, not of {kept}; linearize "
            "those that are left, or give the others zero cotangents"
        )

    def _zeros(self, shape: tuple[int, ...], like: Any) -> Any:
        return back(self.leaf.new_zeros(shape), like)

    def _vectors(
        self, kind: str, given: Any, shape: tuple[int, ...]
    ) -> tuple[Any, tuple[int, ...]]:
        """(Co)tangents as (c, n, *shape) and the leading axes they came with; counted."""
        n = len(self.leaf)
        tensor = there(given, self.model.dtype, self.model.device, f"the argument of {kind}")
        whole: Any
        if tensor is None:
            flat = as_many(given, n, shape, self.model.dtype)
            lead, whole = flat.shape[:-1], np.ascontiguousarray(flat)
        else:
            lead, whole = leading(tuple(tensor.shape), n, shape), tensor.contiguous()
        many = whole.reshape(-1, n, *shape) if n else np.zeros((0, 0))
        calls = self.model.calls
        setattr(calls, kind, getattr(calls, kind) + len(many) * n)
        return many, lead

    def _along(
        self, output: torch.Tensor, leaf: torch.Tensor, seeds: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """The products of a graph with each seed, some at once where that pays and goes."""
        width = max(1, ROWS_AT_ONCE // len(self.leaf))
        found: list[torch.Tensor] = []
        while len(found) < len(seeds):
            block = seeds[len(found) : len(found) + width]
            if len(block) > 1 and self.model.ways.batched:
                together = self._at_once(output, leaf, torch.stack(list(block)))
                if together is not None:
                    found.extend(together)
                    continue
            found.extend(_zero_if_none(_grad(output, leaf, seed), leaf) for seed in block)
        return found

    def _at_once(
        self, output: torch.Tensor, leaf: torch.Tensor, block: torch.Tensor
    ) -> torch.Tensor | None:
        """All products of the block in one pass; None where an operator has no such form."""
        try:
            together = _grad(output, leaf, block, is_grads_batched=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.model.ways.batched = False
            self.model.ways.say(
                "several cotangents run one after another, since an operator of the model has no "
                f"batched derivative ({_first_line(error)})"
            )
            return None
        return together if together is not None else leaf.new_zeros(len(block), *leaf.shape)

    def _pushed(self, seeds: list[torch.Tensor]) -> list[torch.Tensor]:
        ways = self.model.ways
        if ways.jvp == "untried":
            ways.jvp = self._way(seeds[0])
        if ways.jvp == "transposed":
            return self._transposed(seeds)
        if ways.jvp == "forward":
            return [self._forward(seed) for seed in seeds]
        raise CapabilityError(ways.jvp)

    def _way(self, seed: torch.Tensor) -> str:
        """The first way to J u that runs and is the adjoint of J^T v here."""
        reasons = []
        for name, way in zip(WAYS, (lambda u: self._transposed([u])[0], self._forward)):
            try:
                pushed = way(seed)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, NotImplementedError) as error:
                reasons.append(f"{name}: {_first_line(error)}")
                continue
            if self._is_adjoint(seed, pushed):
                return name
            reasons.append(f"{name}: disagrees with the model's own backward pass")
        return (
            f"jvp: an operator of the model has no derivative that would do ({'; '.join(reasons)})"
        )

    def _transposed(self, seeds: list[torch.Tensor]) -> list[torch.Tensor]:
        """J u as the derivative of <J^T w, u> by w: the pullback is linear in w."""
        if self._pullback is None:
            w = torch.zeros_like(self.output, requires_grad=True)
            pulled = _grad(self.output, self.leaf, w, create_graph=True)
            self._pullback = w, _zero_if_none(pulled, self.leaf)
        w, pulled = self._pullback
        if not pulled.requires_grad:
            return [torch.zeros_like(w) for _ in seeds]
        return self._along(pulled, w, seeds)

    def _forward(self, seed: torch.Tensor) -> torch.Tensor:
        """J u by a run of the model on dual numbers, with the random numbers of the first run."""
        with (
            self.model.around.running(graph=False, random=self.random),
            forward_ad.dual_level(),
        ):
            dual = forward_ad.make_dual(self.leaf.detach(), seed)
            pushed = forward_ad.unpack_dual(self.model.run(dual.clone())).tangent
            return torch.zeros_like(self.output) if pushed is None else pushed.clone()

    def _is_adjoint(self, u: torch.Tensor, pushed: torch.Tensor) -> bool:
        """<J u, J u> = <J^T J u, u>: sees derivatives of a derivative that were cut off."""
        w = torch.randn(
            pushed.shape, generator=torch.Generator().manual_seed(1), dtype=pushed.dtype
        )
        w = w.to(pushed.device)
        pulled = _zero_if_none(_grad(self.output, self.leaf, w), self.leaf)
        left, right = (w * pushed).double(), (pulled * u).double()
        size = max(float(left.abs().sum()), float(right.abs().sum()))
        return not abs(float(left.sum() - right.sum())) > ADJOINT[pushed.dtype] * size


def at(model: Model, batch: Any, like: Any, *, copy: bool) -> TorchPoint:
    """Runs the model once at the batch (n, *in), with a graph; its value is of the kind of `like`.
    `copy`: the model writes into its input."""
    random = model.around.random
    with model.around.running(graph=True):
        leaf = owned(batch, model.device, model.layout)
        output = model.run(leaf.clone() if copy else leaf)
    # The graph may hold the output itself: the caller gets another array.
    return TorchPoint(model, leaf, output, back(output.detach().clone(), like), random)


def _grad(
    output: torch.Tensor,
    leaf: torch.Tensor,
    seed: torch.Tensor,
    *,
    create_graph: bool = False,
    is_grads_batched: bool = False,
) -> torch.Tensor | None:
    return torch.autograd.grad(
        output, leaf, seed, retain_graph=True, create_graph=create_graph, allow_unused=True,
        is_grads_batched=is_grads_batched,
    )[0]  # fmt: skip


def _zero_if_none(found: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like) if found is None else found


def _stacked(products: list[torch.Tensor], shape: tuple[int, ...], like: Any, given: Any) -> Any:
    if len(products) == 1:
        return back(products[0].reshape(shape), like, given)
    return back(torch.stack(products).reshape(shape), like)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]
