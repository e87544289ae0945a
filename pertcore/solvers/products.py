"""J v and J^T u of n linearised samples as plain vectors, never as a matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pertcore.errors import CapabilityError
from pertcore.oracle import Array, Linearization, Oracle


@dataclass(frozen=True)
class Products:
    """The Jacobians J (K, d) of n samples, asked only for products.

    `free` is None or a mask (1, d) or (n, d), 0 where a feature is frozen: then J stands for
    J diag(free). `rows` are the samples of `lin` that count, None for all of them, where the
    linearisation cannot leave samples out. `prices`: what J v and J^T u cost, of the oracle.
    """

    lin: Linearization
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    dtype: np.dtype[np.floating]
    free: Array | None = None
    rows: Array | None = None
    taking: bool = True
    prices: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def at(cls, oracle: Oracle, lin: Linearization, free: Array | None = None) -> Products:
        """The products of a linearisation; CapabilityError where the oracle has no J u."""
        missing = {"vjp", "jvp"} - set(oracle.capabilities)
        if missing:
            raise CapabilityError(
                f"quadratic problems need J u and J^T v, and this oracle lacks "
                f"{', '.join(sorted(missing))}: add it, or wrap the model with "
                "pertcore.from_function, which approximates what is missing"
            )
        return cls(
            lin, tuple(oracle.input_shape), tuple(oracle.output_shape), np.dtype(oracle.dtype),
            free, taking="take" in oracle.capabilities,
            prices=getattr(oracle, "prices", (1.0, 1.0)),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.lin.value) if self.rows is None else len(self.rows)

    @property
    def d(self) -> int:
        return math.prod(self.input_shape)

    @property
    def outputs(self) -> int:
        """K, the number of outputs of one sample."""
        return math.prod(self.output_shape)

    @property
    def plain(self) -> bool:
        """Whether J v and J^T u cost about the same, neither put together from the other."""
        return self.prices == (1.0, 1.0)

    @property
    def by_rows(self) -> bool:
        """Whether K rows of J cost less than its d columns."""
        return self.outputs * self.prices[1] < self.d * self.prices[0]

    @property
    def sweep(self) -> float:
        """The price of all of J."""
        return min(self.outputs * self.prices[1], self.d * self.prices[0])

    def push(self, v: Array) -> Array:
        """J v: (n, d) or (c, n, d) -> (n, K) or (c, n, K)."""
        free = v if self.free is None else v * self.free
        many = self._spread(free).reshape(*v.shape[:-2], -1, *self.input_shape)
        return self._picked(self.lin.jvp(many), v.ndim, self.outputs)

    def pull(self, u: Array) -> Array:
        """J^T u: (n, K) or (c, n, K) -> (n, d) or (c, n, d)."""
        many = self._spread(u).reshape(*u.shape[:-2], -1, *self.output_shape)
        pulled = self._picked(self.lin.vjp(many), u.ndim, self.d)
        return pulled if self.free is None else pulled * self.free

    def take(self, index: Array) -> Products:
        """The same products for fewer samples (mask or positions), without a run of the model."""
        chosen = np.arange(len(self))[index]
        free = self.free if self.free is None or len(self.free) == 1 else self.free[chosen]
        if self.taking:
            return replace(self, lin=self.lin.take(chosen), free=free)
        rows = chosen if self.rows is None else self.rows[chosen]
        return replace(self, rows=rows, free=free)

    def _spread(self, v: Array) -> Array:
        """Vectors of the samples that count, among zeros for the others."""
        v = np.ascontiguousarray(v, dtype=self.dtype)
        if self.rows is None:
            return v
        everybody = np.zeros((*v.shape[:-2], len(self.lin.value), v.shape[-1]), v.dtype)
        everybody[..., self.rows, :] = v
        return everybody

    def _picked(self, product: Array, ndim: int, size: int) -> Array:
        flat = product.reshape(*product.shape[: ndim - 1], size)
        return np.ascontiguousarray(flat if self.rows is None else flat[..., self.rows, :])
