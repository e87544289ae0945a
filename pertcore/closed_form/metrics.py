"""How far outputs are from what they should be: MSE, PSNR in decibels, and the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pertcore.errors import InputError
from pertcore.oracle import Array

# metric(f, y) -> one number a sample (n,); f and y are (n, K), or y (n,) integer classes.
Metric = Callable[[Array, Array], Any]

# Names that every regression result has by itself.
OWN = ("mse", "psnr_in", "psnr_out")


def mse(f: Array, y: Array) -> Array:
    """Mean squared error (n,) float64 of f (n, ...) against y of as many entries a sample."""
    difference = _flat(f) - _flat(y)
    return np.asarray(np.mean(difference * difference, axis=1))


def psnr(error: Array, *, peak: float = 1.0) -> Array:
    """Peak signal-to-noise ratio 10 log10(peak^2 / error) in dB, (n,) float64 from MSEs (n,).

    Infinite where the error is 0. The figures of Balda et al., Fig. 4, are means of these over
    samples; their text leaves out the logarithm.
    """
    with np.errstate(divide="ignore"):
        return np.asarray(10 * (2 * np.log10(peak) - np.log10(np.asarray(error, dtype=np.float64))))


def measured(metrics: Mapping[str, Metric], f: Array, y: Array) -> dict[str, Array]:
    """Every metric at outputs f, name -> (n,) float64; InputError for a result of another shape."""
    found = {}
    for name, metric in metrics.items():
        values = np.asarray(metric(f, y), dtype=np.float64)
        if values.shape != f.shape[:1]:
            raise InputError(
                f"metrics[{name!r}] returned shape {values.shape}: expected one number a sample, "
                f"{f.shape[:1]}"
            )
        found[name] = values
    return found


def checked(metrics: Any) -> dict[str, Metric]:
    """The user's mapping name -> callable, or nothing; InputError for anything else."""
    given = {} if metrics is None else metrics
    if not isinstance(given, Mapping):
        raise InputError(
            f"metrics={metrics!r}: give a mapping of names to callables metric(f, y) -> (n,)"
        )
    for name, metric in given.items():
        if not isinstance(name, str) or not callable(metric) or name in OWN:
            raise InputError(
                f"metrics[{name!r}]={metric!r}: a name other than {', '.join(OWN)}, and a callable "
                "metric(f, y) -> (n,)"
            )
    return dict(given)


def _flat(values: Array) -> Array:
    return np.asarray(values).reshape(len(values), -1).astype(np.float64)
