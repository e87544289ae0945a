"""Large batches in pieces: a piece stays in the cache, and pieces run side by side.

ONNX Runtime works through a batch layer by layer, so that a large one leaves the cache between any
two; and it divides a layer among threads, where some kernels use one alone and all wait for the
last. Convolutional networks gain by either; matrix products, which it divides well and whose
weights a piece reads anew, lose a few percent (`python -m bench.onnx`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from itertools import pairwise
from typing import TypeVar

from pertcore.adapters.onnx.graph import Graph

# Samples of a piece, at most and, where a batch is divided for the sake of threads, at least.
MOST, LEAST = 32, 4
# (Co)tangents times samples that one run takes, at most: they share the residuals.
TOGETHER = 128
# Bytes of constants above which no second set of sessions is opened for the pieces.
HEAVY = 1 << 28

Given = TypeVar("Given")
Made = TypeVar("Made")


def gains(graph: Graph) -> bool:
    """Whether large batches of this graph run faster in pieces."""
    weights = sum(array.nbytes for array in graph.constants.values())
    return weights <= HEAVY and any(node.op == "Conv" for node in graph.nodes)


@lru_cache(maxsize=64)
def pieces(n: int, threads: int, most: int = MOST) -> tuple[slice, ...]:
    """n samples in pieces of nearly the same size, `most` at most, as many as keep all threads
    busy."""
    count = max(-(-n // most), min(threads, n // LEAST), 1)
    if count > 1:
        count = -(-count // threads) * threads
    starts = [n * i // count for i in range(count + 1)]
    return tuple(slice(a, b) for a, b in pairwise(starts))


def available() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(threads: int, work: Callable[[Given], Made], given: Sequence[Given]) -> list[Made]:
    """[work(g) for g in given], on so many threads, the caller's among them."""
    made: dict[int, Made] = {}
    # Which thread takes which is left to who is free: next() of a range is atomic.
    left = iter(range(len(given)))

    def some() -> None:
        for place in left:
            made[place] = work(given[place])

    helpers = min(threads, len(given)) - 1
    waiting = [_threads(os.getpid(), threads).submit(some) for _ in range(helpers)]
    some()
    for helper in waiting:
        helper.result()
    return [made[place] for place in range(len(given))]


@cache
def _threads(process: int, threads: int) -> ThreadPoolExecutor:
    """The threads of this process beside the caller's: a fork has none of its parent's."""
    return ThreadPoolExecutor(threads - 1, f"pertcore-{process}")
