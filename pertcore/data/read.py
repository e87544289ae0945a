"""Samples for a model from whatever file holds them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from pertcore.data.dense import read_dense
from pertcore.data.images import SUFFIXES, read_images
from pertcore.data.inputs import Inputs
from pertcore.data.shapes import Shape
from pertcore.data.stored import load_array, split_key
from pertcore.data.tables import parquet_rows
from pertcore.errors import InputError
from pertcore.oracle import Array

ALLOWED = "a .npy or .npz file (FILE:key), a folder or glob of images, or a .parquet file"


def read_inputs(
    text: str,
    *,
    scale: float | None = None,
    layout: str = "nchw",
    limit: int | None = None,
    shape: Shape | None = None,
    dtype: Any = np.float32,
) -> Inputs:
    """Samples from a .npy (memory-mapped), .npz ("FILE:key"), images, or a Parquet file.

    `scale` multiplies what is stored; integers need it, images are divided by their largest
    possible value when it is None. `layout="nhwc"` moves the last axis of a sample to the front.
    `shape` is the model's sample shape (None entries are free): a missing channel axis is added,
    one-channel images may be flattened and flat rows unfolded, anything else is refused. `limit`
    keeps the first samples. Raises InputError, naming the flag of the command line, for integers
    without a scale, wrong rank or channel order, strings, NaN or infinity (with the index), and
    an empty data set.
    """
    if layout not in ("nchw", "nhwc"):
        raise InputError(f"--layout {layout}: allowed are nchw (channels first) and nhwc")
    if scale is not None and not (math.isfinite(scale) and scale != 0):
        raise InputError(f"--scale {scale}: expected a finite number other than 0, such as 1/255")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: expected a number of samples >= 1")
    path, key = split_key(text, "--inputs")
    if path is None or path.is_dir() or path.suffix.lower() in SUFFIXES:
        return read_images(text, scale=scale, limit=limit, shape=shape, layout=layout, dtype=dtype)
    raw = _stored(path, key)
    return read_dense(text, path, raw, scale, layout, limit, shape, dtype)


def _stored(path: Path, key: str | None) -> Array:
    if path.suffix in (".npy", ".npz"):
        return load_array(path, key, "--inputs")
    if path.suffix == ".parquet":
        return parquet_rows(path, key)
    raise InputError(f"--inputs {path}: cannot read {path.suffix or 'this file'}: give {ALLOWED}")
