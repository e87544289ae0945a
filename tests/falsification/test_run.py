"""Searches on small models whose answer is known, every counterexample judged by the checker."""

import gzip
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import pertcore as pc
from pertcore.errors import CapabilityError, InputError, ModelError
from tests.adapters.onnx.models import model, value, weight
from tests.falsification.checker import check, expressions
from tests.falsification.nets import dead_unit, linear, mlp, saved, spec, written

UNIT = [("0", "1")]


def searched(net, tmp_path, inputs, outputs, *conditions, **options):
    """The result, its counterexample checked."""
    file = written(tmp_path / "p.vnnlib", spec(inputs, outputs, *conditions))
    found = pc.falsify(net, file, **{"timeout": 20.0, "deterministic": True} | options)
    assert (found.verdict == "sat") == (found.witness is not None)
    if found.witness is not None:
        check(net, file, found.text())
    return found


def test_only_one_corner_of_a_linear_model(tmp_path):
    signs = np.where(np.arange(40) % 3, 1.0, -1.0)
    net = linear(tmp_path / "m.onnx", signs)
    most = int(signs.clip(0).sum())
    found = searched(net, tmp_path, UNIT * 40, 1, f"(>= Y_0 {most - 0.01})")
    assert found.verdict == "sat" and found.witness.strict and found.rounds <= 1
    np.testing.assert_allclose(found.witness.margin, 0.01, rtol=1e-3)
    np.testing.assert_array_equal(found.witness.x, signs.clip(0))


def test_a_boundary_belongs_to_a_weak_inequality_alone(tmp_path):
    net = linear(tmp_path / "m.onnx", [1.0, 1.0])
    found = searched(net, tmp_path, UNIT * 2, 1, "(>= Y_0 2)")
    assert found.verdict == "sat" and found.witness.margin == 0 and not found.witness.strict
    assert searched(net, tmp_path, UNIT * 2, 1, "(> Y_0 2)", rounds=3).verdict == "unknown"
    over = "2.00000000000000000000000000001"  # float64 cannot tell it from 2
    assert searched(net, tmp_path, UNIT * 2, 1, f"(>= Y_0 {over})", rounds=3).verdict == "unknown"


def test_a_strict_witness_is_preferred(tmp_path):
    """The first points tried lie on the boundary: clipped outputs."""
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    net = saved(tmp_path / "m.onnx", model(nodes, [value("x", ["N", 1])], [value("y", ["N", 1])]))
    found = searched(net, tmp_path, [("-9", "0.001")], 1, "(>= Y_0 0)")
    assert found.witness.strict


def test_bounds_are_rounded_inward(tmp_path):
    """0.1 has a float32 above it: taking that one would leave the box."""
    net = linear(tmp_path / "m.onnx", [1.0])
    assert np.float64(np.float32(0.1)) > 0.1
    found = searched(net, tmp_path, [("0", "0.1")], 1, "(>= Y_0 0.0999)", rounds=3)
    assert found.verdict == "sat"
    outside = searched(net, tmp_path, [("0", "0.1")], 1, "(>= Y_0 0.1)", rounds=3)
    assert outside.verdict == "unknown"


def test_an_input_fixed_at_no_float_takes_the_nearest(tmp_path):
    net = linear(tmp_path / "m.onnx", [[1.0, 1.0]])
    found = searched(net, tmp_path, [("0.1", "0.1"), ("0", "1")], 1, "(>= Y_0 1)")
    assert found.witness.x[0] == np.float32(0.1)
    assert "1 of 2 inputs are bounded so closely that no float32" in " ".join(found.notes)
    # an atom over that input counts the decimal: 0.1 <= 0.1, which its float32 is not
    atom = "(or (and (<= (* 2 X_0) 0.2) (>= Y_0 1)))"
    assert searched(net, tmp_path, [("0.1", "0.1"), ("0", "1")], 1, atom).verdict == "sat"


def test_units_that_are_off_almost_everywhere(tmp_path):
    net = dead_unit(tmp_path / "m.onnx", 60)
    x = np.random.default_rng(0).random((10_000, 60), dtype=np.float32)
    assert (pc.from_onnx(net)(x) == -1).all()
    assert searched(net, tmp_path, UNIT * 60, 1, "(>= Y_0 5)").verdict == "sat"


