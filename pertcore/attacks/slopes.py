"""Do gradients say what the model does? A few samples' slopes against difference quotients."""

from __future__ import annotations

import numpy as np

from pertcore.arrays import beside
from pertcore.closed_form.norms import row_norms
from pertcore.oracle import Array, Oracle

# How far a probe moves the entry that moves most, as a share of the largest entry of x; the second
# is asked where the first disagrees.
MOVES = (1e-3, 1e-2)

# Rounding of a score in units of the last place, below which a change of scores says nothing.
ROUNDING = 100

# Slopes closer than this share of the gradient's are the same up to kinks and curvature.
APART = 0.5


def check_slopes(oracle: Oracle, x: Array) -> list[str]:
    """Warnings about the gradients at x (n, *in), a few samples; two or four forward runs each.

    J^T v is taken for a fixed random v, and <v, f> is moved along it both ways. A gradient that
    vanishes promises less change than the scores' rounding for a move as large as x; one that lies
    disagrees with every quotient that can be told from rounding.
    """
    lin = oracle.linearize(x)
    v = np.random.default_rng(0).standard_normal((1, *lin.value.shape[1:])).astype(oracle.dtype)
    v = beside(x, np.repeat(v, len(x), axis=0))
    gradient = lin.vjp(v).reshape(len(x), -1).astype(np.float64)
    noise = np.finfo(oracle.dtype).eps * np.abs(_rows(v) * _rows(lin.value)).sum(axis=1)
    reach = np.abs(_rows(x)).max(axis=1)
    reach[reach == 0] = 1
    length = row_norms(gradient, 2)
    sound = np.isfinite(length) & np.isfinite(noise)
    faint = sound & (length > 0) & (np.abs(gradient).sum(axis=1) * reach < noise)
    if np.any(faint):
        return [
            f"vanishing gradient: for {int(faint.sum())} of {len(x)} samples looked at, the "
            "gradient promises less change than the rounding of the scores: activations or a "
            "softmax are saturated; attack the logits, or rescale them"
        ]
    judged = sound & (length > 0)
    lies = judged.copy()
    for share in MOVES:
        if np.any(lies):
            lies &= _apart(oracle, x, v, gradient, share * reach, ROUNDING * noise)
    if 2 * np.count_nonzero(lies) <= np.count_nonzero(judged):
        return []
    return [
        f"gradient disagrees: for {int(lies.sum())} of {len(x)} samples looked at, the model does "
        "not change as its gradient says: a stand-in for a step, a wrong rule, or a defence that "
        "hides it; try attack='square', or differences by pertcore.from_function"
    ]


def _apart(
    oracle: Oracle, x: Array, v: Array, gradient: Array, move: Array, least: Array
) -> Array:  # fmt: skip
    """(n,) bool: the quotient along the gradient is far from its length, and no rounding."""
    length = np.maximum(row_norms(gradient, 2), np.finfo(np.float64).tiny)
    steps = gradient * (move / np.maximum(np.abs(gradient).max(axis=1), 1e-300))[:, None]
    steps = steps.reshape(x.shape).astype(x.dtype)
    ends = [np.sum(_rows(v) * _rows(oracle(x + side * steps)), axis=1) for side in (1, -1)]
    promised = 2 * row_norms(_rows(steps), 2) * length
    with np.errstate(invalid="ignore"):
        return (promised > least) & (np.abs(ends[0] - ends[1] - promised) > APART * promised)


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1).astype(np.float64)
