"""Several outputs as one: where each lies in the one that is attacked, and what it weighs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array


@dataclass(frozen=True)
class Part:
    """One output's place in the stacked (n, K), its own shape, and the factor it was given."""

    place: slice
    shape: tuple[int, ...]
    scale: float = 1.0

    def read(self, stacked: Array) -> Array:
        """This output (n, *shape) as the model gives it, from the stacked outputs (n, K)."""
        flat = np.asarray(stacked).reshape(len(stacked), -1)[:, self.place]
        return flat.reshape(len(flat), *self.shape) / flat.dtype.type(self.scale)


def weights_by_name(names: Sequence[Any], weights: Any) -> dict[Any, float]:
    """Every name with its weight, in order; weights are a sequence, or a mapping by name (else 1).

    Raises InputError where they do not fit the names, and for one that is no number > 0.
    """
    given = _paired(names, weights)
    for name, weight in given.items():
        if not (np.isfinite(weight) and weight > 0):
            raise InputError(f"weights: {name!r} has {weight!r}, and a weight is a number > 0")
    return given


def _paired(names: Sequence[Any], weights: Any) -> dict[Any, float]:
    if weights is None:
        return dict.fromkeys(names, 1.0)
    if isinstance(weights, Mapping):
        unknown = [name for name in weights if name not in names]
        if unknown:
            raise InputError(f"weights: {unknown[0]!r} is not among output={list(names)!r}")
        return {name: float(weights.get(name, 1.0)) for name in names}
    values = list(weights)
    if len(values) != len(names):
        raise InputError(f"weights={values!r}: {len(names)} outputs want as many weights")
    return dict(zip(names, map(float, values), strict=True))
