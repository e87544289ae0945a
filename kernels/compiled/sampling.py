"""Random points that belong to a sample: a hash of (key, draw, coordinate), in Numba."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S12, S27, S30, S31 = np.uint64(12), np.uint64(27), np.uint64(30), np.uint64(31)
ONE = np.uint64(1)
BALL, SPHERE, ORDER = np.uint64(1), np.uint64(2), np.uint64(3)
PURPOSES = np.uint64(4)
SLOT = np.uint64(40)
RADIUS = np.uint64(1 << 62)
TWO_PI = 2.0 * math.pi


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(word: Any) -> Any:
    word = (word ^ (word >> S30)) * FIRST
    word = (word ^ (word >> S27)) * SECOND
    return word ^ (word >> S31)


@njit(cache=True, nogil=True, error_model="numpy")
def _base(key: Any, draw: int, purpose: Any) -> Any:
    return _mix(key + GOLDEN * (np.uint64(draw) * PURPOSES + purpose))


@njit(cache=True, nogil=True, error_model="numpy")
def _unit(word: Any) -> float:
    # Below 2^52, so the signed conversion is exact, and it is the one that vectorises.
    return (np.float64(np.int64(word >> S12)) + 0.5) * 2.0**-52


@njit(cache=True, nogil=True, error_model="numpy")
def _sign(word: Any) -> float:
    return 1.0 - 2.0 * np.float64(np.int64(word & ONE))


@njit(cache=True, nogil=True, error_model="numpy")
def _inner(eps: float, row: Array) -> float:
    near = row.dtype.type(eps)
    if np.float64(near) > eps:
        near = np.nextafter(near, row.dtype.type(0))
    return np.float64(near)


@njit(cache=True, nogil=True, error_model="numpy")
def _scale(total: float, eps: float, norm: float, row: Array) -> float:
    margin = 2.0**-23 if row.itemsize == 4 else 1e-13
    return eps * (1.0 - margin) / total ** (1.0 / norm)


@njit(cache=True, nogil=True, error_model="numpy")
def random_ball(keys: Array, draw: int, eps: Array, norm: float, out: Array) -> None:
    points = np.empty(out.shape[1] + 1, np.float64)
    for i in range(out.shape[0]):
        base, row = _base(keys[i], draw, BALL), out[i]
        if math.isinf(norm):
            size = _inner(eps[i], row)
            for j in range(row.shape[0]):
                unit = _unit(_mix(base ^ (GOLDEN * np.uint64(j))))
                row[j] = (2.0 * unit - 1.0) * size
        else:
            total = _generalised_gaussian(base, norm, points[: row.shape[0]], points)
            total -= math.log(_unit(_mix(base ^ (GOLDEN * RADIUS))))
            _store(points, _scale(total, eps[i], norm, row), row)


@njit(cache=True, nogil=True, error_model="numpy")
def random_sphere(keys: Array, draw: int, eps: Array, norm: float, out: Array) -> None:
    points = np.empty(out.shape[1] + 1, np.float64)
    for i in range(out.shape[0]):
        base, row = _base(keys[i], draw, SPHERE), out[i]
        if math.isinf(norm):
            size = _inner(eps[i], row)
            for j in range(row.shape[0]):
                row[j] = _sign(_mix(base ^ (GOLDEN * np.uint64(j)))) * size
        else:
            total = _generalised_gaussian(base, norm, points[: row.shape[0]], points)
            _store(points, _scale(total, eps[i], norm, row), row)


@njit(cache=True, nogil=True, error_model="numpy")
def _store(points: Array, scale: float, row: Array) -> None:
    for j in range(row.shape[0]):
        row[j] = points[j] * scale


@njit(cache=True, nogil=True, error_model="numpy")
def _generalised_gaussian(base: Any, norm: float, points: Array, padded: Array) -> float:
    if norm == 2.0:
        return _gaussian(base, points, padded)
    total = 0.0
    shape = 1.0 + 1.0 / norm
    for j in range(points.shape[0]):
        word = _mix(base ^ (GOLDEN * np.uint64(j)))
        if norm == 1.0:
            size = -math.log(_unit(word))
            total += size
        else:
            gamma = _gamma(base, shape, np.uint64(j))
            root = _unit(word)
            size = root * gamma ** (1.0 / norm)
            total += gamma * root**norm
        points[j] = _sign(word) * size
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _gaussian(base: Any, points: Array, padded: Array) -> float:
    for j in range(0, points.shape[0], 2):
        radius = math.sqrt(-math.log(_unit(_mix(base ^ (GOLDEN * np.uint64(j))))))
        angle = TWO_PI * _unit(_mix(base ^ (GOLDEN * np.uint64(j + 1))))
        padded[j] = radius * math.cos(angle)
        padded[j + 1] = radius * math.sin(angle)
    total = 0.0
    for j in range(points.shape[0]):
        total += points[j] * points[j]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _gamma(base: Any, shape: float, coordinate: Any) -> float:
    location = shape - 1.0 / 3.0
    spread = 1.0 / math.sqrt(9.0 * location)
    slot = ONE
    while True:
        one = _unit(_mix(base ^ (GOLDEN * (coordinate + (slot << SLOT)))))
        two = _unit(_mix(base ^ (GOLDEN * (coordinate + ((slot + ONE) << SLOT)))))
        three = _unit(_mix(base ^ (GOLDEN * (coordinate + ((slot + ONE + ONE) << SLOT)))))
        slot += ONE + ONE + ONE
        normal = math.sqrt(-2.0 * math.log(one)) * math.cos(TWO_PI * two)
        stretched = 1.0 + spread * normal
        if stretched > 0.0:
            cube = stretched * stretched * stretched
            bound = 0.5 * normal * normal + location * (1.0 - cube + math.log(cube))
            if math.log(three) < bound:
                return location * cube


@njit(cache=True, nogil=True, error_model="numpy")
def random_order(keys: Array, draw: int, count: int, out: Array) -> None:
    deck = np.arange(count)
    moved = np.empty(out.shape[1], np.int64)
    for i in range(out.shape[0]):
        base = _base(keys[i], draw, ORDER)
        for place in range(out.shape[1]):
            left = count - place
            step = _unit(_mix(base ^ (GOLDEN * np.uint64(place)))) * left
            other = place + min(int(step), left - 1)
            out[i, place] = deck[other]
            deck[other] = deck[place]
            moved[place] = other
        # Only what was touched is put back, so a row costs its length, not the deck's.
        for place in range(out.shape[1]):
            deck[moved[place]] = moved[place]
            deck[place] = place
