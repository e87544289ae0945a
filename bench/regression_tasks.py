"""Regression models and samples for the benchmarks: two autoencoders and a colorization network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import pertcore as pc
from bench.models import data_folder
from pertcore.demo import AUTOENCODER, digits

SAMPLES = 64
CROP = 16
# Weights of red, green and blue in grey (ITU-R BT.601).
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Task:
    """A model with samples in [0, 1].

    level: root mean square of the perturbation in the table of quality; levels: those of the
    figure, on its first `shown` samples; greys: whether pixels are changed one by one there.
    """

    name: str
    oracle: Any
    x: np.ndarray
    level: float
    levels: tuple[float, ...]
    shown: int = 20
    greys: bool = True

    def eps(self, norm: float) -> float:
        """The budget of the table of quality."""
        return self.scaled(self.level, norm)

    def scaled(self, level: float, norm: float) -> float:
        """eps of such a root mean square: level itself for p = inf, level d^(1/2) for p = 2."""
        return level if math.isinf(norm) else level * math.sqrt(self.x[0].size)


def tasks() -> list[Task]:
    """The models that are there: one is bundled, two lie in the data folder."""
    found = [bundled()]
    folder = data_folder()
    return found if folder is None else [*found, mnist(folder), colorization(folder)]


def bundled() -> Task:
    """The autoencoder of 8 x 8 digits."""
    oracle = pc.from_onnx(AUTOENCODER, threads=1)
    x = digits()[0][:SAMPLES]
    return Task("digits autoencoder", oracle, x, 0.05, (0.01, 0.02, 0.05, 0.1, 0.2))


def mnist(folder: Path) -> Task:
    """An autoencoder of MNIST, 784 entries."""
    oracle = pc.from_onnx(folder / "models" / "mnist_autoencoder3.onnx", threads=1)
    with np.load(folder / "datasets" / "mnist.npz") as held:
        x = held["x_test"][:SAMPLES].reshape(SAMPLES, -1) / np.float32(255)
    return Task("MNIST autoencoder", oracle, x, 0.05, (0.01, 0.02, 0.05, 0.1, 0.2))


def colorization(folder: Path) -> Task:
    """Grey crops of STL-10 coloured."""
    path = folder / "models" / "colorization_dilated.onnx"
    oracle = pc.from_onnx(path, input_shape=(1, CROP, CROP), threads=1)
    with np.load(folder / "datasets" / "stl10_sample.npz") as held:
        begin = (held["x"].shape[1] - CROP) // 2
        crops = held["x"][:SAMPLES, begin : begin + CROP, begin : begin + CROP]
    x = np.ascontiguousarray((crops / np.float32(255) @ LUMA)[:, None])
    return Task(
        "colorization", oracle, x, 8 / 255, (2 / 255, 8 / 255, 24 / 255), 8, False
    )  # fmt: skip
