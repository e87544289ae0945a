"""Any callable as an oracle; what it does not differentiate itself is taken by differences."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pertcore.adapters.blocks import contract, each
from pertcore.adapters.differences import along, columns
from pertcore.adapters.shapes import as_batch, as_many, checked_dtype, checked_shape
from pertcore.errors import InputError, PertcoreWarning
from pertcore.oracle import Array, Calls

logger = logging.getLogger(__name__)
Product = Callable[[Array, Array], Any]
MAX_MEMORY = 1 << 28


def from_function(
    f: Callable[[Array], Any],
    vjp: Product | None = None,
    jvp: Product | None = None,
    *,
    input_shape: int | tuple[int, ...],
    output_shape: int | tuple[int, ...] | None = None,
    dtype: Any = np.float32,
    max_memory: int = MAX_MEMORY,
) -> FunctionOracle:
    """Oracle of a callable on NumPy batches: f(x), vjp(x, cotangent), jvp(x, tangent).

    f maps (n, *input_shape) to (n, *output_shape); vjp maps ((n, *in), (n, *out)) to (n, *in)
    and jvp ((n, *in), (n, *in)) to (n, *out). With output_shape None, f is called once on zeros.
    Without vjp and jvp both are central differences, in float64 where f keeps float64: J u from
    2 runs of f per sample, J^T v from 2 d runs (d = prod(input_shape)), whatever the number of
    cotangents. With one of the two the other is exact, from d JVPs or K VJPs. Work arrays stay
    below `max_memory` bytes (and one row); what f itself allocates is its own.

    Warns (PertcoreWarning) where J^T v is approximated or costly. Raises InputError when f
    returns another batch length or shape.
    """
    shape = checked_shape(input_shape, "input_shape")
    kind = checked_dtype(dtype)
    calls = Calls()
    if output_shape is None:
        calls.f += 1
        out = np.shape(f(np.zeros((1, *shape), kind)))
        if len(out) < 2 or out[0] != 1:
            raise InputError(
                f"f gave shape {out} for one sample: expected (1, ...), as many rows as samples"
            )
        output_shape = out[1:]
    shapes = (shape, checked_shape(output_shape, "output_shape"))
    oracle = FunctionOracle(f, vjp, jvp, *shapes, kind, max_memory, calls)
    if vjp is None:
        warnings.warn(oracle.notes[0], PertcoreWarning, stacklevel=2)
    return oracle


@dataclass(eq=False)
class FunctionOracle:
    """What `from_function` returns; `notes` says what is approximated and what it costs."""

    f: Callable[[Array], Any]
    given_vjp: Product | None
    given_jvp: Product | None
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    max_memory: int
    calls: Calls
    _wide: np.dtype[Any] | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    @property
    def capabilities(self) -> frozenset[str]:
        exact = self.given_vjp is not None or self.given_jvp is not None
        return frozenset({"vjp", "jvp", "take"} | ({"exact"} if exact else set()))

    @property
    def notes(self) -> tuple[str, ...]:
        d, k = math.prod(self.input_shape), math.prod(self.output_shape)
        if self.given_vjp is None and self.given_jvp is None:
            return (
                f"no vjp and no jvp given: both are approximated by central differences; a "
                f"gradient costs {2 * d} model runs per sample, a jvp 2",
            )
        if self.given_vjp is None:
            return (f"no vjp given: a gradient is exact but costs {d} JVPs per sample",)
        if self.given_jvp is None:
            return (f"no jvp given: a jvp is exact but costs {k} VJPs per sample",)
        return ()

    @property
    def prices(self) -> tuple[float, float]:
        """What J u and J^T v cost, in products of the kind that was given."""
        push = math.prod(self.output_shape) if self.given_jvp is None and self.given_vjp else 1
        return float(push), float(math.prod(self.input_shape) if self.given_vjp is None else 1)

    def __call__(self, x: Array) -> Array:
        batch = as_batch(x, self.input_shape, self.dtype)
        return self.run(batch).astype(self.dtype, copy=False)

    def linearize(self, x: Array) -> FunctionPoint:
        batch = as_batch(x, self.input_shape, self.dtype)
        return FunctionPoint(self, batch, self.run(batch).astype(self.dtype, copy=False))

    def run(self, batch: Array) -> Array:
        """f on (n, *in) of any float dtype, counted and checked; the dtype is what f returns."""
        self.calls.f += len(batch)
        if len(batch) == 0:
            return np.zeros((0, *self.output_shape), batch.dtype)
        return self._checked(self.f(batch), len(batch), self.output_shape, "f")

    def product(self, given: Product, batch: Array, vectors: Array, to: tuple[int, ...]) -> Array:
        """A given vjp or jvp on rows (r, *in) and shaped vectors; flat (r, m), checked."""
        result = self._checked(given(batch, vectors), len(batch), to, "vjp or jvp")
        return result.reshape(len(batch), math.prod(to))

    def wide(self, batch: Array) -> np.dtype[Any]:
        """float64 where f takes it and computes in it, else the oracle's own dtype; tried once."""
        if self._wide is None:
            self._wide = self.dtype if self.dtype == np.float64 else self._try_wide(batch)
        return self._wide

    def tell_once(self) -> None:
        """Warn on the first jvp that costs K VJPs; nobody pays for it who never asks."""
        if not self._told:
            self._told = True
            warnings.warn(self.notes[0], PertcoreWarning, stacklevel=4)

    def _try_wide(self, batch: Array) -> np.dtype[Any]:
        self.calls.f += 1
        try:
            value = np.asarray(self.f(batch[:1].astype(np.float64)))
        except Exception as error:  # noqa: BLE001  a foreign model may refuse float64 in any way
            logger.info("f refuses float64 (%s): differences in %s", error, self.dtype)
            return self.dtype
        # A model that computes in float32 and only returns float64 would drown small steps.
        with np.errstate(over="ignore"):
            keeps = value.dtype == np.float64 and not np.all(value == value.astype(np.float32))
        return value.dtype if keeps else self.dtype

    def _checked(self, result: Any, n: int, shape: tuple[int, ...], name: str) -> Array:
        array = np.asarray(result)
        if array.shape != (n, *shape):
            raise InputError(
                f"{name} returned shape {array.shape} for a batch of {n}: expected {(n, *shape)}"
            )
        return array


