"""Derivatives by every float input of an operator at once, its weights and bounds among them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from pertcore.adapters.onnx.differentiate import differentiate
from pertcore.errors import CapabilityError, ModelError
from tests.adapters.onnx.active_rows import CASES, IMAGE, IMAGES, PLANE, REGIONS, case, numbers
from tests.adapters.onnx.models import model, value, weight
from tests.adapters.onnx.node_cases import check


@pytest.mark.parametrize("one", CASES, ids=lambda c: c.name)
def test_all_inputs_at_once(one):
    outcome = check(one)
    assert outcome.kind == "passed", outcome.reason


def test_wrt_takes_in_weights():
    whole = case("Conv", IMAGE, numbers(3, 4, 3, 2), numbers(3)).model
    graph = differentiate(whole, wrt=["x1", "x2"])
    assert graph.outputs == ("grad_x1", "grad_x2")
    made = [v.type.tensor_type.shape.dim for v in graph.model.graph.output]
    assert [[d.dim_value for d in dims] for dims in made] == [[3, 4, 3, 2], [3]]


@pytest.mark.parametrize(
    "x, factors",
    [([2, 3, 4], [12, 8, 6]), ([2, 0, 4], [0, 8, 0]), ([0, 0, 4], [0, 0, 0])],
)
@pytest.mark.parametrize("op", ["ReduceProd", "CumProd"])
def test_products_with_zeros(op, x, factors):
    """d prod / d x_i is the product of the others, zeros or not."""
    row = np.array([x], np.float32)
    axis, shape = (np.array([1]), [1, 1]) if op == "ReduceProd" else (np.array(1), [1, 3])
    cotangent = np.zeros(shape, np.float32)
    cotangent[0, -1] = 1
    graph = differentiate(case(op, row, axis, opset=26).model)
    session = onnxruntime.InferenceSession(graph.model.SerializeToString())
    found = session.run(None, {"x0": row, "ct_y0": cotangent})[0]
    np.testing.assert_allclose(found, [factors], atol=1e-6)


def test_regions_that_are_no_constants_need_a_number_of_samples():
    sampled = case("RoiAlign", PLANE, REGIONS, IMAGES)
    with pytest.raises(CapabilityError, match=r"RoiAlign 'y0': with sampling_ratio=0"):
        differentiate(sampled.model)
    largest = case("RoiAlign", PLANE, REGIONS, IMAGES, fixed=(1,), mode="max")
    with pytest.raises(CapabilityError, match=r"maxima over regions of different sizes"):
        differentiate(largest.model)


def changed(one, **attrs):
    """The case's model with other attributes."""
    made = onnx.ModelProto()
    made.CopyFrom(one.model)
    node = made.graph.node[0]
    kept = [a for a in node.attribute if a.name not in attrs]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attrs.items())])
    del made.graph.output[0].type.tensor_type.shape.dim[:]
    return made


def test_attributes_beyond_all_bounds():
    regions = case("RoiAlign", PLANE, REGIONS, IMAGES, fixed=(1,))
    for attrs in ({"sampling_ratio": 2**31}, {"output_width": 2**40}):
        with pytest.raises(CapabilityError, match=r"RoiAlign 'y0': .* samples in each of"):
            differentiate(changed(regions, **attrs))
    far = changed(regions, spatial_scale=1e9)
    with pytest.raises(CapabilityError, match=r"a region of .* entries"):
        differentiate(far)
    deformed = case("DeformConv", PLANE, numbers(2, 3, 2, 2), numbers(2, 8, 3, 4), opset=19)
    with pytest.raises(ModelError, match=r"DeformConv 'y0': 8 offsets for 1 groups"):
        differentiate(changed(deformed, kernel_shape=[2**20, 2**20]))


@pytest.mark.parametrize(
    "x, low, high, slopes",
    [
        (0.0, -1.0, 1.0, (1, 0, 0)),
        (-1.0, -1.0, 1.0, (0, 1, 0)),
        (1.0, -1.0, 1.0, (0, 0, 1)),
        (0.0, 1.0, -1.0, (0, 0, 1)),
        (0.5, 0.5, 0.5, (0, 0, 1)),
    ],
)
def test_what_clip_gives_to_the_entry_and_to_its_bounds(x, low, high, slopes):
    """One of the three has all of the slope: a bound where it holds, the upper where both do."""
    one = case("Clip", np.array([x], np.float32), np.float32(low), np.float32(high))
    graph = differentiate(one.model).model
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    given = {f"x{i}": array for i, array in enumerate(one.x)}
    found = session.run(None, {**given, "ct_y0": np.ones(1, np.float32)})
    assert [float(g.reshape(())) for g in found] == list(slopes)


def test_transforms_beyond_all_bounds():
    line = case("DFT", numbers(1, 5, 1), axis=1, opset=19)
    wide = changed(line)
    wide.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 10**9
    with pytest.raises(CapabilityError, match=r"DFT 'y0': a matrix of .* entries"):
        differentiate(wide)
    frames = case("STFT", numbers(1, 12, 1), np.array(3), None, np.array(4))
    frames.model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(-(2**40)), "x1"))
    with pytest.raises(ModelError, match=r"STFT 'y0': frames of 4 of 12, every -"):
        differentiate(frames.model)


CROP = {"coordinate_transformation_mode": "tf_crop_and_resize"}


@pytest.mark.parametrize(
    "op, inputs, size, attrs",
    [
        ("Resize", ["x", "", "moves"], [4], {}),
        ("Resize", ["x", "moves", "", "to"], [8], CROP),
    ],
)
def test_a_number_that_a_rule_holds_still_must_not_move(op, inputs, size, attrs):
    """Its part in the derivative would be missing without a word."""
    nodes = [
        helper.make_node("Sigmoid", ["s"], ["moves"]),
        helper.make_node(op, inputs, ["y"], **attrs),
    ]
    given = [value("x", [1, 1, 4, 4]), value("s", size)]
    net = model(nodes, given, [value("y", None)], [weight("to", np.array([1, 1, 2, 2]))])
    place = inputs.index("moves")
    with pytest.raises(CapabilityError, match=rf"{op} \(y\) with respect to its input {place}"):
        differentiate(net, wrt=["x", "s"])
