"""All columns of a local model's J from few products: combs of entries that never overlap.

Entries of the input that reach disjoint outputs share one product J v; how many products that
takes depends on the receptive field and not on the size of the image (Curtis, Powell and Reid
1974 colour sparse Jacobians so).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.sparse import csc_array

from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.solvers.columns import MAX_MEMORY, readable, vectors_at_once
from pertcore.solvers.products import Products

# Neighbours that are looked at one by one in the middle: they meet every phase of a stride up to 6.
PHASES = 6
# Outputs per input along an axis: 1, an up- or downsampling, or a ratio such as 3/2.
RATIOS = sorted({Fraction(p, q) for p in range(1, 17) for q in range(1, 17) if min(p, q) <= 3})
# What a comb may differ from a random dense product, relative, by itemsize.
TOLERANCE = {4: 1e-5, 8: 1e-10}
PROBES, STREAM = 2, 0x636F6D62
# Products that a search for the reach spends at most: the middle twice, neighbours, corners.
SEARCH = PHASES + 3


@dataclass(frozen=True)
class Axis:
    """Along one axis, entry y of `size` reaches outputs y' of `made` alone with
    ratio * y - before <= y' <= ratio * y + after."""

    size: int
    made: int
    ratio: Fraction
    before: Fraction
    after: Fraction

    @property
    def period(self) -> int:
        """The least distance of entries whose reaches are disjoint."""
        return min(self.size, math.floor((self.before + self.after) / self.ratio) + 1)

    def owners(self, offset: int) -> Array:
        """Which of the entries offset, offset + period, ... reaches each output, -1 for none."""
        period, made = self.period, np.arange(self.made)
        if period == self.size:
            return np.full(self.made, offset)
        p, q = self.ratio.numerator, self.ratio.denominator
        low = -((-(q * made - math.floor(q * self.after))) // p)
        owner = low + (offset - low) % period
        inside = (p * owner <= q * made + math.floor(q * self.before)) & (owner < self.size)
        return np.where(inside & (owner >= 0), owner, -1)


@dataclass(frozen=True)
class Reach:
    """Which outputs an input entry can reach: one Axis for every axis of the sample.

    jvps: products spent a sample to find out.
    """

    axes: tuple[Axis, ...]
    jvps: int = 0

    @property
    def combs(self) -> int:
        """Products J v that hold all columns."""
        return math.prod(axis.period for axis in self.axes)

    def comb(self, number: int) -> tuple[Array, Array]:
        """Entries (d,) bool of one comb, and who owns each output, (K,) int, -1 for nobody."""
        offsets = np.unravel_index(number, [axis.period for axis in self.axes])
        teeth, owners = np.ones((), bool), np.zeros((), np.int64)
        for axis, offset in zip(self.axes, offsets):
            teeth = teeth[..., None] & (np.arange(axis.size) % axis.period == offset)
            found = axis.owners(int(offset))
            nobody = (owners[..., None] < 0) | (found < 0)
            owners = np.where(nobody, -1, owners[..., None] * axis.size + found)
        return teeth.reshape(-1), owners.reshape(-1)


def detect(products: Products, *, most: int | None = None) -> Reach | None:
    """The reach of an entry, from J v of single entries.

    NaN gets wherever an entry can, however small its part. Where it gets everywhere, as through a
    product with a sparse matrix, what is not exactly 0 in the response to a 1 counts. None where
    more than `most` combs (default: half of min(K, d)) would be needed.
    """
    size, made = _paired(products.input_shape, products.output_shape)
    allowed = min(products.d, products.outputs) // 2 if most is None else most
    places = _places(size)
    for mark in (math.nan, 1.0) if len(products) else ():
        first = _touched(products, places[:1], made, mark)
        if np.count_nonzero(first) <= first.size / 2:
            break
    else:
        return None
    touched = np.concatenate([first, _touched(products, places[1:], made, mark)])
    axes = tuple(
        _axis(size[a], made[a], places[:, a], np.asarray(touched.any(axis=_others(touched, a))))
        for a in range(len(size))
    )
    found = Reach(axes, jvps=len(places) + (mark == 1))
    return found if found.combs <= allowed else None


def given_window(products: Products, window: int | Sequence[int]) -> Reach:
    """The reach of an entry from the receptive field that the user knows, in input entries.

    window: one size for every axis behind the first, which holds channels that all meet, or one
    size for each of them. Raises InputError where shapes and windows do not fit.
    """
    size, made = _paired(products.input_shape, products.output_shape)
    windows = [window] * (len(size) - 1) if isinstance(window, int) else list(window)
    if len(size) < 2 or len(windows) != len(size) - 1 or min(windows) < 1:
        raise InputError(
            f"window={window!r}: expected a size >= 1 for each axis behind the channels of an "
            f"input of shape {products.input_shape}"
        )
    axes = [Axis(size[0], made[0], Fraction(1), Fraction(size[0]), Fraction(made[0]))]
    for wide, before, after in zip(windows, size[1:], made[1:]):
        ratio = Fraction(after, before)
        # An even window leans to one side, and a stride may place it anywhere inside a step.
        reach = ratio * (wide // 2) + (0 if ratio == 1 else 1)
        axes.append(Axis(before, after, ratio, reach, reach))
    return Reach(tuple(axes))


@dataclass
class Combs:
    """A pass over all combs of a reach: who owns each output, and the responses (n, K).

    error (n,), once the pass has ended: the largest relative difference between what the combs
    make of random vectors and the model's own products of them, inf before. trusted (n,) bool:
    it is small enough. jvps: products a sample, those of the search and the check included.
    """

    products: Products
    reach: Reach
    error: Array
    max_memory: int = MAX_MEMORY
    rng: int = 0

    @classmethod
    def of(
        cls, products: Products, reach: Reach, *, max_memory: int = MAX_MEMORY, rng: int = 0
    ) -> Combs:
        """A pass that has not begun."""
        return cls(products, reach, np.full(len(products), math.inf), max_memory, rng)

    @property
    def trusted(self) -> Array:
        return np.asarray(self.error <= TOLERANCE[self.products.dtype.itemsize])

    @property
    def jvps(self) -> int:
        return self.reach.jvps + self.reach.combs + PROBES

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Yield (owners (K,), response (n, K)) of every comb, then set `error`."""
        products, n = self.products, len(self.products)
        # not the numbers that a model made from the same seed has drawn
        rng = np.random.default_rng((STREAM, self.rng))
        probes = rng.standard_normal((PROBES, products.d)).astype(products.dtype)
        missing = products.push(np.repeat(probes[:, None], n, axis=1))
        whole = np.linalg.norm(missing, axis=2)
        step = vectors_at_once(products, self.max_memory)
        for begin in range(0, self.reach.combs, step):
            numbers = range(begin, min(begin + step, self.reach.combs))
            teeth, owners = zip(*(self.reach.comb(number) for number in numbers))
            combs = np.repeat(np.stack(teeth)[:, None], n, axis=1)
            for owner, response in zip(owners, products.push(combs)):
                missing -= np.where(owner >= 0, probes[:, owner], 0)[:, None] * response
                yield owner, response
        missed = np.linalg.norm(missing, axis=2)
        self.error = np.divide(missed, whole, out=missed, where=whole != 0).max(axis=0)


def column_norms(combs: Combs) -> Array:
    """Norms of all columns, (n, d) float64, from one pass that keeps O(n d)."""
    n, d = len(combs.products), combs.products.d
    squares = np.zeros((n, d))
    for owner, response in combs:
        owned = np.flatnonzero(owner >= 0)
        weights = response[:, owned].astype(np.float64) ** 2
        for row, weight in zip(squares, weights):
            row += np.bincount(owner[owned], weight, d)
    return np.sqrt(squares)


def sparse_columns(combs: Combs) -> list[csc_array]:
    """J of each sample as a sparse (K, d) matrix, an index and a value for every reached output.

    Raises InputError where values and indices are beyond the pass's `max_memory`.
    """
    products = combs.products
    entry = products.dtype.itemsize + 8
    needed = combs.reach.combs * products.outputs * entry * len(products)
    if needed > combs.max_memory:
        raise InputError(
            f"the columns of {len(products)} samples take {needed} bytes ({readable(needed)}) and "
            f"max_memory is {combs.max_memory}: raise max_memory, or give fewer samples at a time"
        )
    rows, owners, values = [], [], []
    for owner, response in combs:
        owned = np.flatnonzero(owner >= 0).astype(np.int32)
        rows.append(owned)
        owners.append(owner[owned].astype(np.int32))
        values.append(response[:, owned])
    place = (np.concatenate(rows), np.concatenate(owners))
    shape = (products.outputs, products.d)
    return [csc_array((value, place), shape=shape) for value in np.concatenate(values, axis=1)]


def _paired(
    given: tuple[int, ...], made: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both shapes with as many axes, ones in front."""
    rank = max(len(given), len(made), 1)
    return (1,) * (rank - len(given)) + given, (1,) * (rank - len(made)) + made


def _places(size: tuple[int, ...]) -> Array:
    """Entries to look at, (m, rank): the middle, its neighbours on a diagonal, and two corners."""
    sizes = np.array(size)
    steps = np.arange(PHASES)[:, None]
    middle = (np.maximum(sizes // 2 - PHASES // 2, 0) + steps) % sizes
    return np.concatenate([middle, np.zeros((1, len(size)), int), sizes[None] - 1])


def _touched(products: Products, places: Array, made: tuple[int, ...], mark: float) -> Array:
    """Which outputs, (m, *made), feel the mark in each place, whichever the sample."""
    size, _ = _paired(products.input_shape, products.output_shape)
    touched = np.zeros((len(places), products.outputs), bool)
    for felt, at in zip(touched, np.ravel_multi_index(tuple(places.T), size)):
        seed = np.zeros((len(products), products.d), products.dtype)
        seed[:, at] = mark
        with np.errstate(invalid="ignore"):
            felt[:] = (products.push(seed) != 0).any(axis=0)
    return touched.reshape(len(places), *made)


def _others(touched: Array, axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(1, touched.ndim) if a != axis + 1)


def _axis(size: int, made: int, places: Array, touched: Array) -> Axis:
    """The tightest reach that explains what (m, made) was touched from coordinates (m,)."""
    felt = touched.any(axis=1)
    if not felt.any():
        return Axis(size, made, Fraction(made, size), Fraction(0), Fraction(0))
    low, high = touched.argmax(axis=1)[felt], made - 1 - touched[:, ::-1].argmax(axis=1)[felt]
    found = []
    for ratio in (Fraction(made, size), *RATIOS):
        p, q = ratio.numerator, ratio.denominator
        before = Fraction(int(np.max(p * places[felt] - q * low)), q)
        after = Fraction(int(np.max(q * high - p * places[felt])), q)
        found.append(Axis(size, made, ratio, before, after))
    # of equal periods the simplest ratio: padding left out makes made / size a crooked one
    return min(found, key=lambda axis: (axis.period, sum(axis.ratio.as_integer_ratio())))
