"""Broken models, each from its number: bits flipped, files cut, nodes and tensors rearranged."""

import os
from pathlib import Path

import numpy as np
import onnx

from tests.adapters.onnx import (
    active_rows,
    test_attention,
    test_contrib,
    test_control,
    test_microsoft,
    test_ml,
    test_straight,
)
from tests.adapters.onnx.foreign_rows import built
from tests.adapters.onnx.models import one_node, small_net
from tests.adapters.onnx.rows import ROWS

REAL = (
    "models/mnist_cntk.onnx",
    "vnncomp/acasxu/onnx/ACASXU_run2a_1_1_batch_2000.onnx",
    "vnncomp/rl_benchmarks/onnx/cartpole.onnx",
    "vnncomp/reach_prob_density/onnx/vdp.onnx",
    "vnncomp/ml4acopf/onnx/14_ieee_ml4acopf.onnx",
    "vnncomp/collins_rul_cnn/onnx/NN_rul_small_window_20.onnx",
    "models/mnist_cnn_pytorch.onnx",
    "models/superres_espcn_x3.onnx",
)
NESTED = list(test_control.MODELS.values())
QUANTISED = [test_straight.qdq()[0], test_straight.qlinear(), test_straight.dynamic()[0]]
FOREIGN = [*test_contrib.ROWS, *test_ml.ROWS, *test_attention.ROWS, *test_microsoft.ROWS]
EXTREME = (-(2**63), -(2**31), -3, -1, 0, 1, 2, 3, 7, 255, 2**20, 2**31 - 1, 2**40, 2**63 - 1)
OPERATORS = [*sorted({row.op for row in ROWS}), "Loop", "If", "LSTM", "Attention", "No"]


def data():
    return Path(os.environ.get("PERTCORE_DATA", Path(__file__).parents[3] / "../shared/data"))


def source(rng):
    """A small net, an operator's row, or a real file where the data are there."""
    kind = rng.integers(10)
    found = [data() / name for name in REAL if (data() / name).is_file()]
    if kind == 0 and found:
        return onnx.load(found[rng.integers(len(found))])
    if kind == 1:
        return small_net(batch=1 if rng.integers(2) else "N")
    if kind in (2, 3):
        models = NESTED if kind == 2 else QUANTISED
        return onnx.ModelProto.FromString(pick(rng, models).SerializeToString())
    if kind == 4:
        return built(FOREIGN[rng.integers(len(FOREIGN))])
    if kind == 5:
        return one_moving(rng, active_rows.CASES[rng.integers(len(active_rows.CASES))])
    return one_node(ROWS[rng.integers(len(ROWS))], batch=1 if rng.integers(2) else "N")


