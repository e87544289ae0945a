"""Signs that make norm_2(J s)^2 large: the greedy rule of the paper, single flips, a relaxation.

`columns` is the transpose of J, (d, K) or (n, d, K) for n samples, float32 or float64: row k is
the column J_k. Columns may be zero, tied or of any scale; a budget that differs by coordinate is
a scaled column and a linear term one more column (Balda et al., (11)). Signs are +1 or -1 in the
dtype of `columns`, values float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pertcore.closed_form.sampling import random_on_sphere
from pertcore.kernels.catalogue import kernel
from pertcore.oracle import Array

RISE = 1e-4
"""The relaxation stops when a sweep raises its value by less than this share."""
SAFE = {"f": (1e-9, 1e9), "d": (1e-60, 1e60)}


def column_norms(columns: Array) -> Array:
    """norm_2(J_k) of every column, (d,) or (n, d) float64."""
    batch, exponents = scaled(columns)
    squares = np.empty(batch.shape[:2])
    kernel("column_squares")(batch, squares)
    return _like(columns, np.ldexp(np.sqrt(squares), exponents[:, None]))


def greedy_signs(columns: Array) -> Array:
    """Signs by (19) of Balda et al., (d,) or (n, d): `method="paper"`.

    Columns by decreasing norm, ties by index; s_1 = 1, then s_z = sign(sum_{j<z} s_j J_j . J_z)
    with sign(0) = +1. Norms are compared in ten digits, so that columns which differ by rounding
    alone are tied.
    """
    batch, _ = scaled(columns)
    signs = np.empty(batch.shape[:2], batch.dtype)
    kernel("greedy_signs")(batch, signs)
    return _like(columns, signs)


def one_opt(columns: Array, signs: Array, *, max_sweeps: int = 8) -> tuple[Array, Any]:
    """Flips single signs while that raises norm_2(J s)^2; returns signs and value.

    Sign i is flipped iff s_i J_i . J s < norm_2(J_i)^2, in index order, until a sweep changes
    nothing: then no single flip raises the value by more than rounding. `signs` is not changed.
    The value is a float for (d, K) and (n,) for (n, d, K).
    """
    batch, exponents = scaled(columns)
    start = np.ascontiguousarray(signs, dtype=batch.dtype).reshape(batch.shape[:2])
    better, values = np.empty_like(start), np.empty(len(batch))
    kernel("one_opt")(batch, start, int(max_sweeps), better, values)
    return _like(columns, better), _values(columns, values, exponents)


def sign_ascent(columns: Array, signs: Array, *, max_steps: int = 50) -> tuple[Array, float]:
    """s <- sign(J^T J s) until nothing changes; returns signs (d,) and norm_2(J s)^2.

    Each step maximises the tangent of a convex function, so the value never falls (the
    generalised power method: Journee, Nesterov, Richtarik and Sepulchre 2010). Where the gradient
    is 0 the sign stays. `columns` is (d, K).
    """
    batch, exponents = scaled(columns)
    one, best = batch[0], np.array(signs, dtype=batch.dtype)
    image = best @ one
    value = norm_square(image)
    for _ in range(max_steps):
        slope = one @ image
        moved = np.where(slope == 0, best, np.where(slope < 0, -1, 1)).astype(batch.dtype)
        image = moved @ one
        risen = norm_square(image)
        if not risen > value:
            break
        best, value = moved, risen
    return best, float(_values(columns, np.array([value]), exponents))


def mixing(
    columns: Array,
    *,
    rank: int = 8,
    sweeps: int = 20,
    keys: Any = 0,
    rise: float = RISE,
    gram: Array | None = None,
) -> tuple[Array, Array]:
    """Unit rows V (d, rank) that make norm_F(W)^2 large, and W = J V (K, rank).

    The semidefinite relaxation of max norm_2(J s)^2 in factored form, by coordinates: row i turns
    to W^T J_i - norm_2(J_i)^2 v_i (the mixing method: Wang, Chang and Kolter 2017), at most
    `sweeps` times, until a sweep raises the value by less than the share `rise`. `keys` is a
    number or uint64 (n,), one a sample, for the random start. Zero columns keep theirs.
    For (n, d, K) the results are (n, d, rank) and (n, K, rank). `gram` (d, d), J^T J in the dtype
    of columns (d, K), halves the work where it is at hand.
    """
    batch, exponents = scaled(columns)
    n, d, width = batch.shape
    start = _directions(keys, n, d, rank, batch.dtype)
    if gram is not None and n == 1 and not exponents[0]:
        rows = np.empty_like(start)
        kernel("gram_mixing")(gram, start[0], int(sweeps), float(rise), rows[0])
        return _like(columns, rows), _like(columns, batch.transpose(0, 2, 1) @ rows)
    rows, image = np.empty_like(start), np.empty((n, width, rank), batch.dtype)
    kernel("mixing")(batch, start, int(sweeps), float(rise), rows, image)
    with np.errstate(over="ignore"):
        image = np.ldexp(image, exponents[:, None, None]) if np.any(exponents) else image
    return _like(columns, rows), _like(columns, image)


def hyperplane_round(rows: Array, count: int, keys: Any = 0) -> Array:
    """Signs (count, d) of V g for `count` random g, V (d, k): Goemans and Williamson 1995."""
    normals = _directions(keys, 1, count, rows.shape[1], rows.dtype, draw=1)[0]
    return signs_of(normals @ rows.T)


def signs_of(values: Array) -> Array:
    """+1 or -1 in the dtype of `values`, +1 at zero."""
    return np.where(values < 0, -1, 1).astype(values.dtype)


def norm_square(image: Array) -> float:
    wide = image.astype(np.float64)
    return float(wide @ wide)


def scaled(columns: Array) -> tuple[Array, Array]:
    """columns as (n, d, K) in C order, a power of two apart from the given: 2^exponents (n,).

    No square may leave the range of the dtype. Columns of a common scale are handed on as they are.
    """
    batch = np.ascontiguousarray(columns)
    batch = batch if batch.ndim == 3 else batch[None]
    exponents = np.zeros(len(batch), dtype=np.int64)
    if not batch.size:
        return batch, exponents
    largest = np.maximum(batch.max(axis=(1, 2)), -batch.min(axis=(1, 2))).astype(np.float64)
    least, most = SAFE[batch.dtype.char]
    wild = np.isfinite(largest) & (largest > 0) & ~((largest >= least) & (largest <= most))
    if np.any(wild):
        exponents[wild] = np.frexp(largest[wild])[1]
        batch = np.ldexp(batch, -exponents[:, None, None])
    return batch, exponents


def _directions(keys: Any, n: int, d: int, rank: int, dtype: Any, draw: int = 0) -> Array:
    """Random unit rows (n, d, rank), one key a sample."""
    words = np.broadcast_to(np.asarray(keys).astype(np.uint64), (n,))
    rows = random_on_sphere(words, draw, np.ones(n), 2.0, d * rank, np.float64)
    rows = rows.reshape(n, d, rank)
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(dtype)


def _like(columns: Array, batch: Array) -> Array:
    return batch if np.ndim(columns) == 3 else batch[0]


def _values(columns: Array, values: Array, exponents: Array) -> Any:
    with np.errstate(over="ignore"):
        values = np.ldexp(values, 2 * exponents)
    return values if np.ndim(columns) == 3 else float(values[0])
