"""How near their bound the signs of p = inf come, on the first 20 test images of every model.

Run `python -m bench.certificates [--json FILE]` with OMP_NUM_THREADS=1. The worst and the mean of
value / bound, of the relaxation alone and with cones, processor seconds with cones, and how the
value compares with that of a search of 2,000 kicks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import machine_facts
from bench.models import data_folder
from bench.quadratic import columns_at
from pertcore.closed_form.quadratic import best_signs, certified_signs
from pertcore.demo import AUTOENCODER, CLASSIFIER, digits

SAMPLES, KNOWN = 20, 2000
LONG = 1 << 18
"""Entries of a Jacobian above which the long search is left out (`bench.quadratic` has it)."""
MNIST = ("mnist_mlp_sigmoid", "mnist_lenet5_cln", "mnist_cnn_pytorch", "mnist_wongkolter_0.1")


def models() -> Iterator[tuple[str, Path, np.ndarray]]:
    """Name, file and images in the model's own units."""
    small = digits()[0][:SAMPLES].astype(np.float32)
    yield "digits classifier (MLP)", Path(CLASSIFIER), small
    yield "digits autoencoder", Path(AUTOENCODER), small
    folder = data_folder()
    if folder is None:
        return
    with np.load(folder / "datasets" / "mnist.npz") as held:
        images = held["x_test"][:SAMPLES] / np.float32(255)
    for name in MNIST:
        yield name, folder / "models" / f"{name}.onnx", images
    yield "mnist_cntk", folder / "models" / "mnist_cntk.onnx", images * 255
    with np.load(folder / "datasets" / "cifar10_test5k.npz") as held:
        photos = np.moveaxis(held["x"][:SAMPLES], -1, 1) / np.float32(255)
    yield "cifar10_resnet20", folder / "models" / "cifar10_resnet20.onnx", photos
    yield "mnist_autoencoder3", folder / "models" / "mnist_autoencoder3.onnx", images


def certified(name: str, path: Path, images: np.ndarray) -> dict[str, Any]:
    """The figures of one model."""
    before, after, shares, seconds, cones = [], [], [], [], []
    for image in images:
        columns = columns_at(path, image[None])
        _, value, upper, _ = certified_signs(columns, enough=0)
        started = time.process_time()
        upper_now, count = certified_signs(columns)[2:]
        seconds.append(time.process_time() - started)
        if columns.size <= LONG:
            known = max(value, best_signs(columns, kicks=KNOWN, seed=1)[1])
            shares.append(value / known)
        before.append(value / upper)
        after.append(value / upper_now)
        cones.append(count)
    return {
        "model": name, "samples": len(images), "d": columns.shape[0], "outputs": columns.shape[1],
        "relaxation, worst": min(before), "relaxation, mean": statistics.mean(before),
        "worst": min(after), "mean": statistics.mean(after),
        "value over known, worst": min(shares, default=None),
        "below 0.95": sum(ratio < 0.95 for ratio in after), "cones, most": max(cones),
        "seconds, mean": statistics.mean(seconds[1:]), "seconds, most": max(seconds[1:]),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=None, help="write the figures as JSON")
    arguments = parser.parse_args()
    rows = []
    certified_signs(np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))  # compiles
    for name, path, images in models():
        rows.append(certified(name, path, images))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.json is not None:
        report = {"machine": machine_facts(), "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
