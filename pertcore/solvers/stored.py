"""Stored columns of J in the place of a model: the same products, at no model run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pertcore.oracle import Array


class Map(Protocol):
    """What the solvers of quadratic problems ask: `Products` of a model, or `Stored` columns."""

    @property
    def d(self) -> int: ...

    @property
    def outputs(self) -> int: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def push(self, v: Array) -> Array: ...

    def pull(self, u: Array) -> Array: ...

    def take(self, index: Array) -> Map: ...


@dataclass(frozen=True)
class Stored:
    """J^T of n samples, columns (n, d, K)."""

    columns: Array

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def d(self) -> int:
        return int(self.columns.shape[1])

    @property
    def outputs(self) -> int:
        return int(self.columns.shape[2])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.columns.dtype

    def push(self, v: Array) -> Array:
        """J v: (n, d) or (c, n, d) -> (n, K) or (c, n, K)."""
        return _product(v.astype(self.dtype, copy=False)[..., None, :], self.columns)[..., 0, :]

    def pull(self, u: Array) -> Array:
        """J^T u: (n, K) or (c, n, K) -> (n, d) or (c, n, d)."""
        return _product(self.columns, u.astype(self.dtype, copy=False)[..., None])[..., 0]

    def take(self, index: Array) -> Stored:
        return Stored(self.columns[index])


def _product(a: Array, b: Array) -> Array:
    # some BLAS kernels raise the flag of an invalid value in lanes that they then discard
    with np.errstate(invalid="ignore"):
        return np.matmul(a, b)
