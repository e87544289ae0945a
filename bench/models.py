"""Where benchmark models and data lie: PERTCORE_DATA, ../shared/data, else the bundled demo."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def data_folder() -> Path | None:
    """The folder of real models and data sets, or None where there is none."""
    for place in (os.environ.get("PERTCORE_DATA"), ROOT.parent / "shared" / "data"):
        if place and (Path(place) / "models").is_dir():
            return Path(place)
    return None


def digits(count: int) -> tuple[Path, np.ndarray, np.ndarray]:
    """A digits classifier's file with `count` test images in [0, 1] and labels.

    MNIST and LeNet-5 where the data folder is, else the bundled 8x8 digits, repeated if need be.
    """
    folder = data_folder()
    if folder is not None:
        with np.load(folder / "datasets" / "mnist.npz") as held:
            x, y = held["x_test"][:count, None] / np.float32(255), held["y_test"][:count]
        return folder / "models" / "mnist_lenet5_cln.onnx", x, y.astype(np.int64)
    demo = ROOT / "pertcore" / "demo"
    with np.load(demo / "digits.npz") as held:
        rows = np.arange(count) % len(held["x"])
        return demo / "digits_classifier.onnx", held["x"][rows].astype(np.float32), held["y"][rows]


def cifar(count: int) -> tuple[Path, np.ndarray, np.ndarray] | None:
    """ResNet-20 with `count` CIFAR-10 test images in [0, 1], NCHW; None without the data."""
    folder = data_folder()
    if folder is None:
        return None
    with np.load(folder / "datasets" / "cifar10_test5k.npz") as held:
        x = held["x"][:count].transpose(0, 3, 1, 2) / np.float32(255)
        return folder / "models" / "cifar10_resnet20.onnx", x, held["y"][:count].astype(np.int64)
