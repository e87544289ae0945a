"""The columns of J: all of them where a memory budget allows, else block by block.

With K outputs and d features one sweep costs min(K, d) products a sample: K rows J^T e_k or d
columns J e_i, whichever are fewer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from pertcore.constraints import Partition
from pertcore.errors import InputError
from pertcore.oracle import Array
from pertcore.solvers.products import Products

MAX_MEMORY = 1 << 30

# (Co)tangents that run at once: as many as fit these bytes, their images included. A network's
# inner layers are often some ten times wider than its ends.
MOST, VECTORS = 64, 1 << 25

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
UNITS |= {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40}
AMOUNT = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_memory(amount: Any) -> int:
    """Bytes from a number or text such as "2GB" or "512 MiB". Raises InputError otherwise."""
    found = AMOUNT.fullmatch(str(amount))
    unit = None if found is None else UNITS.get(found[2].lower())
    if found is None or unit is None or isinstance(amount, bool) or float(found[1]) * unit < 1:
        raise InputError(f"max_memory={amount!r}: expected bytes or text such as '2GB' or '512MiB'")
    return int(float(found[1]) * unit)


def readable(count: float) -> str:
    """Bytes as a person says them: 2.46 GB."""
    for name, unit in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"


def size(products: Products) -> int:
    """Bytes that the Jacobians of all samples take."""
    return len(products) * products.d * products.outputs * products.dtype.itemsize


def explicit(products: Products, *, max_memory: int = MAX_MEMORY) -> Array:
    """J^T of every sample, (n, d, K) contiguous in the model's dtype: row i is column J_i.

    Costs min(K, d) products a sample. Raises InputError where the array is beyond `max_memory`
    bytes.
    """
    if size(products) > max_memory:
        raise InputError(
            f"{len(products)} Jacobians of {products.outputs} x {products.d} take "
            f"{size(products)} bytes ({readable(size(products))}) and max_memory is {max_memory} "
            f"({readable(max_memory)}): raise max_memory, or give fewer samples at a time"
        )
    held = np.empty((len(products), products.d, products.outputs), products.dtype)
    if products.by_rows:
        for rows, block in stream_rows(products, max_memory=max_memory):
            held[:, :, rows] = block.transpose(0, 2, 1)
    else:
        for columns, block in stream_columns(products, max_memory=max_memory):
            held[:, columns] = block
    return held


def stream_columns(
    products: Products, *, max_memory: int = MAX_MEMORY
) -> Iterator[tuple[slice, Array]]:
    """Blocks of columns: (slice of range(d), block (n, b, K)), block[:, i] = J e_i."""
    for part in _parts(products, products.d, max_memory):
        yield part, products.push(_units(products, part, products.d)).transpose(1, 0, 2)


def stream_rows(
    products: Products, *, max_memory: int = MAX_MEMORY
) -> Iterator[tuple[slice, Array]]:
    """Blocks of rows: (slice of range(K), block (n, b, d)), block[:, k] = J^T e_k."""
    for part in _parts(products, products.outputs, max_memory):
        yield part, products.pull(_units(products, part, products.outputs)).transpose(1, 0, 2)


def column_norms(products: Products, *, max_memory: int = MAX_MEMORY) -> Array:
    """The Euclidean norm of every column, (n, d) float64, in one sweep that keeps O(n d)."""
    squares = np.zeros((len(products), products.d))
    if products.by_rows:
        for _, block in stream_rows(products, max_memory=max_memory):
            squares += np.einsum("nbd,nbd->nd", block, block, dtype=np.float64)
    else:
        for columns, block in stream_columns(products, max_memory=max_memory):
            squares[:, columns] = np.einsum("nbk,nbk->nb", block, block, dtype=np.float64)
    return np.sqrt(squares)


def frobenius(norms: Array) -> Array:
    """||J||_F of every sample, (n,), from the column norms (n, d)."""
    return np.sqrt(np.einsum("nd,nd->n", norms, norms))


def subset_norms(norms: Array, partition: Partition) -> Array:
    """||J_S||_F of every subset S, (n, S), from the column norms (n, d)."""
    free = partition.labels >= 0
    squares, numbers = norms[:, free] ** 2, partition.labels[free]
    sums = [np.bincount(numbers, row, partition.count) for row in squares]
    return np.sqrt(np.reshape(sums, (len(norms), partition.count)))


def vectors_at_once(products: Products, max_memory: int) -> int:
    """How many (co)tangents a sample to run at once, 1 to 64, inside the budget."""
    vector = products.dtype.itemsize * (products.d + products.outputs) * max(len(products), 1)
    return max(1, min(MOST, min(VECTORS, max_memory) // vector))


def _parts(products: Products, length: int, max_memory: int) -> Iterator[slice]:
    step = vectors_at_once(products, max_memory)
    for begin in range(0, length, step):
        yield slice(begin, min(begin + step, length))


def _units(products: Products, part: slice, length: int) -> Array:
    """Unit vectors e_i of the slice, (b, n, length)."""
    count = part.stop - part.start
    units = np.zeros((count, len(products), length), products.dtype)
    units[np.arange(count), :, np.arange(part.start, part.stop)] = 1
    return units