def one_moving(rng, case):
    """The operator of a case whose every float moves: here any one of them, the rest weights."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    place = int(rng.integers(len(case.x)))
    given = [(v.name, x) for v, x in zip(model.graph.input, case.x, strict=True)]
    still = [onnx.numpy_helper.from_array(x, name) for name, x in given]
    model.graph.initializer.extend(still[:place] + still[place + 1 :])
    return model


def mutated(number, seed=0, source=source):
    """Bytes of broken model `number`, of one that `source(rng)` gives."""
    rng = np.random.default_rng([seed, number])
    model = source(rng)
    kind = rng.integers(5)
    if kind >= 2:
        for _ in range(rng.integers(1, 4)):
            edit = EDITS[rng.integers(len(EDITS))]
            edit(rng, pick(rng, graphs(model.graph)), model)
        return model.SerializeToString()
    content = bytearray(model.SerializeToString())
    if kind == 0:
        return bytes(content[: rng.integers(len(content))])
    # Half of the flips go where the structure is, which weights dwarf.
    reach = len(content) if rng.integers(2) else min(len(content), 600)
    for _ in range(rng.integers(1, 9)):
        place = rng.integers(reach)
        place = place if rng.integers(2) else len(content) - 1 - place
        content[place] ^= 1 << int(rng.integers(8))
    return bytes(content)


def graphs(graph):
    """The graph, and those inside it."""
    inner = [a.g for node in graph.node for a in node.attribute if a.HasField("g")]
    return [graph, *(deeper for g in inner for deeper in graphs(g))]


def pick(rng, things):
    return things[int(rng.integers(len(things)))] if len(things) else None


def extreme(rng):
    return int(pick(rng, EXTREME))


def names(graph):
    made = [name for node in graph.node for name in (*node.input, *node.output)]
    return made + [t.name for t in graph.initializer] + [v.name for v in graph.input] + ["", "none"]


def drop_node(rng, graph, _):
    if graph.node:
        del graph.node[int(rng.integers(len(graph.node)))]


def double_node(rng, graph, _):
    if graph.node:
        graph.node.append(pick(rng, graph.node))


def rewire_input(rng, graph, _):
    node = pick(rng, graph.node)
    if node is not None and node.input:
        node.input[int(rng.integers(len(node.input)))] = pick(rng, names(graph))


def rename_output(rng, graph, _):
    node = pick(rng, graph.node)
    if node is not None and node.output:
        node.output[int(rng.integers(len(node.output)))] = pick(rng, names(graph))


def more_inputs(rng, graph, _):
    node = pick(rng, graph.node)
    if node is not None:
        node.input.append(pick(rng, names(graph)))


def fewer_inputs(rng, graph, _):
    node = pick(rng, graph.node)
    if node is not None and node.input:
        del node.input[-1]


def other_operator(rng, graph, _):
    node = pick(rng, graph.node)
    if node is not None:
        node.op_type = pick(rng, OPERATORS)


def other_domain(rng, graph, _):
    node = pick(rng, graph.node)
    if node is not None:
        node.domain = pick(rng, ("com.microsoft", "ai.onnx.ml", "own", "ai.onnx"))


def other_number(rng, graph, _):
    node = pick(rng, graph.node)
    attribute = pick(rng, node.attribute) if node is not None else None
    if attribute is None:
        return
    if attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = extreme(rng)
    attribute.i = extreme(rng)
    attribute.f = float(pick(rng, (np.nan, np.inf, -1.0, 0.0, 1e30)))


def fewer_numbers(rng, graph, _):
    node = pick(rng, graph.node)
    attribute = pick(rng, node.attribute) if node is not None else None
    if attribute is not None and attribute.ints:
        del attribute.ints[-1]


def drop_attribute(rng, graph, _):
    node = pick(rng, graph.node)
    if node is not None and node.attribute:
        del node.attribute[int(rng.integers(len(node.attribute)))]


def other_attribute_type(rng, graph, _):
    node = pick(rng, graph.node)
    attribute = pick(rng, node.attribute) if node is not None else None
    if attribute is not None:
        attribute.type = int(rng.integers(15))


def other_dimension(rng, graph, _):
    tensor = pick(rng, graph.initializer)
    if tensor is not None and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = extreme(rng)


def other_value(rng, graph, _):
    """One entry of a shape, an axis or a pad."""
    whole = [t for t in graph.initializer if t.data_type == onnx.TensorProto.INT64]
    tensor = pick(rng, whole)
    if tensor is not None:
        whole = 8 * np.prod(tensor.dims) == len(tensor.raw_data)
        array = onnx.numpy_helper.to_array(tensor).copy() if whole else np.zeros(0)
        if array.size:
            array.reshape(-1)[rng.integers(array.size)] = extreme(rng)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def other_element(rng, graph, _):
    tensor = pick(rng, graph.initializer)
    if tensor is not None:
        tensor.data_type = int(rng.integers(27))


def drop_weights(rng, graph, _):
    if graph.initializer:
        del graph.initializer[int(rng.integers(len(graph.initializer)))]


def other_input_shape(rng, graph, _):
    given = pick(rng, graph.input)
    shape = given.type.tensor_type.shape if given is not None else None
    if shape is not None and shape.dim:
        shape.dim[int(rng.integers(len(shape.dim)))].dim_value = extreme(rng)


def other_input_type(rng, graph, _):
    given = pick(rng, [*graph.input, *graph.output])
    if given is not None:
        given.type.tensor_type.elem_type = int(rng.integers(27))


def other_opset(rng, _, model):
    entry = pick(rng, model.opset_import)
    if entry is not None:
        entry.version = int(pick(rng, (*range(-1, 30), 1000, 2**40)))


def other_order(rng, graph, _):
    nodes = [graph.node[i] for i in rng.permutation(len(graph.node))]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def huge_tensor(rng, graph, _):
    """A shape bomb in front of the output."""
    shape = np.array([pick(rng, (2**10, 2**20, 2**31, 2**40)) for _ in range(rng.integers(1, 4))])
    output = pick(rng, graph.output)
    if output is None:
        return
    graph.initializer.append(onnx.numpy_helper.from_array(shape, "bomb.shape"))
    kind = pick(rng, ("ConstantOfShape", "Expand", "Tile"))
    given = ["bomb.shape"] if kind == "ConstantOfShape" else ["bomb.seed", "bomb.shape"]
    seed = np.ones((1,) * len(shape), np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(seed, "bomb.seed"))
    graph.node.append(onnx.helper.make_node(kind, given, ["bomb"]))
    graph.node.append(onnx.helper.make_node("Add", [output.name, "bomb"], ["bombed"]))
    output.name = "bombed"


EDITS = (
    drop_node,
    double_node,
    rewire_input,
    rename_output,
    more_inputs,
    fewer_inputs,
    other_operator,
    other_domain,
    other_number,
    fewer_numbers,
    drop_attribute,
    other_attribute_type,
    other_dimension,
    other_value,
    other_element,
    drop_weights,
    other_input_shape,
    other_input_type,
    other_opset,
    other_order,
    huge_tensor,
)
