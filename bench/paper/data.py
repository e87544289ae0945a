"""The data sets of the paper's Section VI, from datasets/ of PERTCORE_DATA or ../shared/data.

Each is taken from an .npz or from the files of its makers, whichever is there. What is absent is
named together with where it can be had. Images are uint8 until they are used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.models import data_folder
from bench.paper.formats import read_cifar, read_idx, read_stl
from bench.train_demo import digits

WHERE = {
    "mnist": "mnist.npz from storage.googleapis.com/tensorflow/tf-keras-datasets, or the four idx "
    "files (mnist/train-images-idx3-ubyte.gz, ...) from ossci-datasets.s3.amazonaws.com/mnist",
    "cifar10": "cifar-10-batches-bin/ from www.cs.toronto.edu/~kriz/cifar.html",
    "stl10": "stl10_binary/ from cs.stanford.edu/~acoates/stl10",
    "voc2012": "voc2012/, Annotations/ and JPEGImages/ in it or all together, from "
    "host.robots.ox.ac.uk/pascal",
}


class AbsentError(Exception):
    """A data set or a given network is not there; the message says where it can be had."""


def images(data: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images (n, channels, height, width) and int64 labels (n,) of "train" or "test".

    data: "digits" (scikit-learn's, 8 x 8, no file needed), "mnist" or "cifar10".
    Raises AbsentError.
    """
    x, y = {"digits": _digits, "mnist": _mnist, "cifar10": _cifar}[data](part)
    return np.ascontiguousarray(x), y.astype(np.int64)


def scaled(x: np.ndarray) -> np.ndarray:
    """float32 in [0, 1]."""
    return x / np.float32(255)


def pictures(count: int) -> np.ndarray:
    """The first `count` pictures (n, 3, 96, 96) uint8 of STL-10's unlabelled part.

    Raises AbsentError.
    """
    folder = datasets()
    sample, binary = folder / "stl10_sample.npz", folder / "stl10_binary" / "unlabeled_X.bin"
    if sample.is_file():
        with np.load(sample) as held:
            return np.ascontiguousarray(held["x"][:count].transpose(0, 3, 1, 2))
    return read_stl(present("stl10", binary), count)


def datasets() -> Path:
    folder = data_folder()
    return (Path() if folder is None else folder) / "datasets"


def present(data: str, path: Path) -> Path:
    """The path, if there is something; raises AbsentError with where to get it."""
    if not path.exists():
        raise AbsentError(
            f"{data} is missing: put {WHERE[data]}, into datasets/ of the folder that "
            "PERTCORE_DATA names"
        )
    return path


def _digits(part: str) -> tuple[np.ndarray, np.ndarray]:
    x_train, x_test, y_train, y_test = digits(seed=0)
    x, y = (x_train, y_train) if part == "train" else (x_test, y_test)
    return np.rint(x * 255).astype(np.uint8), y


def _mnist(part: str) -> tuple[np.ndarray, np.ndarray]:
    keras = datasets() / "mnist.npz"
    if keras.is_file():
        with np.load(keras) as held:
            return held[f"x_{part}"][:, None], held[f"y_{part}"]
    prefix = "train" if part == "train" else "t10k"
    names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")
    x, y = (read_idx(_packed(datasets() / "mnist" / name)) for name in names)
    return x[:, None], y


def _packed(path: Path) -> Path:
    packed = path.with_name(path.name + ".gz")
    return packed if packed.is_file() else present("mnist", path)


def _cifar(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The binary batches, or .npz of x (n, 32, 32, 3) and y: cifar10_train_1 ... and _test5k."""
    numbers = range(1, 6)
    stored = [f"train_{i}" for i in numbers] if part == "train" else ["test5k"]
    files = [datasets() / f"cifar10_{name}.npz" for name in stored]
    if all(file.is_file() for file in files):
        parts = [np.load(file) for file in files]
        x = np.concatenate([held["x"] for held in parts]).transpose(0, 3, 1, 2)
        return x, np.concatenate([held["y"] for held in parts])
    batches = [f"data_batch_{i}" for i in numbers] if part == "train" else ["test_batch"]
    folder = datasets() / "cifar-10-batches-bin"
    return read_cifar(present("cifar10", folder / f"{batch}.bin") for batch in batches)
