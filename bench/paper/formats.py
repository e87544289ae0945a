"""The binary files in which MNIST, CIFAR-10 and STL-10 are distributed by their makers."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx file (LeCun's MNIST), gzipped or not.

    Four bytes 0, 0, 8 (uint8), number of axes; the sizes as big-endian uint32; the entries.
    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{path}: not an idx file of bytes (begins with {raw[:4]!r})")
    sizes = np.frombuffer(raw, ">u4", raw[3], 4).astype(int)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def read_cifar(paths: Iterable[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) uint8 RGB and labels (n,) of CIFAR-10's binary batches, one after the
    other: per image a byte of label and 3072 bytes of red, green and blue, row by row."""
    parts = [np.fromfile(path, np.uint8).reshape(-1, 3073) for path in paths]
    rows = np.concatenate(parts)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def read_stl(path: Path, count: int) -> np.ndarray:
    """The first `count` images (n, 3, 96, 96) uint8 RGB of an STL-10 binary file, whose pixels
    stand column by column."""
    rows = np.fromfile(path, np.uint8, count * 3 * 96 * 96).reshape(-1, 3, 96, 96)
    return np.ascontiguousarray(rows.transpose(0, 1, 3, 2))
