"""The kernels of the quadratic at the sizes of regression problems, and how good their signs are.

`bench.kernels` runs it. Times are processor time, the least of several rounds: set
OMP_NUM_THREADS=1. Every figure stands beside what limits it (a product J x by BLAS, a copy of as
many bytes) or the same work in NumPy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bench.machine import copy_arrays
from bench.models import ROOT, data_folder
from pertcore.closed_form.quadratic import (
    best_signs,
    certified_signs,
    enumerate_subset,
    greedy_signs,
    one_opt,
)
from pertcore.kernels.catalogue import load

ROUNDS = 15
LEAST_SECONDS = 2e-3
GREEDY = ((1, 784, 784), (1, 3072, 3072), (1, 784, 10), (1, 3072, 10), (1, 150528, 10))
BASES = ((64, 16, 784), (64, 8, 3072), (1, 16, 150528), (16, 8, 150528))
PIXELS = ((1, 3, 50176), (16, 3, 50176), (64, 3, 1024))
NUMPY_COLUMNS = 4096
KNOWN = 4000
"""Kicks of the search whose result counts as the best that is known."""
Figures = dict[str, Any]


def least(run: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Processor seconds of the fastest of some calls; the first one compiles."""
    run()
    started = time.perf_counter()
    run()
    repeats = max(1, int(LEAST_SECONDS / (time.perf_counter() - started)))
    times = []
    for _ in range(rounds):
        begun = time.process_time()
        for _ in range(repeats):
            run()
        times.append((time.process_time() - begun) / repeats)
    return min(times)


def measure_quadratic() -> Iterator[Figures]:
    rng = np.random.default_rng(0)
    for n, d, width in (*GREEDY, (64, 784, 10)):
        yield _greedy(rng, n, d, width)
    for n, room, d in BASES:
        yield _reorthogonalised(rng, n, room, d)
    for size in (12, 16, 20):
        yield _enumerated(rng, size)
    yield _pixels_enumerated(rng)
    for n, planes, count in PIXELS:
        for layout in ("planes", "interleaved", "shuffled"):
            yield _scored(rng, n, planes, count, layout)
    yield _top(rng)
    for name, columns in jacobians(rng):
        yield _searched(name, columns)


def _greedy(rng: np.random.Generator, n: int, d: int, width: int) -> Figures:
    columns = rng.normal(size=(n, d, width)).astype(np.float32)
    signs, values = np.empty((n, d), np.float32), np.empty(n)
    vector = np.ones(width, np.float32)
    run, climb = load("greedy_signs", "numba"), load("one_opt", "numba")
    seconds = least(lambda: run(columns, signs))
    products = least(lambda: [one @ vector for one in columns])
    some = columns[:1, :NUMPY_COLUMNS]
    kept = np.empty(some.shape[:2], np.float32)
    plain = least(lambda: load("greedy_signs", "numpy")(some, kept), 1) / kept.size
    return {
        "kernel": "greedy_signs",
        "n": n,
        "d": d,
        "outputs": width,
        "milliseconds": seconds * 1e3,
        "ns_per_column": seconds / n / d * 1e9,
        "GB_per_s": columns.nbytes / seconds / 1e9,
        "product_GB_per_s": columns.nbytes / products / 1e9,
        "numpy_ratio": plain / (seconds / n / d),
        "one_opt_milliseconds": least(lambda: climb(columns, signs, 8, signs.copy(), values)) * 1e3,
    }


def _reorthogonalised(rng: np.random.Generator, n: int, room: int, d: int) -> Figures:
    basis = (rng.normal(size=(n, room, d)) / np.sqrt(d)).astype(np.float32)
    w, counts = rng.normal(size=(n, d)).astype(np.float32), np.full(n, room)
    out = np.empty_like(w)
    seconds = least(lambda: load("reorthogonalise", "numba")(basis, counts, w, out))
    source, target = copy_arrays(basis.nbytes)
    copied = 2 * source.nbytes / least(lambda: np.copyto(target, source))

    def plain() -> None:
        for k in range(n):
            rest = w[k]
            for _ in range(2):
                rest = rest - (basis[k] @ rest) @ basis[k]

    moved = 3 * basis.nbytes / seconds
    product = least(lambda: [one @ vector for one, vector in zip(basis, w, strict=True)])
    return {
        "kernel": "reorthogonalise",
        "n": n,
        "d": d,
        "basis": room,
        "milliseconds": seconds * 1e3,
        "GB_per_s": moved / 1e9,
        "product_GB_per_s": basis.nbytes / product / 1e9,
        "fraction_of_copy_bandwidth": moved / copied,
        "numpy_ratio": least(plain) / seconds,
    }


def _enumerated(rng: np.random.Generator, size: int) -> Figures:
    columns = rng.normal(size=(size, 40)).astype(np.float32)
    seconds = least(lambda: enumerate_subset(columns))
    return {
        "kernel": "subset_exact",
        "entries": size,
        "milliseconds": seconds * 1e3,
        "ns_per_configuration": seconds / 2 ** (size - 1) * 1e9,
    }


