"""ONNX-ML: scores as ONNX Runtime computes them, and exact derivatives."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from pertcore.adapters.onnx import registry
from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.adapters.onnx.describe import describe
from pertcore.errors import CapabilityError
from tests.adapters.onnx.foreign_rows import built, check, foreign, numbers
from tests.adapters.onnx.models import model, value, weight
from tests.adapters.onnx.rows import X

ML = "ai.onnx.ml"
TWO = {"shape": (4,), "outputs": 2, "output": "y1", "ints": ("y0",)}
TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO")


def flat(*shape):
    return numbers(*shape).ravel().tolist()


def linear(op, rows, *, more=None, **attrs):
    return foreign(
        ML, op, coefficients=flat(rows, 4), intercepts=flat(rows), **(more or {}), **attrs
    )


def classifier(rows, classes, **attrs):
    return linear(
        "LinearClassifier", rows, more=TWO, classlabels_ints=list(range(classes)), **attrs
    )


def machine(op, kind, count, **attrs):
    return foreign(
        ML,
        op,
        support_vectors=flat(count, 4),
        kernel_type=kind,
        kernel_params=[0.3, 0.2, 3.0],
        **attrs,
    )


def svc(counts, kind, **attrs):
    total, classes = sum(counts), len(counts)
    return machine(
        "SVMClassifier",
        kind,
        total,
        coefficients=flat(classes - 1, total),
        vectors_per_class=counts,
        rho=flat(classes * (classes - 1) // 2),
        classlabels_ints=list(range(classes)),
        **TWO,
        **attrs,
    )


KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
ROWS = [
    linear("LinearRegressor", 1, shape=(4,)),
    foreign(ML, "LinearRegressor", coefficients=flat(4), shape=(4,)),
    *[linear("LinearRegressor", 3, shape=(4,), targets=3, post_transform=t) for t in TRANSFORMS],
    *[classifier(rows, max(rows, 2), post_transform=t) for rows in (1, 3) for t in TRANSFORMS],
    *[
        machine("SVMRegressor", kind, 5, coefficients=flat(5), n_supports=5, rho=[0.4], shape=(4,))
        for kind in KERNELS
    ],
    foreign(
        ML,
        "SVMRegressor",
        coefficients=flat(4),
        rho=[0.4],
        kernel_type="LINEAR",
        kernel_params=[0.0, 0.0, 0.0],
        shape=(4,),
    ),
    *[svc(counts, kind) for counts in ([2, 3], [2, 1, 2], [1, 2, 2, 1]) for kind in KERNELS],
    *[svc(counts, "RBF", post_transform=t) for counts in ([2, 3], [2, 1, 2]) for t in TRANSFORMS],
    foreign(
        ML,
        "SVMClassifier",
        coefficients=flat(3, 4),
        rho=[0.4],
        kernel_type="LINEAR",
        kernel_params=[0.0, 0.0, 0.0],
        classlabels_ints=[0, 1, 2],
        **TWO,
    ),
    *[foreign(ML, "Normalizer", norm=norm, shape=(4,)) for norm in ("MAX", "L1", "L2")],
    foreign(ML, "Scaler", offset=[0.3], scale=[1.7], shape=(4,)),
    foreign(ML, "Scaler", offset=flat(4), scale=flat(4), shape=(4,)),
    foreign(
        ML, "Imputer", imputed_value_floats=flat(4), replaced_value_float=float("nan"), shape=(4,)
    ),
    foreign(ML, "Imputer", imputed_value_floats=[0.5], replaced_value_float=0.25, shape=(4,)),
    foreign(ML, "FeatureVectorizer", X, X, inputdimensions=[4, 4], shape=(4,)),
    foreign(ML, "ArrayFeatureExtractor", X, np.array([2, 0, 2]), shape=(4,)),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_as_onnx_runtime_runs_it(row):
    check(row)


def test_every_lowered_operator_has_a_row():
    tested = {row.op for row in ROWS}
    assert (
        sorted(name for domain, name in registry.LOWERED if domain == ML and name not in tested)
        == []
    )


def test_the_scores_are_chosen_beside_the_labels():
    net = built(classifier(3, 3))
    assert from_onnx(net, threads=1).output_shape == (3,)
    with pytest.raises(CapabilityError, match=r"'y0' is no number.*scores"):
        from_onnx(net, output="y0")


def test_a_missing_value_gives_no_derivative():
    net = built(
        foreign(ML, "Imputer", imputed_value_floats=[5.0], replaced_value_float=1.0, shape=(2,))
    )
    lin = from_onnx(net, threads=1).linearize(np.array([[1.0, 2.0]], np.float32))
    np.testing.assert_array_equal(lin.value, [[5, 2]])
    np.testing.assert_array_equal(lin.vjp(np.ones((1, 2), np.float32)), [[0, 1]])


def stump(name):
    """1 where the first feature is at most 0, else 2."""
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        [name],
        domain=ML,
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.0, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[1.0, 2.0],
    )


def test_trees_are_zero_by_nature():
    net = model([stump("y")], [value("x", ["N", 2])], [value("y", ["N", 1])])
    net.opset_import.append(helper.make_opsetid(ML, 1))
    with pytest.raises(CapabilityError, match=r"identically zero.*TreeEnsembleRegressor") as caught:
        from_onnx(net)
    assert "straight_through" not in str(caught.value)


@pytest.mark.parametrize("batch", ["N", 1])
@pytest.mark.parametrize("version", [1, 3])
def test_trees_beside_a_network(version, batch):
    """y = tree(x) exp(x): what the tree gives counts as a constant."""
    nodes = [stump("t"), helper.make_node("Exp", ["x"], ["e"])]
    nodes.append(helper.make_node("Mul", ["t", "e"], ["y"]))
    net = model(nodes, [value("x", [batch, 2])], [value("y", [batch, 2])])
    net.opset_import.append(helper.make_opsetid(ML, version))
    facts = {entry.name: entry.fact for entry in describe(net).operators}
    assert facts == {f"{ML}::TreeEnsembleRegressor": "zero", "Exp": "rule", "Mul": "rule"}
    oracle = from_onnx(net, threads=1)
    assert {"exact", "take"} <= oracle.capabilities
    x = np.array([[-0.5, 0.3], [0.5, 0.1], [0.2, -1.0]], np.float32)
    wanted = np.exp(x) * np.array([[1.0], [2.0], [2.0]])
    lin = oracle.linearize(x)
    np.testing.assert_allclose(lin.value, wanted, rtol=1e-6)
    np.testing.assert_allclose(lin.vjp(np.ones_like(x)), wanted, rtol=1e-6)
    np.testing.assert_allclose(lin.jvp(np.ones((2, 3, 2), np.float32))[1], wanted, rtol=1e-6)


def test_an_unknown_operator_beside_the_way_is_no_matter():
    """Its inputs do not move, so that its derivative is not asked for."""
    wide = helper.make_node("MurmurHash3", ["k"], ["h"], domain="com.microsoft")
    nodes = [wide, helper.make_node("Cast", ["h"], ["f"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Mul", ["x", "f"], ["y"]))
    given = [value("x", ["N", 2])]
    net = model(nodes, given, [value("y", ["N", 2])], [weight("k", np.array([3, 5], np.int32))])
    net.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    oracle = from_onnx(net, threads=1)
    x = np.ones((2, 2), np.float32)
    np.testing.assert_allclose(oracle.linearize(x).vjp(x), oracle(x))


def test_probabilities_and_dictionaries_are_refused_with_advice():
    row = svc([2, 3], "RBF", prob_a=[-1.0], prob_b=[0.1])
    with pytest.raises(CapabilityError, match="probability=False"):
        from_onnx(built(row))
    net = built(classifier(3, 3))
    zipped = helper.make_node("ZipMap", ["y1"], ["z"], domain=ML, classlabels_int64s=[0, 1, 2])
    net.graph.node.append(zipped)
    net.graph.output.append(value("z", None, TensorProto.UNDEFINED))
    with pytest.raises(CapabilityError, match="zipmap=False"):
        from_onnx(net, output="z")
