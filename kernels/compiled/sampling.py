"""Random points that belong to a sample: a hash of (key, draw, coordinate), in Numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pertcore.kernels.compiled.elementary import exponential, logarithm, total, turn
from pertcore.kernels.compiled.elements import strict
from pertcore.kernels.compiled.extremes import peak
from pertcore.oracle import Array

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S12, S27, S30, S31 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31)
ONE = np.uint64(1)
BALL, SPHERE, ORDER = np.uint64(1), np.uint64(2), np.uint64(3)
PURPOSES = np.uint64(4)
SLOT = np.uint64(40)
RADIUS = np.uint64(1 << 62)
ATTEMPT = np.uint64(3)
NEXT_SLOT = np.uint64(1 << 40)


@strict
def mixed(word: Any) -> Any:
    word = (word ^ (word >> S30)) * FIRST
    word = (word ^ (word >> S27)) * SECOND
    return word ^ (word >> S31)


@strict
def base_of(key: Any, draw: int, purpose: Any) -> Any:
    return mixed(key + GOLDEN * (np.uint64(draw) * PURPOSES + purpose))


@strict
def unit_of(word: Any) -> float:
    # Below 2^52, so the signed conversion is exact, and it is the one that vectorises.
    return (np.float64(np.int64(word >> S12)) + 0.5) * 2.0**-52


@strict
def _sign(word: Any) -> float:
    return 1.0 - 2.0 * np.float64(np.int64(word & ONE))


@strict
def _inner(eps: float, row: Array) -> float:
    near = row.dtype.type(eps)
    if np.float64(near) > eps:
        near = np.nextafter(near, row.dtype.type(0))
    return np.float64(near)


@strict
def _scale(mass: float, eps: float, norm: float, row: Array) -> float:
    margin = 2.0**-23 if row.itemsize == 4 else 1e-13
    return eps * (1.0 - margin) / mass ** (1.0 / norm)


@strict
def random_ball(keys: Array, draw: int, eps: Array, norm: float, out: Array) -> None:
    points, powers = _scratch(out.shape[1], norm)
    for i in range(out.shape[0]):
        base, row = base_of(keys[i], draw, BALL), out[i]
        if math.isinf(norm):
            size = _inner(eps[i], row)
            for j in range(row.shape[0]):
                unit = unit_of(mixed(base ^ (GOLDEN * np.uint64(j))))
                row[j] = (2.0 * unit - 1.0) * size
        else:
            mass = _generalised_gaussian(base, norm, row.shape[0], points, powers)
            mass -= logarithm(unit_of(mixed(base ^ (GOLDEN * RADIUS))))
            _store(points, _scale(mass, eps[i], norm, row), row)


@strict
def random_sphere(keys: Array, draw: int, eps: Array, norm: float, out: Array) -> None:
    points, powers = _scratch(out.shape[1], norm)
    for i in range(out.shape[0]):
        base, row = base_of(keys[i], draw, SPHERE), out[i]
        if math.isinf(norm):
            size = _inner(eps[i], row)
            for j in range(row.shape[0]):
                row[j] = _sign(mixed(base ^ (GOLDEN * np.uint64(j)))) * size
        else:
            mass = _generalised_gaussian(base, norm, row.shape[0], points, powers)
            if norm != 1.0 and norm != 2.0:
                mass = _relative_mass(points[: row.shape[0]], norm, powers[: row.shape[0]])
            _store(points, _scale(mass, eps[i], norm, row), row)


@strict
def _relative_mass(points: Array, norm: float, powers: Array) -> float:
    """Divides the points by their largest, so that abs(t)^norm does not vanish; returns the sum."""
    for j in range(points.shape[0]):
        powers[j] = abs(points[j])
    largest, _ = peak(powers)
    for j in range(points.shape[0]):
        points[j] /= largest
        powers[j] = exponential(norm * logarithm(powers[j] / largest))
    return total(powers)


@strict
def _scratch(d: int, norm: float) -> Any:
    used = 0 if math.isinf(norm) else d + 1
    return np.empty(used, np.float64), np.empty(used, np.float64)


@strict
def _store(points: Array, scale: float, row: Array) -> None:
    for j in range(row.shape[0]):
        row[j] = points[j] * scale


@strict
def _generalised_gaussian(base: Any, norm: float, d: int, points: Array, powers: Array) -> float:
    """Fills points[:d]; returns the sum of abs(t)^norm."""
    if norm == 2.0:
        half = (d + 1) // 2
        _gaussian(base, half, points[:half], points[half : 2 * half])
        for j in range(d):
            powers[j] = points[j] * points[j]
    elif norm == 1.0:
        for j in range(d):
            word = mixed(base ^ (GOLDEN * np.uint64(j)))
            powers[j] = -logarithm(unit_of(word))
            points[j] = _sign(word) * powers[j]
    else:
        _gammas(base, 1.0 + 1.0 / norm, powers[:d])
        for j in range(d):
            word = mixed(base ^ (GOLDEN * np.uint64(j)))
            root = unit_of(word)
            points[j] = _sign(word) * root * exponential(logarithm(powers[j]) / norm)
            powers[j] *= exponential(norm * logarithm(root))
    return total(powers[:d])


@strict
def _gaussian(base: Any, half: int, first: Array, second: Array) -> None:
    for j in range(half):
        angle = unit_of(mixed(base ^ (GOLDEN * np.uint64(j + half))))
        radius = math.sqrt(-logarithm(unit_of(mixed(base ^ (GOLDEN * np.uint64(j))))))
        cosine, sine = turn(angle)
        first[j] = radius * cosine
        second[j] = radius * sine


@strict
def _gammas(base: Any, shape: float, out: Array) -> None:
    _attempt(base, ONE << SLOT, shape, out)
    for j in range(out.shape[0]):
        slot = ONE
        while out[j] == 0.0:
            slot += ATTEMPT
            _attempt(base, np.uint64(j) + (slot << SLOT), shape, out[j : j + 1])


@strict
def _attempt(base: Any, start: Any, shape: float, out: Array) -> None:
    """Gamma numbers, or 0 where rejected, from the words that begin at counter `start`."""
    location = shape - 1.0 / 3.0
    spread = 1.0 / math.sqrt(9.0 * location)
    for j in range(out.shape[0]):
        counter = start + np.uint64(j)
        radius = math.sqrt(-2.0 * logarithm(unit_of(mixed(base ^ (GOLDEN * counter)))))
        cosine, _ = turn(unit_of(mixed(base ^ (GOLDEN * (counter + NEXT_SLOT)))))
        out[j] = radius * cosine
    for j in range(out.shape[0]):
        stretched = 1.0 + spread * out[j]
        positive = stretched > 0.0
        cube = stretched * stretched * stretched if positive else 1.0
        bound = 0.5 * out[j] * out[j] + location * (1.0 - cube + logarithm(cube))
        word = mixed(base ^ (GOLDEN * (start + np.uint64(j) + NEXT_SLOT + NEXT_SLOT)))
        kept = positive & (logarithm(unit_of(word)) < bound)
        out[j] = location * cube if kept else 0.0


@strict
def random_order(keys: Array, draw: int, count: int, out: Array) -> None:
    deck = np.arange(count)
    moved = np.empty(out.shape[1], np.int64)
    for i in range(out.shape[0]):
        base = base_of(keys[i], draw, ORDER)
        for place in range(out.shape[1]):
            left = count - place
            step = unit_of(mixed(base ^ (GOLDEN * np.uint64(place)))) * left
            other = place + min(int(step), left - 1)
            out[i, place] = deck[other]
            deck[other] = deck[place]
            moved[place] = other
        # Only what was touched is put back, so a row costs its length, not the deck's.
        for place in range(out.shape[1]):
            deck[moved[place]] = moved[place]
            deck[place] = place