def _pixels_enumerated(rng: np.random.Generator) -> Figures:
    count = 50176
    columns = rng.normal(size=(1, 3 * count, 10)).astype(np.float32)
    members = np.arange(3 * count).reshape(3, count).T.ravel()
    starts = np.arange(0, 3 * count + 1, 3)
    signs, values = np.empty((1, 3 * count), np.float32), np.empty((1, count))
    run = load("subset_exact", "numba")
    seconds = least(lambda: run(columns, np.ascontiguousarray(members), starts, signs, values))
    return {
        "kernel": "subset_exact",
        "subsets": count,
        "entries": 3,
        "outputs": 10,
        "milliseconds": seconds * 1e3,
        "ns_per_subset": seconds / count * 1e9,
    }


def _scored(rng: np.random.Generator, n: int, planes: int, count: int, layout: str) -> Figures:
    d = planes * count
    labels = {
        "planes": np.tile(np.arange(count), planes),
        "interleaved": np.repeat(np.arange(count), planes),
        "shuffled": rng.permutation(np.repeat(np.arange(count), planes)),
    }[layout]
    x, g = (rng.random((n, d), dtype=np.float32) for _ in range(2))
    taken, chosen, eps = np.zeros((n, count), bool), np.empty(n, np.int64), np.full(n, 0.1)
    run = load("best_subset", "numba")
    times = [
        least(lambda lo=lo, hi=hi: run(g, x, labels, eps, lo, hi, taken, chosen))
        for lo, hi in ((-np.inf, np.inf), (0.0, 1.0))
    ]
    read = least(lambda: g.sum())
    return {
        "kernel": "best_subset",
        "n": n,
        "d": d,
        "layout": layout,
        "ns_per_element": times[0] / n / d * 1e9,
        "ns_per_element_in_box": times[1] / n / d * 1e9,
        "sum_ns_per_element": read / n / d * 1e9,
    }


def _top(rng: np.random.Generator) -> Figures:
    gains = rng.exponential(size=(1, 50176))
    taken, chosen = np.zeros(gains.shape, bool), np.empty((1, 100), np.int64)
    seconds = least(lambda: load("top_subsets", "numba")(gains, taken, chosen))
    partitioned = least(lambda: np.argpartition(-gains[0], 100)[:100])
    return {
        "kernel": "top_subsets",
        "subsets": gains.size,
        "taken": 100,
        "ns_per_element": seconds / gains.size * 1e9,
        "numpy_ratio": partitioned / seconds,
    }


def jacobians(rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Columns (d, K) of Gaussian matrices and of models at one image each."""
    yield "gaussian 784x784", rng.normal(size=(784, 784)).astype(np.float32)
    yield "gaussian 3072x10", rng.normal(size=(3072, 10)).astype(np.float32)
    with np.load(ROOT / "pertcore" / "demo" / "digits.npz") as held:
        digit = held["x"][:1].astype(np.float32)
    yield "digits autoencoder", columns_at(ROOT / "pertcore/demo/digits_autoencoder.onnx", digit)
    folder = data_folder()
    if folder is None:
        return
    with np.load(folder / "datasets" / "mnist.npz") as held:
        image = held["x_test"][:1] / np.float32(255)
    for name in ("mnist_autoencoder3", "mnist_lenet5_cln"):
        yield name, columns_at(folder / "models" / f"{name}.onnx", image)


def columns_at(model: Any, x: np.ndarray) -> np.ndarray:
    """Columns (d, K) of the Jacobian of a model file at one image."""
    from pertcore.adapters.onnx.adapter import from_onnx

    oracle = from_onnx(str(model), threads=1)
    point = np.ascontiguousarray(x.reshape(1, *oracle.input_shape))
    size = int(np.prod(oracle.output_shape))
    each = np.eye(size, dtype=oracle.dtype).reshape(size, 1, *oracle.output_shape)
    return np.ascontiguousarray(oracle.linearize(point).vjp(each).reshape(size, -1).T)


def _searched(name: str, columns: np.ndarray) -> Figures:
    _, value, upper, cones = certified_signs(columns)
    greedy = greedy_signs(columns)
    paper = one_opt(columns, greedy, max_sweeps=0)[1]
    known = max(value, best_signs(columns, kicks=KNOWN, seed=1)[1])
    seconds, pass_seconds = (
        least(lambda: certified_signs(columns)),
        least(lambda: greedy_signs(columns)),
    )
    return {
        "kernel": "certified_signs",
        "matrix": name,
        "d": columns.shape[0],
        "outputs": columns.shape[1],
        "milliseconds": seconds * 1e3,
        "search_milliseconds": least(lambda: best_signs(columns)) * 1e3,
        "greedy_passes": seconds / pass_seconds,
        "paper_over_best_known": paper / known,
        "value_over_best_known": value / known,
        "value_over_bound": value / upper,
        "cones": cones,
    }


def line(figures: Figures) -> str:
    """One line of the table."""
    told = [
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in figures.items()
        if key != "kernel"
    ]
    return f"{figures['kernel']:<20} " + ", ".join(told)
