"""0/1 masks: one vectorised HardSigmoid where it is exact, comparisons elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pertcore.adapters.onnx.op import Op, Tensor

# HardSigmoid(x) = max(0, min(1, alpha x + beta)). A power of two rounds nothing: with 2^126 every
# normal x > 0 gives 1; with a bound, 2^60 leaves the sum finite and is exact for |x - b| >= 2^-60.
STEEP = 2.0**126
STEEP_AT_BOUND = 2.0**60


def above(op: Op, x: Tensor, bound: float) -> Tensor:
    """1 where x > bound."""
    if not _steep(x, bound):
        return indicator(op, op.Greater(x, bound), x)
    scale = STEEP if bound == 0 else STEEP_AT_BOUND
    return op.HardSigmoid(x, alpha=scale, beta=-bound * scale)


def below(op: Op, x: Tensor, bound: float) -> Tensor:
    """1 where x < bound."""
    if not _steep(x, bound):
        return indicator(op, op.Less(x, bound), x)
    scale = STEEP if bound == 0 else STEEP_AT_BOUND
    return op.HardSigmoid(x, alpha=-scale, beta=bound * scale)


def indicator(op: Op, condition: Tensor, like: Tensor) -> Tensor:
    """A Boolean as 0 and 1."""
    from onnx import helper

    return op.Cast(condition, to=helper.np_dtype_to_tensor_dtype(like.dtype))


def _steep(x: Tensor, bound: float) -> bool:
    exact = float(np.float32(bound)) == bound and abs(bound) < 2.0**60
    return x.dtype == np.float32 and exact