@pytest.mark.parametrize("operator", ["Sign", "Round", "Floor"])
def test_plateaus_without_slopes(tmp_path, operator):
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], transB=1),
        helper.make_node(operator, ["a"], ["s"]),
        helper.make_node("ReduceSum", ["s", "axes"], ["y"], keepdims=1),
    ]
    rows = (3 * np.random.default_rng(4).standard_normal((6, 8))).astype(np.float32)
    weights = [weight("w", rows), weight("axes", np.array([1]))]
    net = saved(
        tmp_path / "m.onnx",
        model(nodes, [value("x", ["N", 8])], [value("y", ["N", 1])], weights),
    )
    wanted = {"Sign": 6, "Round": 20, "Floor": 18}[operator]
    assert searched(net, tmp_path, [("-1", "1")] * 8, 1, f"(>= Y_0 {wanted})").verdict == "sat"


def test_alternatives_nonlinear_terms_and_inputs_in_atoms(tmp_path):
    net = linear(tmp_path / "m.onnx", np.eye(2))
    ring = "(and (<= (+ (* X_0 X_0) (* Y_1 Y_1)) 0.5) (>= (* X_0 X_1) 0.2499))"
    found = searched(net, tmp_path, UNIT * 2, 2, f"(or (>= Y_0 3) {ring} (<= Y_1 -1))")
    np.testing.assert_allclose(found.witness.x, 0.5, atol=0.02)
    assert searched(net, tmp_path, UNIT * 2, 2, "(= X_0 X_1)").verdict == "sat"
    assert searched(net, tmp_path, UNIT * 2, 2, "(<= (/ 1 X_0) 1.001)").verdict == "sat"


def test_more_cases_than_can_be_listed(tmp_path):
    net = mlp(tmp_path / "m.onnx", (6, 12, 40))
    y = pc.from_onnx(net)(np.full((1, 6), 0.3, np.float32))[0]
    pairs = [f"(or (<= Y_{i} {v - 1e-3:.6f}) (>= Y_{i} {v - 2e-3:.6f}))" for i, v in enumerate(y)]
    assert searched(net, tmp_path, UNIT * 6, 40, *pairs).verdict == "sat"
    narrow = [f"(or (>= Y_{i} {v - 0.05:.6f}) (<= Y_{i} -99))" for i, v in enumerate(y[:20])]
    assert searched(net, tmp_path, UNIT * 6, 40, *narrow).verdict == "sat"


def test_outputs_left_free(tmp_path):
    found = searched(mlp(tmp_path / "m.onnx", (2, 3, 1)), tmp_path, UNIT * 2, 1)
    assert found.verdict == "sat" and found.witness.margin == np.inf


def two_inputs():
    nodes = [
        helper.make_node("Flatten", ["a"], ["f"]),
        helper.make_node("Concat", ["f", "b"], ["c"], axis=1),
        helper.make_node("Neg", ["c"], ["n"]),
        helper.make_node("Identity", ["b"], ["m"]),
    ]
    given = [value("a", [1, 1, 2]), value("b", [1, 1])]
    return model(nodes, given, [value("n", [1, 3]), value("m", [1, 1])])


def test_several_inputs_and_outputs_lie_side_by_side(tmp_path):
    net = saved(tmp_path / "m.onnx", two_inputs())
    found = searched(
        net, tmp_path, [("0", "1"), ("2", "3"), ("4", "5")], 4, "(<= Y_2 -4.9)", "(>= Y_3 4.9)"
    )
    assert found.witness.x[2] >= 4.9 and len(found.witness.y) == 4


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_and_types(tmp_path, batch, dtype):
    net = linear(tmp_path / "m.onnx", [[1.0, -1.0]], dtype=dtype, batch=batch)
    found = searched(net, tmp_path, [("0.1", "0.7")] * 2, 1, "(>= Y_0 0.5999)")
    assert found.verdict == "sat" and found.witness.x.dtype == dtype


def test_packed_files(tmp_path):
    net = linear(tmp_path / "m.onnx", [1.0])
    (tmp_path / "m.onnx.gz").write_bytes(gzip.compress(net.read_bytes()))
    (tmp_path / "p.vnnlib.gz").write_bytes(gzip.compress(spec(UNIT, 1, "(<= Y_0 0.5)").encode()))
    assert pc.falsify(tmp_path / "m.onnx.gz", tmp_path / "p.vnnlib.gz").verdict == "sat"


