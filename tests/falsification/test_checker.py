"""The judge of counterexamples sees what is wrong with one."""

import numpy as np
import pytest

import pertcore as pc
from tests.falsification.checker import check
from tests.falsification.nets import linear, spec, written

WRONG = {
    "no verdict": lambda text: text.replace("sat\n", "unknown\n"),
    "an output of another point": lambda text: text.replace("(Y_0 1.5)", "(Y_0 1.25)"),
    "outside of the box": lambda text: text.replace("(X_0 1.0)", "(X_0 1.0000001192092896)"),
    "no float32": lambda text: text.replace("(X_0 1.0)", "(X_0 0.99999999999)"),
    "a variable too few": lambda text: text.replace("\n(X_1 0.5)", ""),
    "a variable too many": lambda text: text.replace("(X_1 0.5)", "(X_1 0.5) (Z_0 1)"),
    "an atom violated": lambda text: text.replace("(X_1 0.5)", "(X_1 0.25)").replace("1.5", "1.25"),
}
RIGHT = "sat\n((X_0 1.0)\n(X_1 0.5)\n(Y_0 1.5))\n"


@pytest.fixture
def files(tmp_path):
    text = spec([("0", "1")] * 2, 1, "(or (>= Y_0 1.5) (< Y_0 0))")
    return linear(tmp_path / "m.onnx", [[1.0, 1.0]]), written(tmp_path / "p.vnnlib", text)


def test_a_right_answer(files):
    check(*files, RIGHT)
    check(*files, pc.falsify(*files).text())


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_answer(files, fault):
    assert WRONG[fault](RIGHT) != RIGHT
    with pytest.raises((AssertionError, KeyError)):
        check(*files, WRONG[fault](RIGHT))


def test_a_decimal_without_a_float(tmp_path):
    net = linear(tmp_path / "m.onnx", [[1.0]])
    file = written(tmp_path / "p.vnnlib", spec([("0.1", "0.1")], 1, "(<= Y_0 1)"))
    near = float(np.float32(0.1))
    check(net, file, f"sat\n((X_0 {near!r}) (Y_0 {near!r}))")
    other = float(np.nextafter(np.float32(0.1), np.float32(0)))
    with pytest.raises(AssertionError):
        check(net, file, f"sat\n((X_0 {other!r}) (Y_0 {other!r}))")
