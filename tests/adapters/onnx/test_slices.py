"""Slices of an axis whose length is open, from starts that may lie before its first entry."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from pertcore.adapters.onnx.differentiate import differentiate
from tests.adapters.onnx.models import model, value, weight


@pytest.mark.parametrize("length", [1, 2, 3, 6])
@pytest.mark.parametrize("low,high,step", [(-3, 9, 1), (-3, -1, 1), (-4, 9, 2), (-2, -9, -1)])
def test_of_an_open_axis(length, low, high, step):
    parts = {"low": low, "high": high, "axis": 1, "step": step}
    weights = [weight(name, np.array([number])) for name, number in parts.items()]
    cut = helper.make_node("Slice", ["x", *parts], ["y"])
    net = model([cut], [value("x", ["N", "L"])], [value("y", ["N", "M"])], weights)
    made = differentiate(net, mode="vjp")
    session = onnxruntime.InferenceSession(made.model.SerializeToString())
    x = np.arange(2 * length, dtype=np.float32).reshape(2, length)
    wanted = np.zeros_like(x)
    # ONNX clamps a start to the axis, NumPy lets a backward one fall off.
    taken = slice(max(length + low, 0), high if step > 0 else None, step)
    c = 1 + np.arange(x[:, taken].size, dtype=np.float32).reshape(2, -1)
    wanted[:, taken] = c
    found = session.run(None, {"x": x, "ct_y": c})[0]
    np.testing.assert_array_equal(found, wanted)
