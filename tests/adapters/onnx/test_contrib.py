"""ONNX Runtime's own operators: as it runs them, and exact derivatives."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from pertcore.adapters.onnx.adapter import from_onnx
from pertcore.errors import CapabilityError, ModelError
from tests.adapters.onnx.foreign_rows import check, foreign, numbers
from tests.adapters.onnx.models import small_net
from tests.adapters.onnx.rows import X

MICROSOFT = "com.microsoft"
ROWS = [
    *[foreign(MICROSOFT, op) for op in ("Gelu", "FastGelu", "QuickGelu")],
    foreign(MICROSOFT, "QuickGelu", alpha=0.7),
    foreign(MICROSOFT, "FastGelu", X, numbers(4)),
    foreign(MICROSOFT, "BiasGelu", X, numbers(4)),
    foreign(MICROSOFT, "FusedMatMul", X, numbers(4, 5), alpha=0.3),
    foreign(MICROSOFT, "FusedMatMul", X, numbers(2, 4), transA=1, transB=1, shape=(4, 3)),
    foreign(MICROSOFT, "FusedMatMul", numbers(3, 4), X, transA=1, shape=(3, 5)),
    foreign(MICROSOFT, "FusedMatMul", X, X, transB=1),
    foreign(MICROSOFT, "FusedMatMul", numbers(3, 1, 4), X, transBatchA=1, shape=(4, 5)),
    foreign(MICROSOFT, "TransposeMatMul", X, numbers(5, 4), transB=1),
    *[
        foreign(MICROSOFT, "FusedGemm", X, numbers(4, 3), numbers(3), shape=(4,), **more)
        for more in (
            {"activation": "Relu", "alpha": 0.7},
            {"activation": "LeakyRelu", "activation_alpha": 0.3, "beta": 2.0},
            {"activation": "Tanh"},
            {"activation": "Sigmoid"},
            {"activation": "Elu", "activation_alpha": 0.3},
            {"activation": "HardSigmoid", "activation_alpha": 0.3, "activation_beta": 0.4},
        )
    ],
    *[
        foreign(
            MICROSOFT,
            "FusedConv",
            X,
            numbers(4, 3, 3, 3),
            numbers(4),
            *z,
            shape=(3, 6, 5),
            pads=[1, 1, 1, 1],
            **more,
        )
        for z, more in (
            ((), {"activation": "Relu"}),
            ((), {"activation": "Sigmoid"}),
            ((), {"activation": "LeakyRelu", "activation_params": [0.2]}),
            ((), {"activation": "Clip", "activation_params": [-0.5, 0.8]}),
            ((), {"activation": "HardSigmoid", "activation_params": [0.3, 0.6]}),
            ((numbers(1, 4, 6, 5),), {"activation": "Relu", "n": 1}),
        )
    ],
    foreign(MICROSOFT, "SkipLayerNormalization", X, X, numbers(4), numbers(4)),
    foreign(
        MICROSOFT,
        "SkipLayerNormalization",
        X,
        numbers(1, 3, 4),
        numbers(4),
        numbers(4),
        numbers(4),
        epsilon=0.1,
        outputs=4,
        n=1,
    ),
    foreign(
        MICROSOFT,
        "SkipLayerNormalization",
        X,
        X,
        numbers(4),
        output="y3",
        outputs=4,
    ),
    foreign("", "SimplifiedLayerNormalization", X, numbers(4)),
    foreign("", "SimplifiedLayerNormalization", X, numbers(4), epsilon=0.2, axis=-1),
    foreign("", "LayerNormalization", X, numbers(4), numbers(4), opset=12),
    foreign(MICROSOFT, "SkipSimplifiedLayerNormalization", X, X, numbers(4), numbers(4)),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_as_onnx_runtime_runs_it(row):
    check(row)


def test_a_model_that_onnx_runtime_optimised(tmp_path):
    """Its fused operators give the derivative of the model as it was."""
    options = onnxruntime.SessionOptions()
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fused.onnx")
    net = small_net()
    onnxruntime.InferenceSession(net.SerializeToString(), options)
    fused, whole = (from_onnx(m, threads=1) for m in (tmp_path / "fused.onnx", net))
    x = np.random.default_rng(0).standard_normal((3, 1, 8, 8)).astype(np.float32)
    v = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)
    np.testing.assert_allclose(
        fused.linearize(x).vjp(v), whole.linearize(x).vjp(v), rtol=1e-4, atol=1e-5
    )


def test_the_layout_of_one_machine_is_refused_with_advice():
    net = small_net()
    net.graph.node[0].domain = "com.microsoft.nchwc"
    net.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    with pytest.raises(CapabilityError, match=r"nchwc::Conv.*ORT_ENABLE_EXTENDED"):
        from_onnx(net)


def test_a_name_that_is_no_text_is_refused():
    """Also where the message would list the node by it."""
    net = small_net()
    net.graph.node[0].domain, net.graph.node[0].name = "com.microsoft.nchwc", "NAMED"
    net.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    broken = net.SerializeToString().replace(b"NAMED", b"\xff\xfe\xfd\xfc\xfb")
    with pytest.raises(ModelError, match="no text"):
        from_onnx(broken)
