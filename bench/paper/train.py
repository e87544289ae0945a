"""The paper's MNIST classifiers, trained from one seed: a network 784-150-100-10 and LeNet-5.

`trained(name, folder)` gives the ONNX file, and makes it where it is missing. MNIST is read from
PERTCORE_DATA or ../shared/data: datasets/mnist.npz with x_train, y_train, x_test, y_test, uint8,
as Keras distributes it.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch

from bench.models import data_folder
from bench.sequential import export
from bench.train_demo import fit

IMAGE, CLASSES, EPOCHS, SEED = (1, 28, 28), 10, 20, 0


def mnist(part: str) -> tuple[np.ndarray, np.ndarray]:
    """x (n, 1, 28, 28) float32 in [0, 1] and y (n,) int64 of the part "train" or "test"."""
    folder = data_folder()
    path = None if folder is None else folder / "datasets" / "mnist.npz"
    if path is None or not path.is_file():
        raise SystemExit(
            "MNIST is missing: put mnist.npz, from storage.googleapis.com/tensorflow/"
            "tf-keras-datasets, into datasets/ of the folder named by PERTCORE_DATA"
        )
    with np.load(path) as stored:
        x, y = stored[f"x_{part}"], stored[f"y_{part}"]
    return (x[:, None] / np.float32(255)).astype(np.float32), y.astype(np.int64)


def fcnn() -> torch.nn.Sequential:
    """Two hidden layers of 150 and 100 units, Section VI-A."""
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(784, 150),
        torch.nn.ReLU(),
        torch.nn.Linear(150, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, CLASSES),
    )


def lenet5() -> torch.nn.Sequential:
    """The layers of LeCun et al. 1998, with rectifiers and maximum pooling."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 5, padding=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 16, 5),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(400, 120),
        torch.nn.ReLU(),
        torch.nn.Linear(120, 84),
        torch.nn.ReLU(),
        torch.nn.Linear(84, CLASSES),
    )


NETWORKS = {"fcnn": fcnn, "lenet5": lenet5}


def one_cycle(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    """As the bundled demo models are fitted."""
    fit(model, x, y, EPOCHS, torch.nn.functional.cross_entropy)


def adam(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, decay: float = 0.0) -> None:
    """Adam at its default rate, 8 epochs, decay: of the weights, in the gradient."""
    optimizer = torch.optim.Adam(model.parameters(), weight_decay=decay)
    for _ in range(8):
        for index in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()


# The paper does not say how its networks were fitted; the measures depend on it.
RECIPES = {"one-cycle": one_cycle, "adam": adam, "adam-decay": partial(adam, decay=1e-4)}


def trained(name: str, folder: Path, recipe: str = "one-cycle") -> Path:
    """The ONNX file of a network of NETWORKS in `folder`; its doc string says how it came."""
    path = folder / f"mnist_{name}_{recipe}.onnx"
    if path.is_file():
        return path
    started = time.perf_counter()
    torch.manual_seed(SEED)
    model = NETWORKS[name]()
    RECIPES[recipe](model, *map(torch.from_numpy, mnist("train")))
    x, y = map(torch.from_numpy, mnist("test"))
    with torch.no_grad():
        error = float((model(x).argmax(1) != y).double().mean())
    told = f"MNIST, seed {SEED}, {recipe}, test error {error:.4f}"
    print(f"{name}: {told}, {time.perf_counter() - started:.0f} s")
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    onnx.save(export(model, IMAGE, "logits", (CLASSES,), told), part)
    part.replace(path)
    return path
