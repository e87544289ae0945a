"""Small ONNX models built for the tests."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ELEMENTS = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE}


def one_node(row, dtype=np.float32, batch="N"):
    """x -> the row's operator, its other inputs constants -> y0, y1, ..."""
    names, weights = [], []
    for place, value in enumerate(row.arguments):
        if value is Ellipsis:
            names.append("x")
        elif value is None:
            names.append("")
        else:
            array = np.asarray(value)
            array = (
                array.astype(dtype) if array.dtype.kind == "f" and not row.keeps(place) else array
            )
            names.append(f"w{place}")
            weights.append(numpy_helper.from_array(np.asarray(array), f"w{place}"))
    outputs = [f"y{i}" for i in range(row.outputs)]
    attrs = {k: ELEMENTS[dtype] if k == "to" else v for k, v in row.attrs.items()}
    node = helper.make_node(row.op, names, outputs, **attrs)
    given = helper.make_tensor_value_info("x", ELEMENTS[dtype], [batch, *row.shape])
    made = [helper.make_tensor_value_info(row.output, ELEMENTS[dtype], None)]
    return model([node], [given], made, weights, opset=row.opset)


def model(nodes, inputs, outputs, weights=(), opset=18, ir=8, **more):
    graph = helper.make_graph(nodes, "small", inputs, outputs, list(weights))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **more)
    made.ir_version = ir
    return made


def value(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def weight(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def small_net(batch="N", seed=0, opset=13):
    """conv, relu, pool, flatten, gemm: (batch, 1, 8, 8) -> (batch, 3)."""
    rng = np.random.default_rng(seed)
    weights = [
        weight("k", rng.standard_normal((4, 1, 3, 3)).astype(np.float32)),
        weight("b", rng.standard_normal(4).astype(np.float32)),
        weight("m", rng.standard_normal((3, 64)).astype(np.float32)),
        weight("flat", np.array([1 if batch == 1 else -1, 64])),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "k", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Reshape", ["p", "flat"], ["f"]),
        helper.make_node("Gemm", ["f", "m"], ["y"], transB=1),
    ]
    return model(nodes, [value("x", [batch, 1, 8, 8])], [value("y", [batch, 3])], weights, opset)