@dataclass(frozen=True, eq=False)
class FunctionPoint:
    """A callable at x (n, *in): products call the given derivatives, or f at points nearby."""

    oracle: FunctionOracle
    x: Array
    value: Array

    def take(self, index: Array) -> FunctionPoint:
        return FunctionPoint(self.oracle, self.x[index], self.value[index])

    def vjp(self, cotangent: Array) -> Array:
        oracle, n = self.oracle, len(self.x)
        flat = as_many(cotangent, n, oracle.output_shape, oracle.dtype)
        many = flat if flat.ndim == 3 else flat[None]
        oracle.calls.vjp += len(many) * n
        return self._vjp(many).reshape(*flat.shape[:-1], *oracle.input_shape)

    def jvp(self, tangent: Array) -> Array:
        oracle, n = self.oracle, len(self.x)
        flat = as_many(tangent, n, oracle.input_shape, oracle.dtype)
        many = flat if flat.ndim == 3 else flat[None]
        oracle.calls.jvp += len(many) * n
        return self._jvp(many).reshape(*flat.shape[:-1], *oracle.output_shape)

    def error(self, rng: np.random.Generator | int = 0) -> Array:
        """(n,) float64 relative error estimate of the differences, 0 where they are exact.

        ||D_h u - D_2h u|| / ||D_h u|| along one random direction u, D_h the central difference
        of step h: three times the truncation error of D_h, plus round-off; costs 4 model runs
        per sample.
        """
        if "exact" in self.oracle.capabilities:
            return np.zeros(len(self.x))
        u = np.random.default_rng(rng).standard_normal((len(self.x), self._d))
        near, far = (self._difference(u, widen).astype(np.float64) for widen in (1.0, 2.0))
        size = np.linalg.norm(near, axis=1)
        return np.linalg.norm(near - far, axis=1) / np.where(size > 0, size, 1.0)

    @property
    def _d(self) -> int:
        return math.prod(self.oracle.input_shape)

    @property
    def _k(self) -> int:
        return math.prod(self.oracle.output_shape)

    @property
    def _bytes(self) -> int:
        return 8 * (4 * self._d + 3 * self._k)

    def _vjp(self, many: Array) -> Array:
        oracle, budget = self.oracle, (self._bytes, self.oracle.max_memory)
        if oracle.given_vjp is not None:
            return each(self._pulled(oracle.given_vjp), many, self._d, *budget)
        if oracle.given_jvp is not None:
            oracle.calls.jvp += len(self.x) * self._d
            lines = self._units(self._pushed(oracle.given_jvp), self._d)
            return contract(lines, many, self._d, *budget)
        wide = oracle.wide(self.x)
        lines = columns(oracle.run, self.x.astype(wide, copy=False))
        return contract(lines, many, self._d, *budget)

    def _jvp(self, many: Array) -> Array:
        oracle, budget = self.oracle, (self._bytes, self.oracle.max_memory)
        if oracle.given_jvp is not None:
            return each(self._pushed(oracle.given_jvp), many, self._k, *budget)
        if oracle.given_vjp is not None:
            oracle.tell_once()
            oracle.calls.vjp += len(self.x) * self._k
            lines = self._units(self._pulled(oracle.given_vjp), self._k)
            return contract(lines, many, self._k, *budget)
        wide = oracle.wide(self.x)
        slopes = along(oracle.run, self.x.astype(wide, copy=False))
        return each(slopes, many, self._k, *budget)

    def _difference(self, u: Array, widen: float) -> Array:
        wide = self.oracle.wide(self.x)
        slopes = along(self.oracle.run, self.x.astype(wide, copy=False), widen)
        return each(slopes, u[None], self._k, self._bytes, self.oracle.max_memory)[0]

    def _pulled(self, given: Product) -> Callable[[Array, Array], Array]:
        oracle = self.oracle

        def product(sample: Array, v: Array) -> Array:
            shaped = v.reshape(len(v), *oracle.output_shape)
            return oracle.product(given, self.x[sample], shaped, oracle.input_shape)

        return product

    def _pushed(self, given: Product) -> Callable[[Array, Array], Array]:
        oracle = self.oracle

        def product(sample: Array, u: Array) -> Array:
            shaped = u.reshape(len(u), *oracle.input_shape)
            return oracle.product(given, self.x[sample], shaped, oracle.output_shape)

        return product

    def _units(
        self, product: Callable[[Array, Array], Array], size: int
    ) -> Callable[[Array, Array], Array]:
        def line(sample: Array, number: Array) -> Array:
            unit = np.zeros((len(sample), size), self.oracle.dtype)
            unit[np.arange(len(sample)), number] = 1
            return product(sample, unit)

        return line
