"""Random points that belong to a sample: a hash of (key, draw, coordinate), in NumPy.

A draw is a stream of 64-bit words: word c is mix(base ^ GOLDEN * c), with mix the finaliser of
splitmix64 (Steele, Lea and Flood 2014), so that any word can be had without those before it.
"""

from __future__ import annotations

import math

import numpy as np

from pertcore.oracle import Array

GOLDEN = 0x9E3779B97F4A7C15
WORD = (1 << 64) - 1
BALL, SPHERE, ORDER = 1, 2, 3
PURPOSES = 4
# Counters of a stream: coordinate + (slot << 40); the radius takes a slot no coordinate uses.
SLOT = 40
RADIUS = 1 << 62
MARGIN = {"f": 2.0**-23, "d": 1e-13}


def mix(words: Array) -> Array:
    """Variant 13 of the splitmix64 finaliser, elementwise on uint64: a bijection."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _base(keys: Array, draw: int, purpose: int) -> Array:
    return mix(keys + np.uint64((GOLDEN * (draw * PURPOSES + purpose)) & WORD))


def _words(base: Array, counters: Array) -> Array:
    return mix(base[:, None] ^ (np.uint64(GOLDEN) * counters.astype(np.uint64)))


def keyed_words(keys: Array, draw: int, purpose: int, counters: Array) -> Array:
    """Words (n, c) of each key's stream for this draw and purpose (a number below PURPOSES)."""
    return _words(_base(keys, draw, purpose), counters)


def unit_of(words: Array) -> Array:
    """Uniform in (0, 1), on the odd multiples of 2^-53."""
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _signs(words: Array) -> Array:
    return 1.0 - 2.0 * (words & np.uint64(1)).astype(np.float64)


def _inner(eps: Array, out: Array) -> Array:
    """The largest number of out's dtype that is <= eps."""
    near = eps.astype(out.dtype)
    return np.where(near.astype(np.float64) > eps, np.nextafter(near, out.dtype.type(0)), near)


def random_ball(keys: Array, draw: int, eps: Array, norm: float, out: Array) -> None:
    base = _base(keys, draw, BALL)
    if math.isinf(norm):
        points = 2.0 * unit_of(_words(base, np.arange(out.shape[1]))) - 1.0
        out[:] = points * _inner(eps, out)[:, None].astype(np.float64)
        return
    points, total = _generalised_gaussian(base, norm, out.shape[1])
    total -= np.log(unit_of(_words(base, np.array([RADIUS]))[:, 0]))
    out[:] = points * _scale(total, eps, norm, out)[:, None]


def random_sphere(keys: Array, draw: int, eps: Array, norm: float, out: Array) -> None:
    base = _base(keys, draw, SPHERE)
    if math.isinf(norm):
        out[:] = _signs(_words(base, np.arange(out.shape[1]))) * _inner(eps, out)[:, None]
        return
    points, _ = _generalised_gaussian(base, norm, out.shape[1])
    # Relative to the largest entry, since abs(t)^p alone may vanish when p is large.
    points /= np.max(np.abs(points), axis=1, keepdims=True, initial=0)
    out[:] = points * _scale((np.abs(points) ** norm).sum(axis=1), eps, norm, out)[:, None]


def _scale(total: Array, eps: Array, norm: float, out: Array) -> Array:
    return eps * (1.0 - MARGIN[out.dtype.char]) / total ** (1.0 / norm)


def _generalised_gaussian(base: Array, norm: float, d: int) -> tuple[Array, Array]:
    """Independent coordinates of density proportional to exp(-abs(t)^p), and sum abs(t)^p."""
    words = _words(base, np.arange(d + d % 2))
    if norm == 2.0:
        first, second = np.split(unit_of(words), 2, axis=1)
        radius, angle = np.sqrt(-np.log(first)), 2.0 * math.pi * second
        points = np.hstack([radius * np.cos(angle), radius * np.sin(angle)])[:, :d]
        return points, (points * points).sum(axis=1)
    words = words[:, :d]
    if norm == 1.0:
        size = -np.log(unit_of(words))
        return _signs(words) * size, size.sum(axis=1)
    root = unit_of(words)
    gamma = _gamma(base, 1.0 + 1.0 / norm, d)
    points = _signs(words) * root * gamma ** (1.0 / norm)
    return points, (gamma * root**norm).sum(axis=1)


def _gamma(base: Array, shape: float, d: int) -> Array:
    """Gamma(shape > 1) by Marsaglia and Tsang 2000; attempt a uses slots 3 a + 1 to 3 a + 3."""
    location = shape - 1.0 / 3.0
    spread = 1.0 / math.sqrt(9.0 * location)
    gamma = np.full((len(base), d), np.nan)
    open_rows, open_columns = np.nonzero(np.isnan(gamma))
    slot = 1
    while len(open_rows):
        one, two, three = (
            unit_of(mix(base[open_rows] ^ (np.uint64(GOLDEN) * counter.astype(np.uint64))))
            for counter in (open_columns + ((slot + k) << SLOT) for k in range(3))
        )
        normal = np.sqrt(-2.0 * np.log(one)) * np.cos(2.0 * math.pi * two)
        stretched = 1.0 + spread * normal
        cube = np.where(stretched > 0, stretched, 1.0) ** 3
        bound = 0.5 * normal * normal + location * (1.0 - cube + np.log(cube))
        kept = (stretched > 0) & (np.log(three) < bound)
        gamma[open_rows[kept], open_columns[kept]] = location * cube[kept]
        open_rows, open_columns = open_rows[~kept], open_columns[~kept]
        slot += 3
    return gamma


def random_order(keys: Array, draw: int, count: int, out: Array) -> None:
    rows = np.arange(len(keys))
    base = _base(keys, draw, ORDER)
    deck = np.tile(np.arange(count), (len(keys), 1))
    for place in range(out.shape[1]):
        left = count - place
        step = unit_of(_words(base, np.array([place]))[:, 0]) * left
        other = place + np.minimum(step.astype(np.int64), left - 1)
        out[:, place] = deck[rows, other]
        deck[rows, other] = deck[:, place]
