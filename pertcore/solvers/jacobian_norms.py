"""Norms and singular vectors of the Jacobian of a model at points, each with what is proved."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from pertcore.closed_form import sampling
from pertcore.constraints import parse_norm
from pertcore.errors import InputError, PertcoreWarning
from pertcore.oracle import Array, Oracle
from pertcore.solvers import columns, quadratic
from pertcore.solvers.jacobian import linearized, shaped
from pertcore.solvers.lanczos import FAILURE, Spectrum, singular
from pertcore.solvers.longest import largest_column
from pertcore.solvers.products import Products

# A Jacobian with so few rows or columns is taken whole: that costs less than Lanczos.
FEW = 64
# Pairs after which the probabilistic bound is within some 7 % of the value.
CERTIFYING = 30
# Raises what is exact but for the rounding of the model's products, by itemsize.
ROUNDING = {4: 1e-5, 8: 1e-12}

EXACT = "exact up to rounding"
CHANCE = f"wrong with probability {FAILURE:g} over the random start"


@dataclass(frozen=True)
class OperatorNorm:
    """||J||_{p -> 2} at n points, or at one: then every array below is a number.

    value (n,) float64: reached by `vector`, so a lower bound; upper (n,): a bound from above, and
    `kind` how sure it is; vector (n, *sample) of p-norm 1; residual (n,): ||J^T u - s v|| of the
    singular pair for p = 2, 0 for others; pairs (n,): products J v, each with one J^T u; 0 where
    J was swept. method: how the value was found.
    """

    p: float
    value: Any
    upper: Any
    kind: str
    vector: Array
    residual: Any
    pairs: Any
    method: str

    def __str__(self) -> str:
        values, uppers = np.atleast_1d(self.value), np.atleast_1d(self.upper)
        name = f"||J||_{{{self.p:g} -> 2}}"
        bound = f"at most {_range(uppers)}" if np.all(np.isfinite(uppers)) else "no bound"
        return f"{name} = {_range(values)}, {bound} ({self.kind}); {self.method}"

    __repr__ = __str__


@dataclass(frozen=True)
class SingularVectors:
    """The r largest singular triplets of J at n points, or at one: then the first axis is gone.

    values (n, r) float64, falling; right (n, r, *sample); left (n, r, *output); residual (n, r):
    ||J^T u_i - s_i v_i||, so that some singular value lies that near to s_i. Values met more than
    once may be listed once. pairs (n,): products J v with one J^T u each; 0 where J was swept.
    """

    values: Array
    right: Array
    left: Array
    residual: Array
    pairs: Any

    def __str__(self) -> str:
        if self.values.ndim == 1:
            listed = ", ".join(f"{value:.6g}" for value in self.values)
            return f"singular values {listed} (residual <= {self.residual.max(initial=0):.1e})"
        n, count = self.values.shape
        return (
            f"{count} singular values of {n} Jacobians, the first {_range(self.values[:, 0])} "
            f"(residual <= {self.residual.max(initial=0):.1e})"
        )

    __repr__ = __str__


def singular_vectors(
    model: Oracle,
    x: Any,
    count: int = 1,
    *,
    tolerance: float = 1e-4,
    max_pairs: int = 300,
    max_memory: Any = columns.MAX_MEMORY,
    rng: int = 0,
) -> SingularVectors:
    """The `count` largest singular values of J at x with their vectors, from J v and J^T u alone.

    x: (*sample) or (n, *sample). tolerance: the residual over the largest value at which a sample
    is done; max_pairs: products after which it is done anyway. max_memory: bytes, or text such as
    "2GB", of the vectors that are kept. Raises InputError for a wrong call, CapabilityError where
    the model lacks J u or J^T v.
    """
    memory = _checked(max_memory, rng, tolerance, max_pairs=max_pairs)
    products, _, batched = linearized(model, x)
    most = min(products.d, products.outputs)
    if isinstance(count, bool) or not isinstance(count, Integral) or not 1 <= count <= most:
        raise InputError(f"count={count!r}: this Jacobian has 1 to {most} singular values")
    count = int(count)
    found = triplets(
        products, count, tolerance=tolerance, max_pairs=max_pairs, max_memory=memory, rng=rng
    )
    pulled = np.moveaxis(products.pull(np.moveaxis(found.left, 1, 0)), 0, 1)
    rest = np.linalg.norm(pulled - found.values[:, :, None] * found.right, axis=2)
    _warn(found.values[:, 0])
    first = slice(None) if batched else 0
    return SingularVectors(
        found.values[first], shaped(found.right, products.input_shape, batched),
        shaped(found.left, products.output_shape, batched), rest[first], found.pairs[first],
    )  # fmt: skip


def spectral_norm(
    model: Oracle,
    x: Any,
    *,
    tolerance: float = 1e-3,
    min_pairs: int = CERTIFYING,
    max_pairs: int = 300,
    max_memory: Any = columns.MAX_MEMORY,
    rng: int = 0,
) -> OperatorNorm:
    """sigma_max of J at x, with a bound from above (12), (13).

    x: (*sample) or (n, *sample). Golub-Kahan-Lanczos until the residual is below tolerance *
    sigma_max and min_pairs are done; the bound is Kuczynski and Wozniakowski's (1992): +7 % at 30
    pairs, +2 % at 50, +0.5 % at 100. A J of at most 64 rows or columns is taken whole, and the
    value is exact. Raises InputError, CapabilityError as `singular_vectors`.
    """
    memory = _checked(max_memory, rng, tolerance, min_pairs=min_pairs, max_pairs=max_pairs)
    products, _, batched = linearized(model, x)
    found = triplets(
        products, 1, tolerance=tolerance, min_pairs=min_pairs, max_pairs=max_pairs,
        max_memory=memory, rng=rng,
    )  # fmt: skip
    # an exhausted Krylov space has met every singular value, unless the start was against it
    sure = bool(np.all(found.exhausted))
    method = "Golub-Kahan-Lanczos" if np.any(found.pairs) else "all of J"
    return _norm(
        2.0, found.values[:, 0], found.upper, EXACT if sure else CHANCE, found.right[:, 0],
        found.residual, found.pairs, f"{method}{_after(found.pairs)}", products, batched,
    )  # fmt: skip


def operator_norm(
    model: Oracle,
    x: Any,
    p: float | str,
    q: float | str = 2,
    *,
    max_memory: Any = columns.MAX_MEMORY,
    rng: int = 0,
) -> OperatorNorm:
    """||J||_{p -> 2} = max ||J eta||_2 over ||eta||_p <= 1 at x, with a bound from above.

    x: (*sample) or (n, *sample); p in [1, inf], q is 2. p = 1 is the longest column (14), exact,
    or right with a probability that `kind` names; p = 2 is `spectral_norm`; p = inf is NP-hard:
    signs from many starts, with a dual bound; other p as `kind` says. Raises InputError for other
    orders, CapabilityError as `singular_vectors`.
    """
    order = parse_norm(p)
    if parse_norm(q) != 2:
        raise InputError(f"q={q!r}: only norms into l2 are computed, q=2")
    memory = _checked(max_memory, rng)
    if order == 2:
        return spectral_norm(model, x, max_memory=memory, rng=rng)
    products, _, batched = linearized(model, x)
    if order == 1:
        return _longest(products, memory, rng, batched)
    points = np.zeros((len(products), products.d), products.dtype)
    keys = sampling.sample_keys(rng, np.arange(len(products)))
    found = quadratic.largest(
        quadratic.Question(
            products, None, np.ones(len(products)), order, keys, points, max_memory=memory
        )
    )
    nothing = np.zeros(len(products))
    return _norm(
        order, np.sqrt(found.value), np.sqrt(found.upper), found.proof, found.eta, nothing,
        nothing.astype(int), "the best eta found", products, batched,
    )  # fmt: skip


def _checked(max_memory: Any, rng: Any, tolerance: float = 0.0, **pairs: Any) -> int:
    """`max_memory` in bytes; InputError for it or for another number that is wrong."""
    for name, value, least in (("rng", rng, 0), *((name, pairs[name], 1) for name in pairs)):
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise InputError(f"{name}={value!r}: a whole number >= {least}")
    if isinstance(tolerance, str) or not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance={tolerance!r}: a finite number >= 0")
    return columns.parse_memory(max_memory)


def triplets(
    products: Products,
    count: int,
    *,
    tolerance: float,
    max_pairs: int,
    max_memory: int,
    min_pairs: int = 1,
    rng: int = 0,
) -> Spectrum:
    """`lanczos.singular` from random starts; a J of few rows or columns is taken whole instead."""
    n, d, outputs = len(products), products.d, products.outputs
    if products.sweep <= FEW / 2 * sum(products.prices) and columns.size(products) <= max_memory:
        return whole(products, count)
    keys = sampling.sample_keys(rng, np.arange(n))
    start = sampling.random_on_sphere(keys, 0, np.ones(n), 2.0, d, products.dtype)
    vector = n * (d + outputs) * products.dtype.itemsize
    found = singular(
        products, start, count=count, tolerance=tolerance, min_pairs=min_pairs,
        max_pairs=max_pairs, longest=max(8, max_memory // max(vector, 1)),
    )  # fmt: skip
    # Lanczos takes a product that is not finite for zero
    zero = np.flatnonzero(found.values[:, 0] == 0)
    if len(zero):
        images = products.take(zero).push(start[zero])
        _mark(found, zero[~np.isfinite(images).all(axis=1)])
    return found


def whole(products: Products, count: int) -> Spectrum:
    """The singular triplets of J, every column at hand; 0 pairs."""
    held = columns.explicit(products, max_memory=columns.size(products)).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(held).all(axis=(1, 2)))
    held[broken] = 0
    right, values, left = np.linalg.svd(held, full_matrices=False)
    n, kind = len(products), products.dtype
    upper = values[:, 0] * (1 + ROUNDING[kind.itemsize])
    found = Spectrum(
        values[:, :count], right[:, :, :count].transpose(0, 2, 1).astype(kind),
        left[:, :count].astype(kind), np.zeros(n), upper, np.ones(n, bool), np.zeros(n, int),
    )  # fmt: skip
    _mark(found, broken)
    return found


def _mark(found: Spectrum, broken: Array) -> None:
    """NaN for samples whose Jacobian is not finite."""
    found.values[broken] = found.upper[broken] = np.nan
    found.right[broken] = found.left[broken] = np.nan


def _warn(values: Array) -> None:
    broken = int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        warnings.warn(
            f"the Jacobian is not finite at {broken} of {len(values)} samples: check the scale of "
            "the inputs, or whether the model has a derivative there",
            PertcoreWarning, stacklevel=4,
        )  # fmt: skip


def _longest(products: Products, memory: int, rng: int, batched: bool) -> OperatorNorm:
    found = largest_column(products, max_memory=memory, rng=rng)
    vector = np.zeros((len(products), products.d), products.dtype)
    np.put_along_axis(vector, found.index[:, None], 1, axis=1)
    exact = found.kind == "exact"
    nothing = np.zeros(len(products))
    method = f"{found.method}, {found.jvps} products J v and {found.vjps} J^T u"
    return _norm(
        1.0, found.norm, found.norm * (1 + ROUNDING[products.dtype.itemsize]),
        EXACT if exact else found.kind, vector, nothing, nothing.astype(int), method, products,
        batched,
    )  # fmt: skip


def _norm(
    p: float, value: Array, upper: Array, kind: str, vector: Array, residual: Array, pairs: Array,
    method: str, products: Products, batched: bool,
) -> OperatorNorm:  # fmt: skip
    _warn(value)
    first = slice(None) if batched else 0
    made = shaped(vector.astype(products.dtype), products.input_shape, batched)
    return OperatorNorm(
        p, value[first], np.maximum(upper, value)[first], kind, made, residual[first],
        pairs[first], method,
    )  # fmt: skip


def _after(pairs: Array) -> str:
    if not np.any(pairs):
        return ""
    low, high = int(pairs.min()), int(pairs.max())
    return f", {low} pairs" if low == high else f", {low} to {high} pairs"


def _range(values: Array) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.6g}" if len(values) == 1 or low == high else f"{low:.6g} to {high:.6g}"
