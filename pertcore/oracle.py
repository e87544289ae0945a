"""What a framework supplies: a model, its value, J^T v and J u; protocols and a counter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass
class Calls:
    """How often a model ran, counted per sample: c cotangents for one sample count c."""

    f: int = 0
    vjp: int = 0
    jvp: int = 0

    def __sub__(self, earlier: Calls) -> Calls:
        return Calls(self.f - earlier.f, self.vjp - earlier.vjp, self.jvp - earlier.jvp)

    def copy(self) -> Calls:
        return Calls(self.f, self.vjp, self.jvp)


@runtime_checkable
class Linearization(Protocol):
    """The model at one batch of points: it ran once, and is asked for products after that."""

    @property
    def value(self) -> Array:
        """f(x), shape (n, *output_shape)."""

    def vjp(self, cotangent: Array) -> Array:
        """J^T v: (n, *out) or (c, n, *out) -> (n, *in) or (c, n, *in)."""

    def jvp(self, tangent: Array) -> Array:
        """J u: (n, *in) or (c, n, *in) -> (n, *out) or (c, n, *out)."""

    def take(self, index: Array) -> Linearization:
        """The same points, fewer samples, no model run; CapabilityError where it cannot."""


@runtime_checkable
class Oracle(Protocol):
    """A differentiable model of samples of one shape; the first axis is always the batch.

    `capabilities` is a subset of {"vjp", "jvp", "take", "exact", "device"}: which products
    `linearize` offers, whether `take` works without a model run, whether the products are exact
    derivatives (not finite differences), and whether CuPy arrays go in and come out where the model
    computes. An optional attribute `notes`, a tuple of sentences, tells the user what is
    approximated; an optional method `deterministic()` returns the same model on one thread;
    optional `prices` (of J u, of J^T v) tell what a product costs that is put together from many of
    the other kind, 1 by default; an optional `ensemble_size` m says that outputs are (n, m, K).
    """

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64: what goes in and comes out."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Subset of {"vjp", "jvp", "take", "exact", "device"}."""

    @property
    def calls(self) -> Calls:
        """Running totals; the oracle adds to them itself."""

    def __call__(self, x: Array) -> Array:
        """f(x): (n, *input_shape) -> (n, *output_shape)."""

    def linearize(self, x: Array) -> Linearization:
        """Run the model once at x."""
