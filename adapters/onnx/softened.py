"""A model whose dead units are felt: every Relu leaks, so that no slope through it is zero."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper

from pertcore.adapters.onnx.load import load

LEAK = 0.1
SINCE = 6  # the first opset whose LeakyRelu is today's


def softened(source: Any) -> onnx.ModelProto | None:
    """The model with LeakyRelu, of slope LEAK below zero, for each Relu of its graph; None where
    there is none. Raises as `load` does.

    Where all units behind a Relu are off, the model is constant and nothing tells a search where
    they come on; here they pull on the outputs in proportion.
    """
    model = load(source)
    opset = max((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), default=0)
    units = [n for n in model.graph.node if n.op_type == "Relu" and n.domain in ("", "ai.onnx")]
    if not units or opset < SINCE:
        return None
    for node in units:
        node.op_type = "LeakyRelu"
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("alpha", LEAK))
    return model
