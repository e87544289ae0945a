"""The nouns of a constraint: norm order, budget, box and partition, parsed once at the boundary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array

CHANNELS = (1, 3, 4)
NAMES = {"inf": math.inf, "linf": math.inf, "l_inf": math.inf}


def parse_norm(norm: float | str, *, zero: bool = False) -> float:
    """Order p in [1, inf] of a norm given as 2, math.inf, "linf", "l2", "inf" or "1.5".

    With `zero` also 0, the number of entries that are not 0. Raises InputError for anything else,
    and for p < 1, which is no norm.
    """
    text = str(norm).strip().lower()
    try:
        order = NAMES[text] if text in NAMES else float(text.removeprefix("l"))
    except ValueError:
        order = math.nan
    if not (order >= 1 or (zero and order == 0)):
        raise InputError(f"norm={norm!r}: allowed are 'linf', 'l2', 'l1' or a number p >= 1")
    return order


def dual_order(norm: float) -> float:
    """q with 1/p + 1/q = 1; p = 1 gives inf and p = inf gives 1."""
    if norm == 1:
        return math.inf
    return 1.0 if math.isinf(norm) else norm / (norm - 1)


def parse_number(text: float | str, name: str) -> float:
    """A number given as such or as text such as "0.1" or "8/255"."""
    try:
        return float(Fraction(text.replace(" ", ""))) if isinstance(text, str) else float(text)
    except (ValueError, ZeroDivisionError, TypeError):
        raise InputError(f"{name}={text!r}: expected a number such as 0.1 or '8/255'") from None


def parse_eps(eps: Any, n: int) -> Array:
    """Budgets (n,) float64 in the units of x, from a scalar, text such as "8/255" or (n,)."""
    budgets = np.asarray(parse_number(eps, "eps") if isinstance(eps, str) else eps)
    if budgets.dtype.kind not in "iuf" or budgets.shape not in ((), (n,)):
        raise InputError(
            f"eps has dtype {budgets.dtype} and shape {budgets.shape}: expected one number, "
            f"text such as '8/255', or an array of {n} numbers, one a sample"
        )
    full = np.array(np.broadcast_to(budgets.astype(np.float64), (n,)))
    if not np.all((full >= 0) & np.isfinite(full)):
        raise InputError(f"eps={_worst(full)}: a budget is a finite number >= 0")
    return full


def _worst(values: Array) -> float:
    return float(values[~((values >= 0) & np.isfinite(values))][0])


@dataclass(frozen=True)
class Ball:
    """{delta: norm_p(delta) <= eps}; `eps` has shape (n,), float64, one budget a sample."""

    norm: float
    eps: Array

    def take(self, index: Array | slice) -> Ball:
        return Ball(self.norm, self.eps[index])


@dataclass(frozen=True)
class Box:
    """lo <= x_adv <= hi; each bound a Python float or an array (d,) in the dtype of x."""

    lo: float | Array
    hi: float | Array

    @property
    def bounded(self) -> bool:
        return bool(np.any(np.isfinite(self.lo)) or np.any(np.isfinite(self.hi)))


UNBOUNDED = Box(-math.inf, math.inf)


def parse_bounds(bounds: Sequence[Any] | None, shape: tuple[int, ...], dtype: Any) -> Box:
    """Box from (lo, hi), scalars or arrays that broadcast to the sample shape; None: unbounded.

    Bounds are rounded inward to the dtype, so that what is inside here is inside there.
    """
    if bounds is None:
        return UNBOUNDED
    try:
        if isinstance(bounds, str):
            raise TypeError
        lo, hi = (np.asarray(b, dtype=np.float64) for b in bounds)
        lo, hi = np.broadcast_arrays(lo, hi)
        np.broadcast_to(lo, shape)
    except (TypeError, ValueError):
        raise InputError(
            f"bounds={bounds!r}: expected (lo, hi), two numbers or two arrays that broadcast to "
            f"one sample of shape {shape}"
        ) from None
    if not np.all(lo <= hi):
        raise InputError(f"bounds={bounds!r}: every lower bound must be <= its upper bound")
    inner_lo, inner_hi = _round_inward(lo, +1, dtype), _round_inward(hi, -1, dtype)
    if lo.ndim == 0:
        return Box(float(inner_lo), float(inner_hi))
    flat = [np.ascontiguousarray(np.broadcast_to(b, shape).ravel()) for b in (inner_lo, inner_hi)]
    return Box(flat[0], flat[1])


def _round_inward(bound: Array, direction: int, dtype: Any) -> Array:
    with np.errstate(over="ignore"):
        near = bound.astype(dtype)
    wrong = near.astype(np.float64) < bound if direction > 0 else near.astype(np.float64) > bound
    return np.where(wrong, np.nextafter(near, near.dtype.type(direction * np.inf)), near)


@dataclass(frozen=True)
class Partition:
    """Disjoint subsets S_1..S_S of the d entries of a sample: `labels` (d,), -1 = frozen."""

    labels: Array
    count: int


def parse_partition(partition: Any, shape: tuple[int, ...]) -> Partition:
    """Partition from "pixels" (all channels of a pixel) or an integer array of the sample shape.

    Channels come first, or last where only the last of three axes has 1, 3 or 4 entries. Numbers
    that no entry has are closed up, so that every subset can be changed.
    """
    if isinstance(partition, str):
        if partition != "pixels":
            raise InputError(f"partition={partition!r}: allowed are 'pixels' or an integer array")
        return _pixels(shape)
    labels = np.asarray(partition)
    if labels.dtype.kind not in "iu" or labels.shape != shape:
        raise InputError(
            f"partition has dtype {labels.dtype} and shape {labels.shape}: expected integers of "
            f"shape {shape}, the number of each entry's subset, -1 = frozen"
        )
    if labels.size == 0 or labels.min() < -1 or labels.max() < 0:
        raise InputError("partition: subset numbers start at 0, -1 = frozen, and one is needed")
    flat = np.ascontiguousarray(labels.ravel(), dtype=np.int64)
    numbers, closed = np.unique(flat, return_inverse=True)
    frozen = int(numbers[0] == -1)
    return Partition(closed.reshape(-1).astype(np.int64) - frozen, len(numbers) - frozen)


def _pixels(shape: tuple[int, ...]) -> Partition:
    if len(shape) != 3:
        return Partition(np.arange(math.prod(shape), dtype=np.int64), math.prod(shape))
    channel_axis = 2 if shape[2] in CHANNELS and shape[0] not in CHANNELS else 0
    plane = tuple(s for axis, s in enumerate(shape) if axis != channel_axis)
    numbers = np.expand_dims(np.arange(math.prod(plane)).reshape(plane), channel_axis)
    labels = np.ascontiguousarray(np.broadcast_to(numbers, shape).ravel(), dtype=np.int64)
    return Partition(labels, math.prod(plane))
