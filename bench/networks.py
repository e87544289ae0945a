"""Networks to time, each a PyTorch module and the ONNX model of the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

OPSET, IR_VERSION = 17, 8


class Residual(nn.Module):
    """relu(inner(x) + skip(x)); a skip that changes the size is a convolution of one pixel."""

    def __init__(self, channels: int, made: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(channels, made, 3, stride, 1), nn.ReLU(), nn.Conv2d(made, made, 3, 1, 1)
        )
        same = stride == 1 and channels == made
        self.skip = nn.Identity() if same else nn.Conv2d(channels, made, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.inner(x) + self.skip(x))


class Bottleneck(nn.Module):
    """relu(inner(x) + skip(x)) with the 3 x 3 convolution between two of one pixel."""

    def __init__(self, channels: int, middle: int, stride: int) -> None:
        super().__init__()
        made = 4 * middle
        self.inner = nn.Sequential(
            nn.Conv2d(channels, middle, 1), nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride, 1), nn.ReLU(),
            nn.Conv2d(middle, made, 1),
        )  # fmt: skip
        same = stride == 1 and channels == made
        self.skip = nn.Identity() if same else nn.Conv2d(channels, made, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(self.inner(x) + self.skip(x))


class GlobalAverage(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True)


def mlp() -> nn.Sequential:
    """784-150-100-10."""
    return nn.Sequential(
        nn.Linear(784, 150), nn.ReLU(), nn.Linear(150, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def lenet5() -> nn.Sequential:
    """LeCun, Bottou, Bengio & Haffner 1998 with Relu and max pools, for 28 x 28 images."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def resnet20() -> nn.Sequential:
    """He, Zhang, Ren & Sun 2016 for CIFAR, its normalisations folded into the convolutions."""
    stages = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)]
    blocks = [Residual(*shape) for shape in [*stages, (64, 64, 1), (64, 64, 1)]]
    first = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*first, *blocks, GlobalAverage(), nn.Flatten(), nn.Linear(64, 10))


def resnet50() -> nn.Sequential:
    """He, Zhang, Ren & Sun 2016 for 224 x 224 images, its normalisations folded."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(2)]
    channels = 64
    for middle, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            layers.append(Bottleneck(channels, middle, stride if index == 0 else 1))
            channels = 4 * middle
    return nn.Sequential(*layers, GlobalAverage(), nn.Flatten(), nn.Linear(2048, 1000))


def vgg() -> nn.Sequential:
    """Pairs of 3 x 3 convolutions of 32, 64 and 128 channels, each pair before a max pool."""
    layers: list[nn.Module] = []
    for channels, made in ((3, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(channels, made, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(made, made, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2048, 128), nn.ReLU(), nn.Linear(128, 10))


def autoencoder() -> nn.Sequential:
    """784-32-784."""
    return nn.Sequential(nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 784), nn.Sigmoid())


def conv_autoencoder() -> nn.Sequential:
    """28 x 28 to 16 x 7 x 7 and back."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 3, 2, 1, 1), nn.Sigmoid(),
    )  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Sequential], tuple[int, ...]]] = {
    "mlp": (mlp, (784,)),
    "lenet5": (lenet5, (1, 28, 28)),
    "resnet20": (resnet20, (3, 32, 32)),
    "vgg": (vgg, (3, 32, 32)),
    "autoencoder": (autoencoder, (784,)),
    "conv_autoencoder": (conv_autoencoder, (1, 28, 28)),
}


def network(name: str) -> tuple[nn.Sequential, onnx.ModelProto, tuple[int, ...]]:
    """The module, its ONNX model of free batch, and the shape of one sample; seeded by the name."""
    make, shape = NETWORKS[name]
    torch.manual_seed(len(name))
    module = make().eval().requires_grad_(False)
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            # Spread biases, so that half of the units are off, as in a trained network.
            part.bias.normal_(0, 0.2)
    return module, to_onnx(module, shape), shape


