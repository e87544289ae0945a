"""Signs that make norm_2(J s) large, in NumPy: (19) of Balda et al., its repairs, a relaxation.

`columns` (n, d, K) holds for each sample the transpose of J, so that a column of J is a row that
lies together. Values and running sums are float64; signs are +1 or -1 in the dtype of `columns`.
"""

from __future__ import annotations

import numpy as np

from pertcore.kernels.definitions.sampling import keyed_words, unit_of
from pertcore.oracle import Array

KEPT_BITS = 32
"""Digits of a squared norm that are compared: columns equal up to rounding count as tied."""
FLIP_NOISE = 1e-13
"""A flip must raise the value by more than this share of norm_2(column) norm_2(J s)."""
STILL = 64
"""A gradient of fewer units in the last place of the column's square has no direction."""
SWEEPS = 50
KICK = 0
SHARES = (0.02, 0.05)
"""What share of the signs every other kick flips at random, in turn."""
CAP = (0.2, 0.98)
"""Between these lies the cosine with one row above which the other kicks flip signs."""


def column_squares(columns: Array, out: Array) -> None:
    wide = columns.astype(np.float64)
    out[:] = (wide * wide).sum(axis=2)


def norm_order(squares: Array) -> Array:
    """Indices of squares (d,) by decreasing value in KEPT_BITS digits, ties by index."""
    dropped = np.uint64(52 - KEPT_BITS)
    half = np.uint64(1) << (dropped - np.uint64(1))
    keys = (squares.view(np.uint64) + half) >> dropped
    return np.argsort(-keys.astype(np.int64), kind="stable")


def greedy_signs(columns: Array, out: Array) -> None:
    squares = np.empty(columns.shape[:2])
    column_squares(columns, squares)
    for k in range(len(columns)):
        image = np.zeros(columns.shape[2])
        for i in norm_order(squares[k]):
            column = columns[k, i].astype(np.float64)
            out[k, i] = -1 if image @ column < 0 else 1
            image += out[k, i] * column


def one_opt(columns: Array, signs: Array, sweeps: int, out: Array, values: Array) -> None:
    squares = np.empty(columns.shape[:2])
    column_squares(columns, squares)
    out[:] = signs
    for k in range(len(columns)):
        wide = columns[k].astype(np.float64)
        image = out[k].astype(np.float64) @ wide
        for _ in range(sweeps):
            if not _sweep(wide, squares[k], out[k], image):
                break
        values[k] = image @ image


def _sweep(wide: Array, squares: Array, signs: Array, image: Array) -> bool:
    flipped, value = False, image @ image
    for i in range(len(wide)):
        rise = squares[i] - signs[i] * (wide[i] @ image)
        if rise > FLIP_NOISE * np.sqrt(squares[i] * value):
            image -= 2.0 * signs[i] * wide[i]
            signs[i] = -signs[i]
            flipped, value = True, value + 4.0 * rise
    return flipped


def mixing(
    columns: Array, start: Array, sweeps: int, rise: float, rows: Array, image: Array
) -> None:
    rows[:] = start
    for k in range(len(columns)):
        wide, v = columns[k].astype(np.float64), rows[k].astype(np.float64)
        squares = (wide * wide).sum(axis=1)
        w = wide.T @ v
        noise = STILL * np.finfo(columns.dtype).eps * squares
        for _ in range(sweeps):
            risen = 0.0
            for i in range(len(wide)):
                g = wide[i] @ w - squares[i] * v[i]
                size = np.sqrt(g @ g)
                if not size > noise[i]:
                    continue
                moved = g / size - v[i]
                risen += 2.0 * (size - g @ v[i])
                v[i] += moved
                w += np.outer(wide[i], moved)
            if risen <= rise * (w * w).sum():
                break
        rows[k], image[k] = v, w


def gram_mixing(gram: Array, start: Array, sweeps: int, rise: float, rows: Array) -> None:
    """`mixing` on G = J^T J, with trace V^T G V for norm_F(W)^2."""
    wide, v = gram.astype(np.float64), start.astype(np.float64)
    noise = STILL * np.finfo(gram.dtype).eps * wide.diagonal()
    value = float((v * (wide @ v)).sum())
    for _ in range(sweeps):
        risen = 0.0
        for i in range(len(wide)):
            g = wide[i] @ v - wide[i, i] * v[i]
            size = np.sqrt(g @ g)
            if size > noise[i]:
                risen += 2.0 * (size - g @ v[i])
                v[i] = g / size
        value += risen
        if risen <= rise * value:
            break
    rows[:] = v


def gram_search(
    gram: Array,
    rows: Array,
    signs: Array,
    keys: Array,
    kicks: int,
    out: Array,
    values: Array,
) -> None:
    """From each of signs (m, d) the climb by single flips, then kicks that are kept if better.

    rows (d, r) are those of the relaxation: where s_i s_j v_i . v_j is near 1 the signs i and j
    hang together, and turn together.
    """
    wide, frame = gram.astype(np.float64), rows.astype(np.float64)
    for k in range(len(signs)):
        best = signs[k].astype(np.float64)
        value = _climb(wide, best)
        for t in range(kicks):
            tried = np.where(_kicked(keys[k : k + 1], t, best, frame), -best, best)
            risen = _climb(wide, tried)
            if risen > value:
                best, value = tried, risen
        out[k], values[k] = best, value


def _kicked(key: Array, t: int, signs: Array, frame: Array) -> Array:
    """Which signs kick t flips."""
    words = unit_of(keyed_words(key, t, KICK, np.arange(max(len(signs), 2)))[0])
    if t % 2 == 0:
        return words[: len(signs)] < SHARES[t // 2 % len(SHARES)]
    place, level = int(words[0] * len(signs)), CAP[0] + (CAP[1] - CAP[0]) * words[1]
    return signs * signs[place] * (frame @ frame[place]) > level


def _climb(gram: Array, signs: Array) -> float:
    """Single flips while they raise s . G s, in place; returns that value."""
    slope, diagonal = gram @ signs, gram.diagonal()
    value = float(signs @ slope)
    for _ in range(SWEEPS):
        before = value
        for i in range(len(signs)):
            rise = diagonal[i] - signs[i] * slope[i]
            if rise > 0 and rise > FLIP_NOISE * np.sqrt(diagonal[i] * max(value, 0.0)):
                slope -= 2.0 * signs[i] * gram[i]
                signs[i] = -signs[i]
                value += 4.0 * rise
        if value == before:
            break
    return value
