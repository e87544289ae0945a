"""How far a share or a mean over n samples could be off."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import stdtrit
from scipy.stats import norm as gauss

from pertcore.errors import InputError
from pertcore.oracle import Array


def wilson(share: Any, n: int, level: float = 0.95) -> tuple[Array, Array]:
    """Lower and upper ends of the confidence interval of shares counted over n samples each: what
    another sample of this size could have shown (Wilson 1927, equation 4). NaN where n is 0.

    share: any shape, in [0, 1]. Raises InputError for a level outside (0, 1).
    """
    _check(level)
    share = np.asarray(share, dtype=np.float64)
    if n == 0:
        return np.full_like(share, np.nan), np.full_like(share, np.nan)
    z = float(gauss.ppf(0.5 + level / 2))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)


def student(middle: Array, squares: Array, n: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Lower and upper ends of Student's confidence interval of means: what another sample of this
    size could have shown. NaN where n is below 2.

    middle, squares, n: any one shape, the means, the sums of squares about them, and over how many
    values. Raises InputError for a level outside (0, 1).
    """
    _check(level)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stdtrit(n - 1, 0.5 + level / 2) * np.sqrt(squares / (n - 1) / n)
    return middle - half, middle + half


def _check(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level={level!r}: between 0 and 1, such as 0.95")
