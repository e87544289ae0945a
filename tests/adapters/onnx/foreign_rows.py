"""Operators outside ONNX's standard: one node each, judged by ONNX Runtime's own forward."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from pertcore.adapters.onnx.adapter import from_onnx
from tests.adapters.onnx.models import model, value, weight
from tests.adapters.onnx.rows import X

RNG = np.random.default_rng(11)


def numbers(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class ForeignRow:
    """y = op(arguments) in a domain; X among them is the input (n, *shape)."""

    domain: str
    op: str
    arguments: tuple[Any, ...]
    attrs: dict[str, Any]
    shape: tuple[int, ...] = (3, 4)
    outputs: int = 1
    output: str = "y0"
    opset: int = 18
    batches: tuple[int, ...] = (1, 3)
    ints: tuple[str, ...] = field(default=())

    def __str__(self):
        shown = [f"{k}={v}" for k, v in self.attrs.items()]
        return "-".join([self.op, *shown, self.output])[:70]


def foreign(domain, op, *arguments, n=None, **more):
    own = {k: more.pop(k) for k in ("shape", "outputs", "output", "opset", "ints") if k in more}
    batches = (1, 3) if n is None else (n,)
    return ForeignRow(domain, op, arguments or (X,), more, batches=batches, **own)


def built(row):
    batch = "N" if len(row.batches) > 1 or row.batches[0] != 1 else 1
    names, weights = [], []
    for place, argument in enumerate(row.arguments):
        if argument is X:
            names.append("x")
        elif argument is None:
            names.append("")
        else:
            names.append(f"w{place}")
            weights.append(weight(f"w{place}", argument))
    outputs = [f"y{i}" for i in range(row.outputs)]
    node = helper.make_node(row.op, names, outputs, "node", domain=row.domain, **row.attrs)
    made = [
        value(name, None, TensorProto.INT64 if name in row.ints else TensorProto.FLOAT)
        for name in dict.fromkeys([row.output, *row.ints])
    ]
    net = model([node], [value("x", [batch, *row.shape])], made, weights, opset=row.opset)
    if row.domain:
        net.opset_import.append(helper.make_opsetid(row.domain, 1))
    return net


def check(row, low=-2.0, high=2.0):
    """Value against the model itself, J^T against J, J against a quotient, many against one."""
    oracle = from_onnx(built(row), output=row.output, threads=1)
    rng = np.random.default_rng(3)
    for n in row.batches:
        x = rng.uniform(low, high, (n, *row.shape)).astype(np.float32)
        lin = oracle.linearize(x)
        np.testing.assert_allclose(lin.value, oracle._user(x), rtol=1e-4, atol=1e-5)
        u = rng.standard_normal((2, *x.shape)).astype(np.float32)
        v = rng.standard_normal((2, *lin.value.shape)).astype(np.float32)
        pushed, pulled = lin.jvp(u), lin.vjp(v)
        np.testing.assert_allclose(pushed, [lin.jvp(t) for t in u], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(pulled, [lin.vjp(c) for c in v], rtol=1e-4, atol=1e-5)
        for c, g, t, j in zip(v, pulled, u, pushed, strict=True):
            left, right = np.vdot(c, j), np.vdot(g, t)
            scale = np.linalg.norm(c) * np.linalg.norm(j) + np.linalg.norm(g) * np.linalg.norm(t)
            assert abs(left - right) <= 1e-4 * scale + 1e-6
        error = np.abs(difference(oracle._user, x, u[0]) - pushed[0])
        # Some entries cross a kink.
        assert np.quantile(error, 0.9) <= 3e-2 * max(np.max(np.abs(pushed[0])), 1e-2)


def difference(f, x, u, h=5e-3):
    return (f(x + h * u).astype(np.float64) - f(x - h * u)) / (2 * h)
