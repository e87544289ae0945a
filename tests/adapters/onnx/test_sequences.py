"""Sequences and optionals leave nothing behind where they are static; else they are refused."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.differentiate import differentiate
from pertcore.errors import CapabilityError, ModelError
from pertcore.testing import assert_oracle
from tests.adapters.onnx.models import model, value, weight

RNG = np.random.default_rng(8)
NUMBERS = [weight(name, np.array(n)) for name, n in (("zero", 0), ("one", 1), ("last", -1))]
W = weight("w", RNG.standard_normal((4, 4)).astype(np.float32))


def made(*nodes, outputs=(("y", ["N", None]),), weights=(W,), inputs=(("x", ["N", 4]),)):
    return model(
        list(nodes),
        [value(name, shape) for name, shape in inputs],
        [value(name, shape) for name, shape in outputs],
        [*NUMBERS, *weights],
    )


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


def judged(whole, expected):
    """The value, J^T against J and a difference quotient; no operator on sequences is left."""
    oracle = from_onnx(whole, threads=1)
    x = RNG.standard_normal((3, 4)).astype(np.float32)
    np.testing.assert_allclose(oracle(x), expected(x), rtol=1e-5, atol=1e-5)
    assert_oracle(oracle, x)
    left = {n.op_type for n in differentiate(whole, mode="value_and_vjp").model.graph.node}
    assert not {op for op in left if "Sequence" in op or "Optional" in op}


def test_a_sequence_is_built_changed_and_joined():
    whole = made(
        node("Tanh", "x", "t"),
        helper.make_node("SequenceEmpty", [], ["none"]),
        node("SequenceInsert", "none x", "s"),
        node("SequenceInsert", "s t", "s0"),
        node("SequenceInsert", "s0 x zero", "s1"),
        node("SequenceInsert", "s1 t", "s2"),
        node("SequenceErase", "s2 one", "s3"),
        node("SequenceInsert", "s3 x last", "s4"),
        node("ConcatFromSequence", "s4", "y", axis=1),
    )
    judged(whole, lambda x: np.concatenate([x, np.tanh(x), x, np.tanh(x)], axis=1))


def test_a_tensor_is_split_and_its_parts_are_picked():
    whole = made(
        node("SplitToSequence", "x two", "s", axis=1),
        node("SequenceAt", "s zero", "a"),
        node("SequenceAt", "s last", "b"),
        node("SequenceLength", "s", "n"),
        node("Cast", "n", "f", to=1),
        node("Mul", "a b", "p"),
        node("Mul", "p f", "y"),
        weights=[weight("two", np.array([2, 2]))],
    )
    judged(whole, lambda x: 2 * x[:, :2] * x[:, 2:])


def test_single_slices_without_their_axis():
    whole = made(
        node("SplitToSequence", "x", "s", axis=-1, keepdims=0),
        node("SequenceErase", "s last", "t"),
        node("ConcatFromSequence", "t", "u", axis=1, new_axis=1),
        node("Mul", "u u", "y"),
    )
    judged(whole, lambda x: x[:, :3] ** 2)


def test_a_graph_for_every_tensor():
    body = helper.make_graph(
        [node("MatMul", "a m", "p"), node("Sin", "p", "q")],
        "each",
        [value("a", ["N", 4]), value("m", [4, 4])],
        [value("q", ["N", 4])],
    )
    whole = made(
        node("SequenceConstruct", "x x", "s"),
        node("SequenceMap", "s w", "t", body=body),
        node("ConcatFromSequence", "t", "y", axis=-1),
    )
    w = np.frombuffer(W.raw_data, np.float32).reshape(4, 4)
    judged(whole, lambda x: np.tile(np.sin(x @ w), 2))


def test_optionals_are_unwrapped():
    then = helper.make_graph([node("Exp", "g", "h")], "then", [], [value("h", ["N", 4])])
    other = helper.make_graph([node("Neg", "g", "h2")], "other", [], [value("h2", ["N", 4])])
    whole = made(
        node("Optional", "x", "o"),
        node("OptionalHasElement", "o", "has"),
        node("OptionalGetElement", "o", "g"),
        node("If", "has", "y", then_branch=then, else_branch=other),
    )
    judged(whole, np.exp)


def test_an_empty_optional():
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [4]))
    empty = helper.make_node("Optional", [], ["o"], type=kind)
    whole = made(empty, node("OptionalGetElement", "o", "g"), node("Add", "x g", "y"))
    with pytest.raises(ModelError, match=r"OptionalGetElement .* the optional is empty"):
        differentiate(whole)


def test_what_is_known_at_run_time_alone_is_refused():
    at = made(
        node("SequenceConstruct", "x x", "s"),
        node("ArgMax", "x", "i", axis=1, keepdims=0),
        node("ReduceMax", "i", "k", keepdims=0),
        node("SequenceAt", "s k", "y"),
    )
    with pytest.raises(CapabilityError, match=r"SequenceAt 'y': its input 1 is only known at run"):
        differentiate(at)
    split = made(node("SplitToSequence", "x", "s"), node("ConcatFromSequence", "s", "y", axis=0))
    with pytest.raises(CapabilityError, match=r"SplitToSequence 's': the size of axis -2"):
        differentiate(split)


def test_a_sequence_out_of_a_branch_is_refused():
    def branch(name):
        kind = helper.make_sequence_type_proto(
            helper.make_tensor_type_proto(TensorProto.FLOAT, None)
        )
        out = helper.make_value_info(name, kind)
        return helper.make_graph([node("SequenceConstruct", "x x", name)], name, [], [out])

    whole = made(
        node("ReduceMax", "x", "m", keepdims=0),
        node("Cast", "m", "c", to=9),
        node("If", "c", "s", then_branch=branch("a"), else_branch=branch("b")),
        node("ConcatFromSequence", "s", "y", axis=1),
    )
    with pytest.raises(CapabilityError, match=r"makes a sequence, whose tensors are only known"):
        differentiate(whole)


def test_a_position_outside():
    whole = made(node("SequenceConstruct", "x", "s"), node("SequenceAt", "s one", "y"))
    with pytest.raises(ModelError, match=r"SequenceAt 'y': position 1 of 1"):
        differentiate(whole)


def test_parts_that_do_not_make_up_the_axis():
    for sizes in ([2, 1], [3, 2], [5, -1]):
        whole = made(
            node("SplitToSequence", "x parts", "s", axis=1),
            node("SequenceAt", "s zero", "y"),
            weights=[weight("parts", np.array(sizes))],
        )
        with pytest.raises(ModelError, match=r"SplitToSequence 's': 4 in 2 parts"):
            differentiate(whole)


def test_a_sequence_of_very_many():
    whole = made(
        node("SplitToSequence", "x", "s", axis=1),
        node("SequenceAt", "s zero", "y"),
        inputs=(("x", ["N", 10**9]),),
    )
    with pytest.raises(ModelError, match=r"SplitToSequence 's': 1000000000 in 4097 parts"):
        differentiate(whole)


def test_a_model_that_gives_a_sequence_has_nothing_to_differentiate():
    whole = made(node("SequenceConstruct", "x", "y"))
    one = helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    whole.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(one))
    with pytest.raises(CapabilityError, match=r"no output that is a tensor of floats"):
        differentiate(whole)
    with pytest.raises(CapabilityError, match="output 'y' is a sequence or an optional, and only"):
        from_onnx(whole)
