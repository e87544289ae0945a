"""The largest singular value of networks with 10^6 inputs: time in the model, time in vectors.

Also: how many products hold all columns of a denoiser, and all of a bottleneck's Jacobian.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import pertcore as pc
from bench.machine import machine_facts
from bench.models import data_folder
from bench.networks import to_onnx
from pertcore.demo import AUTOENCODER, digits
from pertcore.oracle import Array, Linearization, Oracle
from pertcore.solvers import columns, probing
from pertcore.solvers.lowrank import low_rank
from pertcore.solvers.products import Products

TALL, WIDE = 680, 480


class Timed:
    """An oracle that adds up the seconds, wall and processor, spent in it."""

    def __init__(self, inner: Oracle) -> None:
        self.inner = inner
        self.input_shape, self.output_shape = inner.input_shape, inner.output_shape
        self.dtype, self.capabilities, self.calls = inner.dtype, inner.capabilities, inner.calls
        self.wall = self.processor = 0.0

    def __call__(self, x: Array) -> Array:
        return self.timed(self.inner, x)

    def linearize(self, x: Array) -> TimedPoint:
        return TimedPoint(self, self.timed(self.inner.linearize, x))

    def timed(self, run: Callable[[Array], Any], argument: Array) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        made = run(argument)
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor
        return made


class TimedPoint:
    """A linearisation whose products are timed."""

    def __init__(self, oracle: Timed, inner: Linearization) -> None:
        self.oracle, self.inner, self.value = oracle, inner, inner.value

    def vjp(self, cotangent: Array) -> Array:
        return self.oracle.timed(self.inner.vjp, cotangent)

    def jvp(self, tangent: Array) -> Array:
        return self.oracle.timed(self.inner.jvp, tangent)

    def take(self, index: Array) -> TimedPoint:
        return TimedPoint(self.oracle, self.inner.take(index))


def denoiser(width: int, shape: tuple[int, ...]) -> Oracle:
    """Three 3 x 3 convolutions of that many channels on images of that shape."""
    torch.manual_seed(width)
    module = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1),
    ).requires_grad_(False)  # fmt: skip
    return pc.from_onnx(to_onnx(module, shape), threads=1)


def photograph(shape: tuple[int, ...]) -> Array:
    """Smooth noise in [0, 1]: sums of random waves."""
    rng = np.random.default_rng(0)
    rows, cols = np.mgrid[: shape[1], : shape[2]] / 100.0
    planes = []
    for _ in range(shape[0]):
        waves = rng.normal(size=(20, 4))
        planes.append(sum(a * np.sin(b * rows + c * cols + d) for a, b, c, d in waves))
    image = np.stack(planes)
    image = (image - image.min()) / (image.max() - image.min())
    return image.astype(np.float32)


def large(name: str) -> tuple[Oracle, Array]:
    """A fully convolutional network at 680 x 480 and one image."""
    if name.startswith("denoiser"):
        shape: tuple[int, ...] = (3, TALL, WIDE)
        return denoiser(int(name.split()[1]), shape), photograph(shape)
    file, shape = name, (1, TALL, WIDE)
    folder = data_folder()
    if folder is None:
        raise FileNotFoundError(f"{file}: the data folder is not there")
    oracle = pc.from_onnx(folder / "models" / f"{file}.onnx", input_shape=shape, threads=1)
    return oracle, photograph(shape)


def spectral(name: str, rounds: int) -> dict[str, Any]:
    """sigma_max by 30 pairs; model and vector work in seconds, and the peak of memory."""
    oracle, x = large(name)
    pc.spectral_norm(denoiser(4, (3, 32, 32)), photograph((3, 32, 32)))  # compiles
    pc.spectral_norm(oracle, x, min_pairs=2, max_pairs=2)
    runs = []
    for _ in range(rounds):
        timed = Timed(oracle)
        wall, processor = time.perf_counter(), time.process_time()
        found = pc.spectral_norm(timed, x)
        runs.append(
            {
                "wall_s": time.perf_counter() - wall, "model_wall_s": timed.wall,
                "cpu_s": time.process_time() - processor, "model_cpu_s": timed.processor,
            }
        )  # fmt: skip
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    shares = [run["cpu_s"] / run["model_cpu_s"] - 1 for run in runs]
    walls = [run["wall_s"] / run["model_wall_s"] - 1 for run in runs]
    return {
        "model": name, "inputs": int(np.prod(oracle.input_shape)),
        "outputs": int(np.prod(oracle.output_shape)), "pairs": int(found.pairs),
        "sigma_max": float(found.value), "at most": float(found.upper), "kind": found.kind,
        "residual": float(found.residual), **middle,
        "vector work over model, processor": statistics.median(shares),
        "vector work over model, processor, spread": [min(shares), max(shares)],
        "vector work over model, wall": statistics.median(walls),
        "peak_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }  # fmt: skip


def quadratic_attack(name: str) -> dict[str, Any]:
    """The p = 2 attack (13) in a box: model and vector work in seconds, and the peak of memory."""
    oracle, x = large(name)
    settings: dict[str, Any] = {"attack": "quadratic", "norm": 2, "bounds": (0, 1)}
    pc.attack(denoiser(4, (3, 32, 32)), photograph((3, 32, 32))[None], eps=1.0, **settings)
    timed = Timed(oracle)
    wall, processor = time.perf_counter(), time.process_time()
    made = pc.attack(timed, x[None], eps=5.0, **settings)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "model": name, "inputs": int(np.prod(oracle.input_shape)), "wall_s": wall,
        "model_wall_s": timed.wall, "cpu_s": processor, "model_cpu_s": timed.processor,
        "all other work over model, processor": processor / timed.processor - 1,
        "jvps": made.calls.jvp, "vjps": made.calls.vjp, "f": made.calls.f,
        "output squared error": float(made.loss_after[0]),
        "peak_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }  # fmt: skip


def combs(side: int) -> dict[str, Any]:
    """Products that hold all columns of a denoiser, against all of them taken one by one."""
    oracle, x = denoiser(16, (3, side, side)), photograph((3, side, side))
    products = Products.at(oracle, oracle.linearize(x[None]))
    reach = probing.detect(products)
    if reach is None:
        raise RuntimeError("a denoiser is local")
    began, before = time.perf_counter(), oracle.calls.copy()
    made = probing.Combs.of(products, reach)
    norms = probing.column_norms(made)
    seconds, spent = time.perf_counter() - began, (oracle.calls - before).jvp + reach.jvps
    truth = columns.column_norms(products) if side <= 32 else None
    off = None if truth is None else float(np.max(np.abs(norms - truth)) / np.max(truth))
    return {
        "model": f"denoiser 16 at {side}x{side}x3", "columns": products.d, "jvps": spent,
        "seconds": seconds, "error of random products": float(made.error.max()),
        "error of column norms": off,
    }  # fmt: skip


def ranks() -> list[dict[str, Any]]:
    """Pairs that hold all of J on autoencoders, against its rank by a dense SVD."""
    cases = [(AUTOENCODER, digits()[0][:8], "digits autoencoder")]
    folder = data_folder()
    if folder is not None:
        with np.load(folder / "datasets" / "mnist.npz") as held:
            x = held["x_test"][:4].reshape(4, -1) / np.float32(255)
        path = folder / "models" / "mnist_autoencoder3.onnx"
        cases.append((path, x, "mnist_autoencoder3 (784-512-784)"))
    return [_rank(*case) for case in cases]


def _rank(path: Path, x: Array, name: str) -> dict[str, Any]:
    oracle = pc.from_onnx(path, threads=1)
    products = Products.at(oracle, oracle.linearize(x))
    dense = columns.explicit(products).astype(np.float64)
    values = np.linalg.svd(dense, compute_uv=False)
    factor = low_rank(products, max_rank=min(products.d, products.outputs))
    made = np.matmul(factor.right.swapaxes(1, 2).astype(np.float64), factor.left)
    whole = np.linalg.norm(dense, axis=(1, 2))
    return {
        "model": name, "inputs": products.d, "outputs": products.outputs,
        "rank at 1e-6": np.count_nonzero(values > 1e-6 * values[:, :1], axis=1).tolist(),
        "rank found": factor.rank.tolist(), "jvps": factor.jvps, "vjps": factor.vjps,
        "error, Frobenius": float((np.linalg.norm(made - dense, axis=(1, 2)) / whole).max()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=None, help="write the figures as JSON")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    names = ["denoiser 32", "denoiser 64"]
    if data_folder() is not None:
        names += ["superres_espcn_x3", "colorization_dilated"]
    rows = []
    for name in names:
        # a process of its own: the peak of memory is that of one model
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rows.append(pool.apply(spectral, (name, arguments.rounds)))
        print(json.dumps(rows[-1], indent=2), flush=True)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        attacked = [pool.apply(quadratic_attack, ("denoiser 64",))]
    rest = {
        "p = 2 attack": attacked,
        "combs": [combs(side) for side in (32, 64, 224)],
        "low rank": ranks(),
    }
    print(json.dumps(rest, indent=2))
    if arguments.out is not None:
        report = {"machine": machine_facts(), "spectral": rows, **rest}
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