def to_onnx(module: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The module as an ONNX model: input x (N, *shape), output y."""
    writer = Writer()
    made = writer.add(module, "x")
    with torch.no_grad():
        out = tuple(module(torch.zeros(1, *shape)).shape[1:])
    return writer.model(made, shape, out)


class Writer:
    """Writes modules as ONNX nodes, one after the other."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def model(self, made: str, given: tuple[int, ...], out: tuple[int, ...]) -> onnx.ModelProto:
        """What was written, from x (N, *given) to the value `made` as y (N, *out)."""
        self.nodes.append(helper.make_node("Identity", [made], ["y"]))
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *given])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", *out])
        graph = helper.make_graph(self.nodes, "network", [x], [y], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = IR_VERSION
        onnx.checker.check_model(model)
        return model

    def add(self, module: nn.Module, x: str) -> str:
        """The module applied to the value `x`; returns the name of the result."""
        if isinstance(module, nn.Sequential):
            for part in module:
                x = self.add(part, x)
            return x
        if isinstance(module, Residual | Bottleneck):
            total = self.emit("Add", self.add(module.inner, x), self.add(module.skip, x))
            return self.emit("Relu", total)
        if isinstance(module, nn.Identity):
            return x
        return self.layer(module, x)

    def layer(self, module: nn.Module, x: str) -> str:
        if isinstance(module, nn.Linear):
            return self.emit("Gemm", x, *self.held(module), transB=1)
        if isinstance(module, nn.ConvTranspose2d):
            extra = list(module.output_padding)
            window = self.window(module)
            return self.emit("ConvTranspose", x, *self.held(module), output_padding=extra, **window)
        if isinstance(module, nn.Conv2d):
            return self.emit("Conv", x, *self.held(module), **self.window(module))
        if isinstance(module, nn.MaxPool2d):
            sides = [int(module.kernel_size)] * 2
            return self.emit("MaxPool", x, kernel_shape=sides, strides=sides)
        plain = {
            nn.ReLU: "Relu", nn.Sigmoid: "Sigmoid", nn.Flatten: "Flatten",
            GlobalAverage: "GlobalAveragePool",
        }  # fmt: skip
        return self.emit(plain[type(module)], x)

    def window(self, module: Any) -> dict[str, Any]:
        pads = list(module.padding) * 2
        return {
            "kernel_shape": list(module.kernel_size),
            "strides": list(module.stride),
            "pads": pads,
        }

    def held(self, module: Any) -> list[str]:
        return [self.weight(module.weight), self.weight(module.bias)]

    def weight(self, tensor: torch.Tensor | np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        array = tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else tensor
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def emit(self, kind: str, *inputs: str, **attrs: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attrs))
        return name


def deep_transformer(nodes: int) -> onnx.ModelProto:
    """Attention blocks in single operators, as exporters write them, of some `nodes` nodes."""
    writer, x = TransformerWriter(), "x"
    while len(writer.nodes) < nodes:
        x = writer.block(x)
    size = (writer.length, writer.width)
    return writer.model(x, size, size)


class TransformerWriter(Writer):
    """Writes blocks of attention over a few places, normalised before."""

    width, heads, length = 32, 4, 16

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(0)

    def held_at_random(self, *shape: int) -> str:
        return self.weight((self.rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32))

    def number(self, value: float) -> str:
        return self.weight(np.array(value, np.float32))

    def normal(self, x: str) -> str:
        centred = self.emit("Sub", x, self.emit("ReduceMean", x, axes=[-1]))
        square = self.emit("ReduceMean", self.emit("Mul", centred, centred), axes=[-1])
        spread = self.emit("Sqrt", self.emit("Add", square, self.number(1e-5)))
        scaled = self.emit("Div", centred, spread)
        gain, shift = self.held_at_random(self.width), self.held_at_random(self.width)
        return self.emit("Add", self.emit("Mul", scaled, gain), shift)

    def linear(self, x: str, given: int, made: int) -> str:
        product = self.emit("MatMul", x, self.held_at_random(given, made))
        return self.emit("Add", product, self.held_at_random(made))

    def head(self, x: str, perm: list[int]) -> str:
        sizes = self.weight(np.array([0, self.length, self.heads, self.width // self.heads]))
        split = self.emit("Reshape", self.linear(x, self.width, self.width), sizes)
        return self.emit("Transpose", split, perm=perm)

    def attention(self, x: str) -> str:
        query, value = self.head(x, [0, 2, 1, 3]), self.head(x, [0, 2, 1, 3])
        scores = self.emit("MatMul", query, self.head(x, [0, 2, 3, 1]))
        share = self.emit("Softmax", self.emit("Mul", scores, self.number(0.35)), axis=-1)
        mixed = self.emit("Transpose", self.emit("MatMul", share, value), perm=[0, 2, 1, 3])
        sizes = self.weight(np.array([0, self.length, self.width]))
        return self.linear(self.emit("Reshape", mixed, sizes), self.width, self.width)

    def gelu(self, x: str) -> str:
        half = self.emit("Erf", self.emit("Div", x, self.number(2**0.5)))
        gate = self.emit("Mul", x, self.emit("Add", half, self.number(1.0)))
        return self.emit("Mul", gate, self.number(0.5))

    def block(self, x: str) -> str:
        x = self.emit("Add", x, self.attention(self.normal(x)))
        inner = self.gelu(self.linear(self.normal(x), self.width, 2 * self.width))
        return self.emit("Add", x, self.linear(inner, 2 * self.width, self.width))
