"""Every rule: J^T against J, J against a difference quotient, many against one, batch 1 and 3."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from pertcore.adapters.onnx import registry, rules
from pertcore.adapters.onnx.adapter import from_onnx
from tests.adapters.onnx.active_rows import CASES
from tests.adapters.onnx.models import one_node
from tests.adapters.onnx.rows import ELSEWHERE, ROWS

STEP = {"reference": 1e-5, "ort": 2e-2}
CLOSE = {"reference": 2e-4, "ort": 3e-2}


def test_every_registered_rule_has_a_row():
    assert rules is not None
    tested = {row.op for row in ROWS} | {case.name for case in CASES} | ELSEWHERE
    known = {*registry.RULES, *registry.LOWERED}
    assert sorted(op for domain, op in known if not domain and op not in tested) == []


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_derivative(row):
    model = one_node(row)
    oracle = from_onnx(model, output=row.output, threads=1)
    engine = oracle._engine
    for kind in ("vjp", "jvp"):
        assert {*engine.plan(kind, many=True).residuals} <= {*engine.residuals}
    rng = np.random.default_rng(3)
    for n in (1, 3):
        x = rng.uniform(row.low, row.high, (n, *row.shape)).astype(np.float32)
        lin = oracle.linearize(x)
        np.testing.assert_allclose(lin.value, oracle(x), rtol=1e-5, atol=1e-5)
        u = rng.standard_normal((2, *x.shape)).astype(np.float32)
        v = rng.standard_normal((2, *lin.value.shape)).astype(np.float32)
        pushed = [lin.jvp(t) for t in u]
        pulled = [lin.vjp(c) for c in v]
        for c, g, t, j in zip(v, pulled, u, pushed):
            left, right = (per_sample(c, j), per_sample(g, t))
            scale = np.sqrt(per_sample(c, c) * per_sample(j, j)) + np.sqrt(
                per_sample(g, g) * per_sample(t, t)
            )
            assert np.all(np.abs(left - right) <= 1e-4 * scale + 1e-6), (left, right)
        np.testing.assert_allclose(lin.jvp(u), pushed, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(lin.vjp(v), pulled, rtol=1e-4, atol=1e-5)
        quotient = difference(row, oracle, x, u[0])
        error = np.linalg.norm(quotient - pushed[0])
        assert error <= CLOSE[row.judge] * max(np.linalg.norm(quotient), 1e-2)


def per_sample(a, b):
    return (a.astype(np.float64) * b).reshape(len(a), -1).sum(axis=1)


def difference(row, oracle, x, u):
    """(f(x + h u) - f(x - h u)) / 2h, in float64 where an evaluator has it."""
    h = STEP[row.judge]
    if row.judge == "ort":
        return (oracle(x + h * u).astype(np.float64) - oracle(x - h * u)) / (2 * h)
    evaluate = ReferenceEvaluator(one_node(row, np.float64))
    wide, step = x.astype(np.float64), h * u.astype(np.float64)
    ahead, behind = (evaluate.run([row.output], {"x": wide + s})[0] for s in (step, -step))
    return (ahead - behind) / (2 * h)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_take_is_the_rows_of_the_whole(row):
    oracle = from_onnx(one_node(row), output=row.output, threads=1)
    assert "take" in oracle.capabilities
    rng = np.random.default_rng(4)
    x = rng.uniform(row.low, row.high, (4, *row.shape)).astype(np.float32)
    lin = oracle.linearize(x)
    v = rng.standard_normal(lin.value.shape).astype(np.float32)
    index = np.array([3, 1])
    part = lin.take(index)
    np.testing.assert_array_equal(part.value, lin.value[index])
    np.testing.assert_allclose(part.vjp(v[index]), lin.vjp(v)[index], rtol=1e-4, atol=1e-5)
