"""What the paper's attacks are run on: a network with its test samples, by one name.

A name of `bench.paper.networks.NETWORKS` is trained where its file is missing; one of GIVEN is a
model of the data folder (PERTCORE_DATA). Every model runs on one thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import pertcore as pc
from bench.models import data_folder
from bench.paper.data import AbsentError, images, pictures, scaled
from bench.paper.networks import NETWORKS
from bench.regression_tasks import LUMA

# name -> the data it takes, its file under models/ of the data folder
GIVEN = {
    "given-lenet5": ("mnist", "mnist_lenet5_cln.onnx"),
    "given-resnet20": ("cifar10", "cifar10_resnet20.onnx"),
    "given-colorizer": ("stl10", "colorization_dilated.onnx"),
}
COLOURING = ("colorizer", "given-colorizer")


@dataclass(frozen=True)
class Subject:
    """A model with samples (n, *input) in [0, 1]; y: labels (n,), of classifiers alone; told: where
    the model is from."""

    oracle: Any
    x: np.ndarray
    y: np.ndarray
    told: str


def subject(name: str, count: int, folder: Path, side: int = 96) -> Subject:
    """The first `count` test samples and the network, trained into `folder` where it is missing.

    side: of the pictures' middles that a colouring network gets. Raises AbsentError.
    """
    path, data = located(name, folder)
    told = f"given: {path.name}" if name in GIVEN else onnx.load(path).graph.doc_string
    if name in COLOURING:
        x = greys(count, side)
        oracle = pc.from_onnx(path, input_shape=x.shape[1:], threads=1)
        return Subject(oracle, x, np.zeros(len(x), np.int64), told)
    x, y = images(data, "test")
    return Subject(pc.from_onnx(path, threads=1), scaled(x[:count]), y[:count], told)


def located(name: str, folder: Path) -> tuple[Path, str]:
    """The ONNX file of a network and the name of its data."""
    if name not in GIVEN:
        from bench.paper.train import trained  # PyTorch loads where it trains alone

        data = NETWORKS[name].data
        return trained(name, folder), data
    data, file = GIVEN[name]
    path = (data_folder() or Path()) / "models" / file
    if not path.is_file():
        raise AbsentError(
            f"{name} is missing: models/{file} of the folder that PERTCORE_DATA names"
        )
    return path, data


def greys(count: int, side: int) -> np.ndarray:
    """Grey middles (n, 1, side, side) of STL-10's pictures."""
    x = scaled(pictures(count))
    begin = (x.shape[-1] - side) // 2
    middle = x[..., begin : begin + side, begin : begin + side]
    return np.ascontiguousarray(np.tensordot(LUMA, middle, ([0], [1]))[:, None])
