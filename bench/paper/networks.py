"""The networks of the paper's Section VI, as torch.nn.Sequential of layers that `export` knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from bench.sequential import Grown


def fcnn(size: int = 784) -> nn.Sequential:
    """Two hidden layers of 150 and 100 units, Section VI-A."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(size, 150),
        nn.ReLU(),
        nn.Linear(150, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def lenet5() -> nn.Sequential:
    """The layers of LeCun et al. 1998, with rectifiers and maximum pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def nin() -> nn.Sequential:
    """Network in Network, Lin et al. 2014, Section 4.2, with batch normalisation for few epochs."""
    blocks: list[nn.Module] = []
    widths = ((3, 192, 160, 96, 5), (96, 192, 192, 192, 5), (192, 192, 192, 10, 3))
    for place, (before, *outs, size) in enumerate(widths):
        for kernel, after in zip((size, 1, 1), outs, strict=True):
            blocks += [nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)]
            blocks += [nn.BatchNorm2d(after), nn.ReLU()]
            before = after
        if place < 2:
            blocks += [nn.MaxPool2d(2), nn.Dropout(0.2)]
    # no rectifier on the scores
    return nn.Sequential(*blocks[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())


def densenet40() -> nn.Sequential:
    """DenseNet of 40 layers and growth 12, Huang et al. 2017, without bottlenecks."""
    width, layers = 24, [nn.Conv2d(3, 24, 3, padding=1, bias=False)]
    built: list[nn.Module] = list(layers)
    for block in range(3):
        for _ in range(12):
            built.append(
                Grown(
                    nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 12, 3, padding=1, bias=False)
                )
            )
            width += 12
        built += [nn.BatchNorm2d(width), nn.ReLU()]
        if block < 2:
            built += [nn.Conv2d(width, width, 1, bias=False), nn.AvgPool2d(2)]
    return nn.Sequential(*built, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def autoencoder(image: tuple[int, int, int], *widths: int) -> nn.Sequential:
    """Fully connected through layers of these widths and back, out in [0, 1]."""
    size = image[0] * image[1] * image[2]
    up_and_down = [size, *widths, *reversed(widths[:-1]), size]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(up_and_down):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid(), nn.Unflatten(1, image))


def colorizer() -> nn.Sequential:
    """Grey in, red, green and blue out, each from a window of 11 x 11 pixels."""
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 48), (48, 48), (48, 48)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(48, 3, 3, padding=1), nn.Sigmoid())


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: AdamW under a one-cycle rate, or Adam at a constant one.

    rate: the largest; decay: of the weights, for Adam inside the gradient; augment: random crops
    of a padded image and mirror images; half: products in bfloat16, twice as fast on one core.
    """

    epochs: int
    rate: float
    decay: float = 1e-4
    cycle: bool = True
    batch: int = 64
    augment: bool = False
    half: bool = False


@dataclass(frozen=True)
class Network:
    """data: as `bench.paper.data.images` calls it; makes: "classes", "itself" (an autoencoder), or
    "colours" of its grey input, in which case it takes pictures of any size."""

    data: str
    build: Callable[[], nn.Sequential]
    recipe: Recipe
    makes: str = "classes"


DIGITS, MNIST, CIFAR = (1, 8, 8), (1, 28, 28), (3, 32, 32)
IMAGES = {"digits": DIGITS, "mnist": MNIST, "cifar10": CIFAR}
ONE_CYCLE = Recipe(20, 6e-3)
NETWORKS = {
    "digits-fcnn": Network("digits", lambda: fcnn(64), ONE_CYCLE),
    "digits-autoencoder": Network(
        "digits", lambda: autoencoder(DIGITS, 64, 16), Recipe(60, 6e-3), "itself"
    ),
    "fcnn": Network("mnist", fcnn, ONE_CYCLE),
    # The paper does not say how its networks were fitted; robustness depends on it.
    "fcnn-adam": Network("mnist", fcnn, Recipe(8, 1e-3, 0.0, cycle=False)),
    "fcnn-adam-decay": Network("mnist", fcnn, Recipe(8, 1e-3, cycle=False)),
    "lenet5": Network("mnist", lenet5, ONE_CYCLE),
    "lenet5-adam": Network("mnist", lenet5, Recipe(8, 1e-3, 0.0, cycle=False)),
    # 784 to 31 numbers, 96 % fewer; 3072 to 1536, 50 % fewer (Section VI-B).
    "mnist-autoencoder": Network(
        "mnist", lambda: autoencoder(MNIST, 256, 31), Recipe(15, 3e-3), "itself"
    ),
    "cifar-autoencoder": Network(
        "cifar10", lambda: autoencoder(CIFAR, 1536), Recipe(6, 1e-3), "itself"
    ),
    "colorizer": Network("cifar10", colorizer, Recipe(5, 4e-3, batch=128, half=True), "colours"),
    "nin": Network("cifar10", nin, Recipe(6, 4e-3, 5e-4, batch=128, augment=True, half=True)),
    "densenet40": Network("cifar10", densenet40, Recipe(3, 6e-3, 5e-4, augment=True, half=True)),
}
