"""Residuals that go from one model to the next as ONNX Runtime computed them, channels in blocks.

Outputs of a model are given in plain order, inputs are taken so: each residual of a convolutional
network would be converted twice. ONNX Runtime's own optimised graph shows the conversions
(`ReorderOutput`, `ReorderInput`); where both models have one, both are left out. The values are
the same numbers in another order, of the same shape.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnxruntime
from onnx import helper

from pertcore.adapters.onnx.layout import BLOCK

DOMAIN = "com.microsoft.nchwc"
QUIET = 4
# Above this size, in bytes, a model is not written out to see how ONNX Runtime optimises it.
LARGEST = 1 << 29


@dataclass
class Handover:
    """What the forward model gives in blocks: found by `give`, relied on by `expect`, `take`."""

    blocked: dict[str, int] = field(default_factory=dict)

    def give(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The optimised forward model without the conversion of residuals of whole blocks."""
        made = {node.output[0]: node for node in model.graph.node}
        for output in model.graph.output[1:]:  # The first is the model's own.
            node = made.get(output.name)
            if node is None or node.op_type != "ReorderOutput" or node.domain != DOMAIN:
                continue
            attrs = {a.name: a.i for a in node.attribute}
            blocks = node.input[0]
            if attrs.get("channels_last") or attrs["channels"] % BLOCK or blocks not in made:
                continue
            node.output[0] = f"{output.name}.plain"
            _rename(model, output.name, node.output[0])
            _rename(model, blocks, output.name)
            self.blocked[output.name] = attrs["channels"]
        _prune(model)
        return model

    def expect(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The product's model with its blocked residuals read through an idle pool, which has
        ONNX Runtime convert them at the start."""
        pools = []
        for name in self._inputs(model):
            _rename(model, name, f"{name}.read")
            pools.append(helper.make_node("MaxPool", [name], [f"{name}.read"], kernel_shape=[1, 1]))
        _put_first(model, pools)
        return model

    def take(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """The optimised product without these pools and conversions; a residual that it needs in
        plain order is converted there."""
        plain = []
        for name in self._inputs(model):
            reader = _only_reader(model, name, "ReorderInput")
            pool = _only_reader(model, reader.output[0], "MaxPool") if reader is not None else None
            if reader is None or pool is None:
                _rename(model, name, f"{name}.plain")
                plain.append(_conversion(name, f"{name}.plain", self.blocked[name]))
                continue
            model.graph.node.remove(reader)
            model.graph.node.remove(pool)
            _rename(model, pool.output[0], name)
        _put_first(model, plain)
        if plain and all(entry.domain != DOMAIN for entry in model.opset_import):
            model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
        return model

    def _inputs(self, model: onnx.ModelProto) -> Iterator[str]:
        return (value.name for value in model.graph.input if value.name in self.blocked)


def optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as ONNX Runtime's CPU provider would run it on this machine."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "optimised.onnx"
        options.optimized_model_filepath = str(place)
        providers = ["CPUExecutionProvider"]
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
        return onnx.load(place)


def worthwhile(model: onnx.ModelProto) -> bool:
    """Whether some output after the first may be given in blocks."""
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) > LARGEST:
        return False
    return any(
        len(dims := value.type.tensor_type.shape.dim) == 4
        and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        and dims[1].dim_value
        and dims[1].dim_value % BLOCK == 0
        for value in model.graph.output[1:]
    )


def _conversion(name: str, made: str, channels: int) -> onnx.NodeProto:
    return helper.make_node("ReorderOutput", [name], [made], domain=DOMAIN, channels=channels)


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Every use and every making of a value, but for the names of the model's outputs."""
    places = [names for node in _every(model.graph) for names in (node.input, node.output)]
    for names in places:
        for index, name in enumerate(names):
            if name == old:
                names[index] = new


def _every(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            yield from _every(attribute.g)


def _only_reader(model: onnx.ModelProto, name: str, op: str) -> onnx.NodeProto | None:
    """The one node that reads a value, where it is that operator of the blocked layout."""
    readers = [node for node in _every(model.graph) if name in node.input]
    single = len(readers) == 1 and readers[0].domain == DOMAIN and readers[0].op_type == op
    return readers[0] if single and len(readers[0].output) == 1 else None


def _prune(model: onnx.ModelProto) -> None:
    """Drops conversions that nobody reads any more."""
    read = {name for node in _every(model.graph) for name in node.input}
    read.update(value.name for value in model.graph.output)
    for node in list(model.graph.node):
        if node.op_type == "ReorderOutput" and node.output[0] not in read:
            model.graph.node.remove(node)


def _put_first(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