def test_deterministic_runs_are_the_same_to_the_last_digit(tmp_path):
    net = mlp(tmp_path / "m.onnx", (10, 30, 30, 3))
    condition = "(and (>= Y_0 (+ Y_1 0.8)) (>= Y_0 (+ Y_2 0.8)))"
    texts = [
        searched(net, tmp_path, [("-1", "1")] * 10, 3, condition, rng=seed).text()
        for seed in (0, 0, 1)
    ]
    assert texts[0] == texts[1] and texts[0].startswith("sat")
    assert texts[0] != texts[2]


def test_the_text_is_the_competitions(tmp_path):
    found = searched(linear(tmp_path / "m.onnx", [1.0]), tmp_path, UNIT, 1, "(<= Y_0 0.7)")
    lines = found.text().splitlines()
    assert lines[0] == "sat" and lines[1].startswith("((X_0 ") and lines[2].startswith("(Y_0 ")
    ((x, y),) = expressions("\n".join(lines[1:]))
    assert np.float32(x[1]) == found.witness.x[0] and float(y[1]) == found.witness.y[0]


def test_time_is_kept(tmp_path):
    net = mlp(tmp_path / "m.onnx", (50, 300, 300, 2))
    began = time.perf_counter()
    found = searched(net, tmp_path, UNIT * 50, 2, "(>= Y_0 1e9)", timeout=1.0)
    assert found.verdict == "timeout" and found.text() == "timeout\n"
    assert time.perf_counter() - began < 2.5  # and what the start of a first model costs


def test_nothing_to_move_ends_at_once(tmp_path):
    net = linear(tmp_path / "m.onnx", [1.0])
    assert searched(net, tmp_path, [("0.5", "0.5")], 1, "(>= Y_0 0.6)").verdict == "unknown"
    empty = searched(net, tmp_path, [("1", "0")], 1, "(>= Y_0 0.6)")
    assert empty.verdict == "unknown" and "leaves no input" in empty.notes[0]


def test_outputs_that_are_no_numbers_are_no_counterexample(tmp_path):
    nodes = [helper.make_node("Sqrt", ["x"], ["y"])]
    net = saved(tmp_path / "m.onnx", model(nodes, [value("x", ["N", 1])], [value("y", ["N", 1])]))
    found = searched(net, tmp_path, [("-2", "-1")], 1, "(<= Y_0 5)", rounds=2)
    assert found.verdict == "unknown"
    assert searched(net, tmp_path, [("-2", "1")], 1, "(<= Y_0 5)").verdict == "sat"


def test_wrong_calls(tmp_path):
    net = linear(tmp_path / "m.onnx", [[1.0, 1.0]])
    file = written(tmp_path / "q.vnnlib", spec(UNIT * 2, 1, "(<= Y_0 0)"))
    for options in ({"timeout": 0}, {"timeout": float("nan")}, {"rounds": 0}):
        with pytest.raises(InputError, match=next(iter(options))):
            pc.falsify(net, file, **options)
    with pytest.raises(InputError, match="no such file"):
        pc.falsify(tmp_path / "none.onnx", file)
    with pytest.raises(InputError, match=r"m\.onnx has 2 input numbers, the property declares 3"):
        searched(net, tmp_path, UNIT * 3, 1, "(<= Y_0 0)")
    with pytest.raises(InputError, match=r"m\.onnx has 1 output numbers, the property declares 2"):
        searched(net, tmp_path, UNIT * 2, 2, "(<= Y_0 0)")
    loose = written(tmp_path / "r.vnnlib", file.read_text().replace("(assert (<= X_1 1))", ""))
    with pytest.raises(InputError, match="X_1 has no bound from above"):
        pc.falsify(net, loose)
    with pytest.raises(ModelError):
        pc.falsify(file, file)
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    whole = model(nodes, [value("x", [1, 2], TensorProto.INT64)], [value("y", [1, 2])])
    onnx.save(whole, tmp_path / "i.onnx")
    with pytest.raises(CapabilityError, match="floats of one type"):
        searched(tmp_path / "i.onnx", tmp_path, UNIT * 2, 2, "(<= Y_0 0)")
