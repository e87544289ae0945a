"""The trained networks that may lie beside the repository, and what it takes to run each."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("PERTCORE_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Network:
    """File, samples drawn, and where the file leaves it open one sample's shape and the output."""

    name: str
    count: int = 2
    shape: tuple[int, ...] | None = None
    output: str | None = None
    scale: float = 1.0
    heavy: bool = False

    @property
    def path(self):
        path = DATA / "models" / f"{self.name}.onnx"
        if not path.is_file():
            pytest.skip(f"{path} is not there; PERTCORE_DATA names the folder with models/")
        return path

    @property
    def options(self):
        return {"input_shape": self.shape, "output": self.output}


NETWORKS = [
    Network("mnist_lenet5_cln"),
    Network("mnist_wongkolter_0.1"),
    Network("mnist_colt_0.1"),
    Network("mnist_cnn_pytorch"),
    Network("mnist_cntk", scale=255.0),
    Network("mnist_mlp_sigmoid"),
    Network("mnist_autoencoder3"),
    Network("cifar10_resnet20"),
    Network("cifar10_resnet32"),
    Network("cifar10_wongkolter_l2_36px"),
    Network("colorization_dilated", shape=(1, 14, 14)),
    Network("superres_espcn_x3", shape=(1, 16, 18)),
    Network("style_candy", count=1, shape=(3, 44, 48), scale=255.0),
    Network("detector_fastestdet_coco", count=1, heavy=True),
    Network("detector_ultraface_rfb320_simplified", count=1, output="boxes", heavy=True),
    Network("detector_ultraface_rfb320_simplified", count=1, output="scores", heavy=True),
]


def points(network, oracle, seed=0):
    rng = np.random.default_rng(seed)
    smooth = rng.random((network.count, *oracle.input_shape))
    return (network.scale * smooth).astype(oracle.dtype)


def in_float64(path):
    """The model with every float32 tensor and type made float64."""
    model = onnx.ModelProto()
    model.CopyFrom(onnx.load(path) if isinstance(path, Path) else path)
    for tensor in [*model.graph.initializer, *_attributes(model)]:
        if tensor.data_type == TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    for value in [*model.graph.input, *model.graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
        if node.op_type == "Resize":
            _keep_scales(model, node)
    del model.graph.value_info[:]
    return model


def _attributes(model):
    return [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]


def _keep_scales(model, node):
    for tensor in model.graph.initializer:
        if tensor.name in list(node.input)[1:]:
            narrow = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(narrow, tensor.name))
